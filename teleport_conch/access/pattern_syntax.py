r"""What a regular expression says, as a tree: the syntax that :mod:`pattern` and :mod:`replacing` have in common.

It is what Teleport's users write (a subset of RE2): literals, ``.``, ``[...]``, ``\d \w \s`` and their opposites,
escaped punctuation, groups, ``|``, ``? * +`` and ``{m,n}``, each with ``?`` behind it for as little as possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import define, frozen

from teleport_conch.errors import BadParameter

MAX_EXPRESSION_CHARS = 256
MAX_NESTED_GROUPS = 16

Accepts = Callable[[str], bool]
_SPECIAL = frozenset("*+?{}()[]|^$")
_CLASSES = frozenset("dDwWsS")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_NESTED_CLASS = re.compile(r"(?<!\\)\[")
_COUNT = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")


@frozen
class One:
    """One character that ``accepts`` says yes to."""

    accepts: Accepts


@frozen
class Sequence:
    parts: tuple[Node, ...]


@frozen
class Choice:
    options: tuple[Node, ...]


@frozen
class Repeat:
    """``high`` is None where there is no upper bound; ``greedy`` for as much as possible."""

    node: Node
    low: int
    high: int | None
    greedy: bool = True


@frozen
class Group:
    """What ``$number`` stands for."""

    node: Node
    number: int


@frozen
class Edge:
    """The beginning of the text, or its end."""

    begin: bool


Node = One | Sequence | Choice | Repeat | Group | Edge


@define
class Parser:
    """
    :param shown: the expression as it is called in a refusal.
    :param edges: whether ``^`` and ``$`` are known; where the whole text is due, there is no need of them.
    """

    _text: str
    _shown: str
    _edges: bool = False
    groups: int = 0
    _at: int = 0
    _depth: int = 0

    def parse(self) -> Node:
        """:raises BadParameter: a sentence about what is wrong with the expression."""
        if len(self._text) > MAX_EXPRESSION_CHARS:
            raise BadParameter(f"an expression is longer than {MAX_EXPRESSION_CHARS} characters.")
        node = self._choice()
        if self._at < len(self._text):
            raise self._refusal("a closing parenthesis without an opening one")
        return node

    def _refusal(self, why: str) -> BadParameter:
        return BadParameter(f"the expression {self._shown} cannot be used: {why}.")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, wanted: str) -> bool:
        found = self._text.startswith(wanted, self._at)
        if found:
            self._at += len(wanted)
        return found

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated())
        return Sequence(tuple(parts))

    def _repeated(self) -> Node:
        node = self._atom()
        low, high = self._times()
        if (low, high) == (1, 1):
            return node
        if isinstance(node, Edge):
            raise self._refusal("^ and $ are not repeated")
        return Repeat(node, low, high, greedy=not self._skip("?"))

    def _times(self) -> tuple[int, int | None]:
        if self._skip("*"):
            return 0, None
        if self._skip("+"):
            return 1, None
        if self._skip("?"):
            return 0, 1
        return self._counted() if self._peek() == "{" else (1, 1)

    def _counted(self) -> tuple[int, int | None]:
        found = _COUNT.match(self._text, self._at)
        if found is None:
            raise self._refusal("a { begins {m}, {m,} or {m,n}, or is written \\{")
        self._at = found.end()
        low = int(found[1])
        high = int(found[3]) if found[3] else None if found[2] else low
        if high is not None and high < low:
            raise self._refusal(f"{found[0]} counts backwards")
        return low, high

    def _atom(self) -> Node:
        char = self._peek()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        self._at += 1
        if char == "\\":
            return self._escaped()
        if char == ".":
            return One(lambda each: each != "\n")
        if char in "^$" and self._edges:
            return Edge(begin=char == "^")
        if char in _SPECIAL:
            raise self._refusal(f"{char} is not expected there; a literal one is written \\{char}")
        return One(char.__eq__)

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > MAX_NESTED_GROUPS:
            raise self._refusal(f"groups are nested more than {MAX_NESTED_GROUPS} deep")
        self._at += 1
        counts = not self._skip("?")
        if not counts and not self._skip(":"):
            raise self._refusal("of the forms that begin with (? only (?:...) is known")
        self.groups += counts
        number = self.groups
        node = self._choice()
        if not self._skip(")"):
            raise self._refusal("a parenthesis is not closed")
        self._depth -= 1
        return Group(node, number) if counts else node

    def _class(self) -> Node:
        found = _CLASS.match(self._text, self._at)
        if found is None:
            raise self._refusal("a [ is not closed")
        self._at = found.end()
        if _NESTED_CLASS.search(found[0], 1):
            raise self._refusal("a [ inside [...] is written \\[")
        try:
            return One(_single(found[0]))
        except re.error as error:
            raise self._refusal(f"{found[0]}: {error.msg}") from None

    def _escaped(self) -> Node:
        char = self._peek()
        self._at += 1
        if char in _CLASSES and char:
            return One(_single("\\" + char))
        if not char or char.isalnum():
            raise self._refusal(f"\\{char} is not known")
        return One(char.__eq__)


def _single(expression: str) -> Accepts:
    # Python's engine is safe with one character.
    compiled = re.compile(expression, re.ASCII)
    return lambda char: compiled.fullmatch(char) is not None
