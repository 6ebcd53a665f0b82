"""YAML as a small tree of texts that remembers where each was written.

Values stay text: what ``no``, ``0755`` or ``1h`` mean is decided by the key that they are given to, not by YAML. The
tree is bounded, since an alias can repeat what it names any number of times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import yaml
from attrs import define, evolve, field, frozen

from teleport_conch.config.findings import Findings, Mistake
from teleport_conch.errors import ConfigError

#: The largest configuration that is read, in bytes of UTF-8.
MAX_BYTES = 1 << 20
#: The most values in one configuration, each use of an alias counted.
MAX_VALUES = 10_000
#: How deep lists and sections may be nested.
MAX_DEPTH = 16
#: The longest single value, in characters.
MAX_TEXT = 4096

_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "map", "null", "seq", "str", "timestamp", "value")
)
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


@frozen
class Nothing:
    """A key without a value, or with ``null``: as if the key were absent."""

    place: str


@frozen
class Text:
    place: str
    text: str


@frozen
class Items:
    place: str
    items: tuple[Value, ...]


@frozen
class Entry:
    """One key of a mapping; its place is where the key is written."""

    place: str
    name: str
    value: Value


@frozen
class Map:
    place: str
    entries: tuple[Entry, ...] = ()

    def get(self, name: str) -> Value:
        """The value of a key, or :class:`Nothing`."""
        return next((entry.value for entry in self.entries if entry.name == name), Nothing(self.place))

    def put(self, entry: Entry) -> Map:
        """This mapping with ``entry`` in the place of the one of its name, or at the end."""
        names = [old.name for old in self.entries]
        if entry.name not in names:
            return evolve(self, entries=(*self.entries, entry))
        return evolve(self, entries=tuple(entry if old.name == entry.name else old for old in self.entries))


Value = Nothing | Text | Items | Map


def read_document(text: str, name: str, findings: Findings) -> Map:
    """The tree of one YAML document, whose top is a mapping; an empty document is an empty mapping.

    :param name: of the file, for the places.
    :param findings: takes keys that are given twice, tags, and other mistakes that do not end the reading.
    :raises ConfigError: it is not YAML, or beyond the bounds of this module.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _fatal(f"{name}:1", f"the configuration is larger than {MAX_BYTES} bytes")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise _fatal(f"{name}:1", _TOO_DEEP) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _fatal(f"{name}:{line}", f"failed to parse Teleport configuration: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _fatal(f"{name}:{line}", f"failed to parse Teleport configuration: {error.reason}") from None
    top = Nothing(f"{name}:1") if node is None else _Reader(name, findings).value(node, 0)
    if isinstance(top, Nothing):
        return Map(top.place)
    if not isinstance(top, Map):
        raise _fatal(top.place, "a configuration is made of sections like 'teleport:' and 'ssh_service:'")
    return top


_TOO_DEEP = f"lists and sections are nested more than {MAX_DEPTH} deep"


def _fatal(place: str, sentence: str) -> ConfigError:
    return ConfigError(str(Mistake(place, sentence)), mistakes=1)


@define
class _Reader:
    """Turns PyYAML's nodes, in which an alias is the node that it names, into a bounded tree."""

    _name: str
    _findings: Findings
    _values: int = field(default=0, init=False)

    def value(self, node: yaml.Node, depth: int) -> Value:
        place = self._place(node)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _fatal(place, f"there are more than {MAX_VALUES} values (each use of an alias counts)")
        if depth > MAX_DEPTH:
            raise _fatal(place, _TOO_DEEP)
        if node.tag not in _PLAIN_TAGS and node.tag != _MERGE:
            self._findings.mistake(place, "YAML tags (a value that begins with '!') are not supported")
            return Nothing(place)
        if isinstance(node, yaml.MappingNode):
            return Map(place, tuple(self._entries(node, depth)))
        if isinstance(node, yaml.SequenceNode):
            return Items(place, tuple(self.value(item, depth + 1) for item in node.value))
        return self._text(place, node)

    def _text(self, place: str, node: yaml.Node) -> Value:
        if node.tag == _NULL:
            return Nothing(place)
        if len(node.value) > MAX_TEXT:
            self._findings.mistake(place, f"a value is longer than {MAX_TEXT} characters")
            return Nothing(place)
        return Text(place, node.value)

    def _entries(self, node: yaml.MappingNode, depth: int) -> Iterator[Entry]:
        seen: dict[str, str] = {}
        for key, child in node.value:
            place = self._place(key)
            name = key.value
            value = self.value(child, depth + 1)
            if not isinstance(name, str):
                self._findings.mistake(place, "a key is a word, not a list or a mapping")
            elif key.tag == _MERGE:
                self._findings.mistake(place, "YAML merge keys (<<) are not supported: write the keys out")
            elif name in seen:
                self._findings.mistake(place, f"the key '{name[:64]}' is given twice, first in {seen[name]}")
            else:
                seen[name] = place
                yield Entry(place, name, value)

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"


def from_plain(value: object, place: str) -> Value:
    """The tree of a value that was given as Python: None, bool, number, text, sequence or mapping."""
    if value is None:
        return Nothing(place)
    if isinstance(value, bool):
        return Text(place, "yes" if value else "no")
    if isinstance(value, Mapping):
        return Map(place, tuple(Entry(place, str(key), from_plain(child, place)) for key, child in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Items(place, tuple(from_plain(item, place) for item in value))
    return Text(place, str(value))


def override(tree: Map, dotted: str, value: Value) -> Map:
    """The tree with ``value`` under a dotted key such as ``teleport.log.severity``.

    Sections on the way are made. What stands there and is no section is left, so that it is still found wrong.
    """
    name, _, rest = dotted.partition(".")
    if not rest:
        return tree.put(Entry(value.place, name, value))
    child = tree.get(name)
    if isinstance(child, Nothing):
        child = Map(value.place)
    if not isinstance(child, Map):
        return tree
    return tree.put(Entry(child.place, name, override(child, rest, value)))


def find(tree: Map, dotted: str) -> Value:
    """The value under a dotted key, or :class:`Nothing`."""
    name, _, rest = dotted.partition(".")
    child = tree.get(name)
    if not rest:
        return child
    return find(child, rest) if isinstance(child, Map) else Nothing(tree.place)
