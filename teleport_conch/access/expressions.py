"""The conditions of rules: ``where: contains(user.spec.traits["teams"], "db") && !equals(resource.owner, user.id)``.

A condition holds (True), does not hold (False), or is about something that is not known (None). ``!`` of what is not
known is not known; ``&&`` and ``||`` know an answer where one side is enough for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from teleport_conch.access.scanning import Scanner
from teleport_conch.access.scene import Nothing, Scene, Step

Verdict = bool | None
Condition = Callable[[Scene], Verdict]
Operand = Callable[[Scene], object]

MAX_REMEMBERED_CONDITIONS = 1024

_USER_PATHS = ("user.id", "user.metadata.name", "user.spec.roles", "user.spec.traits")
_CA_TYPE = (Step("spec"), Step("type"))


@lru_cache(MAX_REMEMBERED_CONDITIONS)
def parse_condition(text: str, where: str = "where") -> Condition:
    """
    :param where: the key that the condition stands in, for refusals.
    :raises BadParameter: the key, the column, and what is wrong there.
    """
    scanner = Scanner(text, where)
    condition = _any(scanner)
    scanner.end()
    return condition


def _any(scanner: Scanner) -> Condition:
    parts = [_all(scanner)]
    while scanner.skip("||"):
        parts.append(_all(scanner))
    return parts[0] if len(parts) == 1 else _joined(tuple(parts), enough=True)


def _all(scanner: Scanner) -> Condition:
    parts = [_one(scanner)]
    while scanner.skip("&&"):
        parts.append(_one(scanner))
    return parts[0] if len(parts) == 1 else _joined(tuple(parts), enough=False)


def _joined(parts: tuple[Condition, ...], enough: bool) -> Condition:
    """``enough`` is the answer of one part that is the answer of all of them together."""

    def holds(scene: Scene) -> Verdict:
        verdicts = [part(scene) for part in parts]
        return enough if enough in verdicts else None if None in verdicts else not enough

    return holds


def _one(scanner: Scanner) -> Condition:
    if scanner.skip("!"):
        scanner.deeper()
        negated = _negated(_one(scanner))
        scanner.shallower()
        return negated
    if scanner.skip("("):
        scanner.deeper()
        inner = _any(scanner)
        scanner.expect(")")
        scanner.shallower()
        return inner
    return _comparison(scanner)


def _negated(condition: Condition) -> Condition:
    def holds(scene: Scene) -> Verdict:
        verdict = condition(scene)
        return None if verdict is None else not verdict

    return holds


def _comparison(scanner: Scanner) -> Condition:
    at = scanner.token.at
    name = scanner.name("equals(...), contains(...), ! or (")
    if name not in _COMPARISONS:
        raise scanner.refusal(f"{name[:64]} is not known; the conditions are equals(a, b) and contains(list, x)", at)
    scanner.expect("(")
    first = parse_operand(scanner)
    scanner.expect(",")
    second = parse_operand(scanner)
    scanner.expect(")")
    compare = _COMPARISONS[name]
    return lambda scene: compare(first(scene), second(scene))


def _equals(first: object, second: object) -> Verdict:
    if Nothing.UNKNOWN in (first, second):
        return None
    if Nothing.ABSENT in (first, second):
        return False
    if not (_is_plain(first) and _is_plain(second)):
        return None
    return _same(first, second)


def _contains(items: object, wanted: object) -> Verdict:
    if items is Nothing.ABSENT:
        return False
    if Nothing.UNKNOWN in (items, wanted) or isinstance(items, str) or not isinstance(items, Sequence):
        return None
    return any(_same(item, wanted) for item in items)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bool | int | float)


def _same(first: object, second: object) -> bool:
    return isinstance(first, bool) == isinstance(second, bool) and _is_plain(first) and first == second


_COMPARISONS: dict[str, Callable[[object, object], Verdict]] = {"equals": _equals, "contains": _contains}


def parse_operand(scanner: Scanner) -> Operand:
    """A text, a number, ``true``, ``false``, ``system.catype()``, or a path from ``user`` or ``resource``."""
    if scanner.token.kind == "text":
        return _constant(scanner.string())
    if scanner.token.kind == "number":
        return _constant(scanner.number())
    at = scanner.token.at
    name = scanner.name("a text in double quotes, a number, or what begins with user. or resource.")
    if name in ("true", "false"):
        return _constant(name == "true")
    if name == "system":
        return _system(scanner, at)
    if name not in ("user", "resource"):
        raise scanner.refusal(f"{name[:64]} is not known; a text stands in double quotes", at)
    return _path(scanner, name, at)


def _constant(value: object) -> Operand:
    return lambda scene: value


def _system(scanner: Scanner, at: int) -> Operand:
    scanner.expect(".")
    name = scanner.name("catype()")
    if name != "catype":
        raise scanner.refusal(f"system.{name[:64]} is not known; system.catype() is", at)
    scanner.expect("(")
    scanner.expect(")")
    return lambda scene: scene.find("resource", _CA_TYPE)


def _path(scanner: Scanner, head: str, at: int) -> Operand:
    steps: list[Step] = []
    while scanner.sees(".") or scanner.sees("["):
        steps.append(_step(scanner))
    path = tuple(steps)
    written = ".".join((head, *(step.name for step in path)))
    if not path or (head == "user" and not _is_known(written, path)):
        known = f"; known are {', '.join(_USER_PATHS)} and user.spec.traits[...]" if head == "user" else ""
        raise scanner.refusal(f"{written[:64]} is not known{known}", at)
    return lambda scene: scene.find(head, path)


def _step(scanner: Scanner) -> Step:
    if scanner.skip("["):
        name = scanner.string()
        scanner.expect("]")
        return Step(name, data=True)
    scanner.expect(".")
    return Step(scanner.name("the name of a field"))


def _is_known(written: str, path: tuple[Step, ...]) -> bool:
    return written in _USER_PATHS or (len(path) == 3 and (path[0].name, path[1].name) == ("spec", "traits"))
