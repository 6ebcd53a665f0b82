"""Which nodes a role speaks of: its ``node_labels`` compared with the labels of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import Factory, evolve, field, frozen

from teleport_conch.access.pattern import compile_expression
from teleport_conch.access.templates import Template, Traits, is_template, parse_template
from teleport_conch.errors import BadParameter

ANY = "*"
MAX_KEYS = 64
MAX_VALUES = 64
MAX_VALUE_CHARS = 1024
MAX_EXPRESSIONS = 128
"""Of all keys together: each is compiled on every host of the cluster."""

_Pairs = tuple[tuple[str, tuple[str, ...]], ...]
_Matches = Callable[[str], bool]


@frozen
class Wanted:
    """What one key of a selector wants: any of some literal values, or of what some patterns match.

    :param plain: the values as they are written, without the templates.
    :param listed: the values for reading, templates filled in.
    """

    key: str
    plain: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    literals: frozenset[str] = frozenset()
    patterns: tuple[_Matches, ...] = ()
    templates: tuple[Template, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.key)
        return found is not None and self.accepts(found)

    def accepts(self, value: str) -> bool:
        return value in self.literals or any(pattern(value) for pattern in self.patterns)

    def filled(self, traits: Traits) -> Wanted:
        """The same with the values of the templates, which are literal: no trait makes a pattern."""
        parts = [(each, value) for each in self.templates for value in each.values(traits)]
        return evolve(
            self,
            listed=(*self.listed, *(f"{each.prefix}{value}{each.suffix}" for each, value in parts)),
            patterns=(*self.patterns, *(_glob_around(value, each.prefix, each.suffix) for each, value in parts)),
            templates=(),
        )


def _pairs(selector: Mapping[str, Iterable[str]]) -> _Pairs:
    return tuple((key, tuple(selector[key])) for key in sorted(selector))


def _compiled(selector: LabelSelector) -> tuple[Wanted, ...]:
    if selector.pairs == ((ANY, (ANY,)),):
        return ()
    if len(selector.pairs) > MAX_KEYS:
        raise BadParameter(f"{selector.where} has more than {MAX_KEYS} keys.")
    if sum(is_expression(value) for _, values in selector.pairs for value in values) > MAX_EXPRESSIONS:
        raise BadParameter(f"{selector.where} has more than {MAX_EXPRESSIONS} regular expressions.")
    return tuple(_wanted(key, values, selector.where) for key, values in selector.pairs)


def _wanted(key: str, values: tuple[str, ...], where: str) -> Wanted:
    if key == ANY:
        raise BadParameter(f"{where}: the key '*' stands alone and has the value '*', which means every node.")
    if len(values) > MAX_VALUES or any(len(value) > MAX_VALUE_CHARS for value in values):
        raise BadParameter(
            f"{where}.{key} has more than {MAX_VALUES} values, or one of more than {MAX_VALUE_CHARS} characters."
        )
    named = {value: f"{where}.{key}[{at}]" for at, value in enumerate(values)}
    templates = tuple(_template(value, named[value]) for value in values if is_template(value))
    plain = tuple(value for value in values if not is_template(value))
    literals = frozenset(value for value in plain if not is_expression(value) and ANY not in value)
    patterns = tuple(parse_pattern(value, named[value]) for value in plain if value not in literals)
    return Wanted(key, plain, plain, literals, patterns, templates)


def is_expression(value: str) -> bool:
    """Whether a value is a regular expression."""
    return value.startswith("^") and value.endswith("$")


def _template(value: str, where: str) -> Template:
    if is_expression(value):
        raise BadParameter(f"{where}: a template cannot stand in a regular expression.")
    return parse_template(value, where)


def parse_pattern(value: str, where: str) -> _Matches:
    """What a literal, a glob or an expression stands for.

    :param where: the key that it stands in, for refusals.
    :raises BadParameter: the expression cannot be used.
    """
    if not is_expression(value):
        return _glob(value.split(ANY))
    try:
        return compile_expression(value[1:-1])
    except BadParameter as wrong:
        raise BadParameter(f"{where}: {wrong.sentence}") from None


def _glob_around(value: str, prefix: str, suffix: str) -> _Matches:
    *before, left = prefix.split(ANY)
    right, *after = suffix.split(ANY)
    return _glob([*before, f"{left}{value}{right}", *after])


def matches_glob(glob: str, text: str) -> bool:
    """Whether ``text`` is what ``glob`` says; a text with stars of its own is then never wider than the glob."""
    return _glob(glob.split(ANY))(text)


def _glob(parts: list[str]) -> _Matches:
    """What says whether a text is ``parts`` with any characters between them."""
    if len(parts) == 1:
        return parts[0].__eq__
    first, *middle, last = parts

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


def _wants_some(selector: LabelSelector) -> bool:
    return bool(selector.pairs)


@frozen
class LabelSelector:
    """The labels that a role wants of a node: all keys, and for each key any of its values.

    A value is a literal, a glob in which ``*`` stands for any characters, a regular expression ``^...$``
    (:mod:`teleport_conch.access.pattern`), or a template, whose value is literal. A node without the label does not
    match, not even ``*``; the empty selector matches no node, and ``{"*": ["*"]}`` alone matches every node.

    :param pairs: made from a mapping of keys to values; kept sorted, so that equal selectors compare equal.
    :param where: the key of the role that it stands in, for refusals.
    :raises BadParameter: ``*`` beside other keys, an expression or a template that cannot be used, or too many values.
    """

    pairs: _Pairs = field(converter=_pairs)
    where: str = field(default="node_labels", eq=False, repr=False)
    _some: bool = field(init=False, eq=False, repr=False, default=Factory(_wants_some, takes_self=True))
    wanted: tuple[Wanted, ...] = field(eq=False, repr=False, default=Factory(_compiled, takes_self=True))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the selector wants a node with ``labels``; templates that are not filled in want nothing."""
        return self._some and all(each.matches(labels) for each in self.wanted)

    def failed(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The keys whose labels do not match; empty also for the empty selector, which has none."""
        return tuple(each.key for each in self.wanted if not each.matches(labels))

    def filled(self, traits: Traits) -> LabelSelector:
        """The selector for a person with these traits."""
        if not any(each.templates for each in self.wanted):
            return self
        wanted = tuple(each.filled(traits) for each in self.wanted)
        return evolve(self, pairs=dict(self.pairs), wanted=wanted)

    def values(self, key: str) -> tuple[str, ...]:
        """What the selector wants of the label ``key``."""
        return next((each.listed for each in self.wanted if each.key == key), dict(self.pairs).get(key, ()))

    def to_json(self) -> dict[str, object]:
        return {key: values[0] if len(values) == 1 else list(values) for key, values in self.pairs}

    @classmethod
    def from_json(cls, value: Mapping[str, object], where: str) -> LabelSelector:
        """Each value is a string or a list of strings."""
        return cls({key: _texts(found, f"{where}.{key}") for key, found in value.items()}, where)


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
