"""Kinds of values: how the text of a key becomes a Python value, and what is said when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from teleport_conch.config.document import Items, Map, Nothing, Text, Value
from teleport_conch.config.findings import Findings

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: The most entries of one list or mapping.
MAX_ENTRIES = 1000


class Kind(Protocol[T_co]):
    """Reads one value of the tree.

    ``read`` answers the value, or reports to ``findings`` and answers None. ``path`` is the dotted key.
    """

    def read(self, value: Value, path: str, findings: Findings) -> T_co | None: ...


@frozen
class One(Generic[T]):
    """A single text, given to a function that answers the value or raises ``ValueError`` with a sentence."""

    parse: Callable[[str], T]

    def read(self, value: Value, path: str, findings: Findings) -> T | None:
        if not isinstance(value, Text):
            findings.mistake(value.place, f"{path}: one value is due here, not {_shape(value)}")
            return None
        try:
            return self.parse(value.text)
        except ValueError as error:
            findings.mistake(value.place, f"{path}: {error}")
            return None


@frozen
class Many(Generic[T]):
    """A list, answered as a tuple.

    :ivar alone: whether one value may stand for a list of one.
    :ivar at_least: the fewest items.
    :ivar same: what two items must not have in common; None if they may be alike.
    :ivar twice: the sentence about two items that do.
    """

    kind: Kind[T]
    alone: bool = True
    at_least: int = 0
    same: Callable[[T], Hashable] | None = None
    twice: str = "the same value is given twice"

    def read(self, value: Value, path: str, findings: Findings) -> tuple[T, ...] | None:
        if isinstance(value, Text) and self.alone:
            value = Items(value.place, (value,))
        if not isinstance(value, Items):
            findings.mistake(value.place, f"{path}: a list is due here, not {_shape(value)}")
            return None
        if not self.at_least <= len(value.items) <= MAX_ENTRIES:
            findings.mistake(value.place, f"{path}: a list of {self.at_least} to {MAX_ENTRIES} values is due here")
            return None
        return self._items(value, path, findings)

    def _items(self, value: Items, path: str, findings: Findings) -> tuple[T, ...] | None:
        found: list[T] = []
        seen: set[Hashable] = set()
        for number, item in enumerate(value.items):
            one = self.kind.read(item, f"{path}[{number}]", findings)
            if one is None:
                continue
            mark = number if self.same is None else self.same(one)
            if mark in seen:
                findings.mistake(item.place, f"{path}[{number}]: {self.twice}")
            seen.add(mark)
            found.append(one)
        return tuple(found) if len(found) == len(value.items) else None


@frozen
class Table(Generic[T]):
    """A mapping whose keys are data, such as labels."""

    parse_key: Callable[[str], str]
    kind: Kind[T]

    def read(self, value: Value, path: str, findings: Findings) -> Mapping[str, T] | None:
        if not isinstance(value, Map) or len(value.entries) > MAX_ENTRIES:
            findings.mistake(value.place, f"{path}: a mapping of at most {MAX_ENTRIES} keys is due here")
            return None
        found: dict[str, T] = {}
        for entry in value.entries:
            name = One(self.parse_key).read(Text(entry.place, entry.name), path, findings)
            one = self.kind.read(entry.value, f"{path}.{entry.name[:64]}", findings)
            if name is not None and one is not None:
                found[name] = one
        return found if len(found) == len(value.entries) else None


@frozen
class Anything:
    """What is known by name only: a text, a tuple or a mapping of the like."""

    def read(self, value: Value, path: str, findings: Findings) -> object:
        if isinstance(value, Text):
            return value.text
        if isinstance(value, Items):
            return tuple(self.read(item, path, findings) for item in value.items)
        if isinstance(value, Map):
            return {entry.name: self.read(entry.value, path, findings) for entry in value.entries}
        return None


def _shape(value: Value) -> str:
    if isinstance(value, Nothing):
        return "nothing"
    if isinstance(value, Text):
        return "a single value"
    return "a list" if isinstance(value, Items) else "a section"
