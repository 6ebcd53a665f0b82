"""Files of resources: several YAML documents, and errors that name document, line and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import yaml
from attrs import frozen

from teleport_conch.cli.forms import as_written, read_instants
from teleport_conch.errors import BadParameter, TeleportError

MAX_FILE_CHARS = 4 << 20
MAX_DOCUMENTS = 1000
MAX_DEPTH = 32
MAX_VALUES = 200_000
"""Of one document, those that an alias stands for counted each time: few lines of YAML can stand for billions."""

_PATH = re.compile(r"[a-z_]+(?:\.[A-Za-z0-9_*/-]+|\[[0-9]+\])+")


@frozen
class Document:
    """One resource of a file.

    :ivar number: of the document, counted from 1.
    :ivar lines: where each key stands, by its path: ``role.spec.allow`` is in line 7.
    """

    number: int
    value: Mapping[str, object]
    lines: Mapping[str, int]

    @property
    def kind(self) -> str:
        return str(self.value.get("kind", ""))

    @property
    def name(self) -> str:
        metadata = self.value.get("metadata")
        return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""

    def explained(self, reason: TeleportError) -> BadParameter:
        """The same refusal, with where in the file the key stands that it speaks of."""
        paths = sorted(_PATH.findall(reason.sentence.replace("'", "")), key=len, reverse=True)
        lines = (self.lines[shorter] for path in paths for shorter in _shortened(path) if shorter in self.lines)
        line = next(lines, self.lines.get("", 1))
        return BadParameter(f"Document {self.number}, line {line}: {reason.sentence}")


def _shortened(path: str) -> Iterator[str]:
    """A path, and what it is in: ``a.b[0].c``, ``a.b[0]``, ``a.b``, ``a``."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def read(text: str) -> Sequence[Document]:
    """The documents of a text; empty ones are passed over.

    :raises BadParameter: it is no YAML, or not a list of resources.
    """
    if len(text) > MAX_FILE_CHARS:
        raise BadParameter(f"A file of resources has at most {MAX_FILE_CHARS} characters.")
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_empty(node)]
    except (yaml.YAMLError, ValueError, RecursionError) as reason:
        raise BadParameter(f"This cannot be read as YAML: {_one_line(reason)}.") from None
    if not nodes:
        raise BadParameter("no resources found, empty input?")
    if len(nodes) > MAX_DOCUMENTS:
        raise BadParameter(f"A file holds at most {MAX_DOCUMENTS} documents.")
    return [_document(number, node) for number, node in enumerate(nodes, 1)]


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or node.tag == "tag:yaml.org,2002:null"


def _one_line(reason: Exception) -> str:
    mark = getattr(reason, "problem_mark", None)
    problem = getattr(reason, "problem", None) or str(reason).splitlines()[0]
    return f"line {mark.line + 1}, {problem}" if mark is not None else str(problem)


def _document(number: int, node: yaml.Node) -> Document:
    start = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise BadParameter(f"Document {number}, line {start}: a resource is a mapping with kind, metadata and spec.")
    reader = _Reader(number)
    value = reader.value(node, "")
    assert isinstance(value, dict)
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind:
        raise BadParameter(f"Document {number}, line {start}: missing parameter kind.")
    lines = {"": start, **{f"{kind}{path}": line for path, line in reader.lines.items()}}
    document = Document(number, value, lines)
    try:
        read_instants(value)
    except BadParameter as reason:
        raise document.explained(reason) from None
    return document


class _Reader:
    """Makes plain values of nodes, and notes where each key stands. A key that stands twice is refused."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._construct = yaml.SafeLoader("").construct_object
        self._left = MAX_VALUES
        self.lines: dict[str, int] = {}

    def value(self, node: yaml.Node, path: str, depth: int = 0) -> object:
        self._left -= 1
        if self._left < 0:
            raise self._refusal(node, f"it has more than {MAX_VALUES} values")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if depth > MAX_DEPTH:
            raise self._refusal(node, "it is nested too deeply")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(each, f"{path}[{at}]", depth + 1) for at, each in enumerate(node.value)]
        try:
            return self._construct(node)
        except (yaml.YAMLError, ValueError) as reason:
            raise self._refusal(node, _one_line(reason)) from None

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in node.value:
            name = str(self.value(key, "\0", depth + 1))
            if name in found:
                raise self._refusal(key, f"the key {name[:64]!a} stands there twice")
            self.lines[f"{path}.{name}"] = key.start_mark.line + 1
            found[name] = self.value(value, f"{path}.{name}", depth + 1)
        return found

    def _refusal(self, node: yaml.Node, why: str) -> BadParameter:
        return BadParameter(f"Document {self._number}, line {node.start_mark.line + 1}: {why}.")


def written(value: Mapping[str, object]) -> dict[str, object]:
    """A resource as people read and edit it: with dates, and without what is empty in ``metadata``."""
    metadata = value.get("metadata")
    if not isinstance(metadata, Mapping):
        return dict(value)
    kept = {key: found for key, found in metadata.items() if found not in (None, "", {})}
    found: dict[str, object] = as_written({**value, "metadata": kept})
    return found


def check(documents: Sequence[Document], readers: Mapping[str, Callable[[object], object]]) -> None:
    """Reads every document before any of them is sent.

    :param readers: for each kind.
    :raises BadParameter: one cannot be read, or is of a kind that cannot be made so; nothing has happened.
    """
    for document in documents:
        reader = readers.get(document.kind)
        if document.kind in ("node", "proxy"):
            raise document.explained(
                BadParameter(
                    f"A {document.kind} makes itself: it joins with a token, and says its labels and addresses."
                )
            )
        if reader is None:
            raise document.explained(
                BadParameter(
                    f'creating resources of type "{document.kind[:64]}" is not supported; there are'
                    f" {', '.join(sorted(readers))}"
                )
            )
        try:
            reader(document.value)
        except TeleportError as reason:
            raise document.explained(reason) from None
    _check_once(documents)


def _check_once(documents: Sequence[Document]) -> None:
    """:raises BadParameter: two documents are about one resource."""
    numbers: dict[tuple[str, str], int] = {}
    for document in documents:
        first = numbers.setdefault((document.kind, document.name), document.number)
        if first != document.number:
            same = f"Document {first} is about the same {document.kind}; keep one of them."
            raise document.explained(BadParameter(same))
