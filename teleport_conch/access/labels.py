"""Which nodes a role speaks of: its ``node_labels`` compared with the labels of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import Factory, field, frozen

from teleport_conch.access.pattern import compile_expression
from teleport_conch.errors import BadParameter, NotBuilt

ANY = "*"
MAX_KEYS = 64
MAX_VALUES = 64
MAX_VALUE_CHARS = 1024

_Pairs = tuple[tuple[str, tuple[str, ...]], ...]


@frozen
class _Value:
    """What one key of a selector wants: any of some literal values, or of what some patterns match."""

    key: str
    literals: frozenset[str]
    patterns: tuple[Callable[[str], bool], ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.key)
        if found is None:
            return False
        if found in self.literals:
            return True
        return bool(self.patterns) and any(pattern(found) for pattern in self.patterns)


def _pairs(selector: Mapping[str, Iterable[str]]) -> _Pairs:
    return tuple((key, tuple(selector[key])) for key in sorted(selector))


def _wants_some(selector: LabelSelector) -> bool:
    return bool(selector.pairs)


def _compiled(selector: LabelSelector) -> tuple[_Value, ...]:
    if selector.pairs == ((ANY, (ANY,)),):
        return ()
    if len(selector.pairs) > MAX_KEYS:
        raise BadParameter(f"node_labels has more than {MAX_KEYS} keys.")
    return tuple(_value(key, values) for key, values in selector.pairs)


def _value(key: str, values: tuple[str, ...]) -> _Value:
    if key == ANY:
        raise BadParameter("node_labels: the key '*' stands alone and has the value '*', which means every node.")
    if len(values) > MAX_VALUES or any(len(value) > MAX_VALUE_CHARS for value in values):
        raise BadParameter(
            f"node_labels.{key} has more than {MAX_VALUES} values, or one of more than {MAX_VALUE_CHARS} characters."
        )
    if any("{{" in value for value in values):
        raise NotBuilt(f"node_labels.{key} holds a template; templates are known in logins only.")
    literals = frozenset(value for value in values if not _is_expression(value) and ANY not in value)
    return _Value(key, literals, tuple(_pattern(value) for value in values if value not in literals))


def _is_expression(value: str) -> bool:
    return value.startswith("^") and value.endswith("$")


def _pattern(value: str) -> Callable[[str], bool]:
    return compile_expression(value[1:-1]) if _is_expression(value) else _glob(value)


def _glob(value: str) -> Callable[[str], bool]:
    first, *middle, last = value.split(ANY)

    def matches(text: str) -> bool:
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return False
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches


@frozen
class LabelSelector:
    """The labels that a role wants of a node: all keys, and for each key any of its values.

    A value is a literal, a glob in which ``*`` stands for any characters, or a regular expression ``^...$``
    (:mod:`teleport_conch.access.pattern`). A node without the label does not match, not even ``*``; the empty selector
    matches no node, and ``{"*": ["*"]}`` alone matches every node.

    :param pairs: made from a mapping of keys to values; kept sorted, so that equal selectors compare equal.
    :raises BadParameter: ``*`` beside other keys, an expression that cannot be used, or too many values.
    :raises NotBuilt: a template in a value.
    """

    pairs: _Pairs = field(converter=_pairs)
    _some: bool = field(init=False, eq=False, repr=False, default=Factory(_wants_some, takes_self=True))
    _wanted: tuple[_Value, ...] = field(init=False, eq=False, repr=False, default=Factory(_compiled, takes_self=True))

    def matches(self, labels: Mapping[str, str]) -> bool:
        for value in self._wanted:  # a loop, since this is where a decision spends its time
            if not value.matches(labels):
                return False
        return self._some

    def failed(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The keys whose labels do not match; empty also for the empty selector, which has none."""
        return tuple(value.key for value in self._wanted if not value.matches(labels))

    def values(self, key: str) -> tuple[str, ...]:
        """What the selector wants of the label ``key``."""
        return dict(self.pairs).get(key, ())

    def to_json(self) -> dict[str, object]:
        return {key: values[0] if len(values) == 1 else list(values) for key, values in self.pairs}

    @classmethod
    def from_json(cls, value: Mapping[str, object], where: str) -> LabelSelector:
        """Each value is a string or a list of strings."""
        return cls({key: _texts(found, f"{where}.{key}") for key, found in value.items()})


def _texts(value: object, where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str) for each in values):
        raise BadParameter(f"{where} has to be a string or a list of strings.")
    return tuple(str(each) for each in values)


EVERY_NODE = LabelSelector({ANY: (ANY,)})
NO_NODE = LabelSelector({})


def match(selector: Mapping[str, Iterable[str]], labels: Mapping[str, str]) -> bool:
    """Whether ``selector`` wants a node with ``labels``; a selector that is used twice is better kept compiled."""
    return LabelSelector(selector).matches(labels)
