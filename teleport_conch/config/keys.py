"""Keys and sections: what is known, what of it is built, and how a section of the file becomes a frozen value.

A section that is built is an attrs class whose fields are declared with :func:`key`: the field's name is the key. Keys
of Teleport's that have no setting yet stand beside them in :mod:`teleport_conch.config.unbuilt`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

import attrs
from attrs import frozen

from teleport_conch.config.document import Entry, Map, Nothing, Text, Value
from teleport_conch.config.findings import Findings
from teleport_conch.config.kinds import Anything, Kind
from teleport_conch.durations import format_duration

T = TypeVar("T")
C = TypeVar("C")

_METADATA = "teleport_conch.config.key"
_EMPTY: tuple[object, ...] = ((), {})


@frozen
class Key:
    """One key of a section.

    :ivar only: the values that are built, or that ask for nothing; None if every value is built. An empty tuple means
        that whoever gives the key asks for what is not built.
    :ivar lacks: what is not built, as the end of the sentence "... is not built yet: ...".
    :ivar notice: said at every start if the key is given.
    :ivar ours: whether Teleport has no such key.
    """

    name: str
    kind: Kind[object]
    default: object = None
    only: tuple[object, ...] | None = None
    lacks: str = ""
    notice: str = ""
    ours: bool = False
    required: bool = False

    def read(self, entry: Entry, path: str, findings: Findings) -> object:
        value = self.kind.read(entry.value, path, findings)
        if value is not None and self.only is not None and value not in self.only:
            findings.not_built(entry.value.place, self._not_built(entry.value, path))
        if self.notice:
            findings.notice(f"{path}: {self.notice}")
        return value

    def _not_built(self, value: Value, path: str) -> str:
        allowed = " or ".join(as_yaml(choice) for choice in self.only or () if choice not in _EMPTY)
        if not allowed or not isinstance(value, Text):
            return f"'{path}' is not built yet: {self.lacks}. Leave the key out."
        return f"'{path}: {value.text[:64]}' is not built yet: {self.lacks}. Write {allowed}, or leave the key out."


def as_yaml(value: object) -> str:
    """A setting as it would be written in the file."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "never" if math.isinf(value) else format_duration(value)
    return str(value)


def key(
    kind: Kind[T],
    default: T,
    *,
    name: str = "",
    only: tuple[T, ...] | None = None,
    lacks: str = "",
    ours: bool = False,
) -> T:
    """A field of a settings class that a key of the file sets; the parameters are :class:`Key`'s.

    :param name: the key, where it is not the field's name.
    """
    given = Key(name, kind, default, only, lacks, ours=ours)
    return attrs.field(default=default, metadata={_METADATA: given})


def required_key(kind: Kind[T]) -> T:
    """Like :func:`key`, for a key that has to be given."""
    return cast(T, attrs.field(metadata={_METADATA: Key("", kind, required=True)}))


def missing(name: str, lacks: str, kind: Kind[object] | None = None, only: tuple[object, ...] = _EMPTY) -> Key:
    """A key of Teleport's that is not built: given with other values than ``only`` it stops the start."""
    return Key(name, kind or Anything(), only[0] if only else None, only, lacks)


def without_effect(name: str, kind: Kind[object] | None = None, default: object = None, notice: str = "") -> Key:
    """A key of Teleport's that no value of makes anything happen here."""
    return Key(name, kind or Anything(), default, notice=notice)


def no_checks(_: object) -> Iterable[str]:
    return ()


@frozen
class Section(Generic[C]):
    """A mapping with known keys.

    :ivar made_of: the settings class, or ``dict`` for a section of which nothing is built.
    :ivar others: keys that have no field.
    :ivar checks: sentences about values that are right alone, and wrong together.
    """

    made_of: Callable[..., C]
    others: tuple[Key, ...] = ()
    checks: Callable[[C], Iterable[str]] = no_checks

    def keys(self) -> Mapping[str, tuple[str, Key]]:
        """For each key its field (empty if it has none) and its description."""
        found = {other.name: ("", other) for other in self.others}
        made_of = self.made_of
        for field in attrs.fields(made_of) if isinstance(made_of, type) and attrs.has(made_of) else ():
            if _METADATA in field.metadata:
                described: Key = field.metadata[_METADATA]
                described = attrs.evolve(described, name=described.name or field.name)
                found[described.name] = (field.name, described)
        return found

    def read(self, value: Value, path: str, findings: Findings) -> C | None:
        if not isinstance(value, Map):
            findings.mistake(value.place, f"{path}: a section with keys is due here")
            return None
        before = len(findings.mistakes)
        fields = self._fields(value, path, findings.within(self._is_on(value)))
        if len(findings.mistakes) > before:
            return None
        made = self.made_of(**fields)
        for sentence in self.checks(made):
            findings.mistake(value.place, f"{path}: {sentence}")
        return made

    def _is_on(self, value: Map) -> bool:
        _, enabled = self.keys().get("enabled", ("", None))
        if enabled is None:
            return True
        given = value.get("enabled")
        on = enabled.default if isinstance(given, Nothing) else enabled.kind.read(given, "", Findings())
        return on is not False

    def _fields(self, value: Map, path: str, findings: Findings) -> dict[str, object]:
        known = self.keys()
        fields: dict[str, object] = {}
        for entry in value.entries:
            here = f"{path}.{entry.name}" if path else entry.name
            if entry.name not in known:
                findings.mistake(entry.place, self._unknown(entry.name, findings.homes))
            elif not isinstance(entry.value, Nothing):
                field, described = known[entry.name]
                fields[field] = described.read(entry, here, findings)
        for name, (field, described) in known.items():
            if described.required and field not in fields:
                findings.mistake(value.place, f"{path}: the key '{name}' is missing")
        fields.pop("", None)
        return fields

    def _unknown(self, name: str, homes: Mapping[str, tuple[str, ...]]) -> str:
        near = difflib.get_close_matches(name, self.keys(), n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else _elsewhere(name, homes)
        return f"unrecognized configuration key: '{name[:64]}'{hint}"


def _elsewhere(name: str, homes: Mapping[str, tuple[str, ...]]) -> str:
    near = [name] if name in homes else difflib.get_close_matches(name, homes, n=1)
    if not near:
        return ""
    places = " or ".join(f"'{home}.{near[0]}'" if home else f"'{near[0]}'" for home in homes[near[0]])
    return f" (did you mean {places}?)"


def closed(*keys: Key) -> Section[dict[str, object]]:
    """A section of which nothing is built: its keys are known, and say so."""
    return Section(dict, keys)


def walk(section: Section[C], path: str = "") -> Iterable[tuple[str, Key]]:
    """Every known key below ``section`` by its dotted path; items of a list have ``[]`` in theirs."""
    for name, (_, described) in section.keys().items():
        here = f"{path}.{name}" if path else name
        yield here, described
        below = described.kind
        inner = getattr(below, "kind", None)
        if isinstance(below, Section):
            yield from walk(below, here)
        elif isinstance(inner, Section):
            yield from walk(inner, f"{here}[]")


def homes_of(section: Section[C]) -> Mapping[str, tuple[str, ...]]:
    """For each key below ``section`` the dotted paths of the sections that know it."""
    homes: dict[str, tuple[str, ...]] = {}
    for path, _ in walk(section):
        home, _, name = path.rpartition(".")
        homes[name] = (*homes.get(name, ()), home)
    return homes
