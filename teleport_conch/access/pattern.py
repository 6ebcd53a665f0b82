r"""Regular expressions that take linear time: the ``^...$`` values of a role's ``node_labels``.

Labels come from nodes, so an expression with an exponential worst case would let a node stall whoever decides about it.
Python's own engine backtracks; this one follows all alternatives at once (Thompson's construction) and looks at each
character of the text once, whatever the expression. It knows what Teleport's users write (a subset of RE2): literals,
``.``, ``[...]``, ``\d \w \s`` and their opposites, escaped punctuation, groups, ``|``, ``? * +`` and ``{m,n}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from attrs import define, field, frozen

from teleport_conch.errors import BadParameter

MAX_EXPRESSION_CHARS = 256
MAX_NESTED_GROUPS = 16
MAX_STATES = 512
"""Steps of the compiled expression; the time for one character is proportional to it."""
MAX_REMEMBERED_TEXTS = 256
"""Answers kept for each expression; the labels of a cluster repeat."""

_Accepts = Callable[[str], bool]
_SPECIAL = frozenset("*+?{}()[]|^$")
_CLASSES = frozenset("dDwWsS")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_NESTED_CLASS = re.compile(r"(?<!\\)\[")
_COUNT = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")


@frozen
class _One:
    """One character that ``accepts`` says yes to."""

    accepts: _Accepts


@frozen
class _Sequence:
    parts: tuple[_Node, ...]


@frozen
class _Choice:
    options: tuple[_Node, ...]


@frozen
class _Repeat:
    """``high`` is None where there is no upper bound."""

    node: _Node
    low: int
    high: int | None


_Node = _One | _Sequence | _Choice | _Repeat


@define
class _Parser:
    _text: str
    _at: int = 0
    _depth: int = 0

    def parse(self) -> _Node:
        node = self._choice()
        if self._at < len(self._text):
            raise self._refusal("a closing parenthesis without an opening one")
        return node

    def _refusal(self, why: str) -> BadParameter:
        return BadParameter(f"the expression ^{self._text}$ cannot be used: {why}.")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, wanted: str) -> bool:
        found = self._text.startswith(wanted, self._at)
        if found:
            self._at += len(wanted)
        return found

    def _choice(self) -> _Node:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def _sequence(self) -> _Node:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated())
        return _Sequence(tuple(parts))

    def _repeated(self) -> _Node:
        node = self._atom()
        if self._skip("*"):
            node = _Repeat(node, 0, None)
        elif self._skip("+"):
            node = _Repeat(node, 1, None)
        elif self._skip("?"):
            node = _Repeat(node, 0, 1)
        elif self._peek() == "{":
            node = self._counted(node)
        else:
            return node
        self._skip("?")  # "as little as possible" makes no difference to whether the whole text matches
        return node

    def _counted(self, node: _Node) -> _Node:
        found = _COUNT.match(self._text, self._at)
        if found is None:
            raise self._refusal("a { begins {m}, {m,} or {m,n}, or is written \\{")
        self._at = found.end()
        low = int(found[1])
        high = int(found[3]) if found[3] else None if found[2] else low
        if high is not None and high < low:
            raise self._refusal(f"{found[0]} counts backwards")
        return _Repeat(node, low, high)

    def _atom(self) -> _Node:
        char = self._peek()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        self._at += 1
        if char == "\\":
            return self._escaped()
        if char == ".":
            return _One(lambda each: each != "\n")
        if char in _SPECIAL:
            raise self._refusal(f"{char} is not expected there; a literal one is written \\{char}")
        return _One(char.__eq__)

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > MAX_NESTED_GROUPS:
            raise self._refusal(f"groups are nested more than {MAX_NESTED_GROUPS} deep")
        self._at += 1
        if self._skip("?") and not self._skip(":"):
            raise self._refusal("of the forms that begin with (? only (?:...) is known")
        node = self._choice()
        if not self._skip(")"):
            raise self._refusal("a parenthesis is not closed")
        self._depth -= 1
        return node

    def _class(self) -> _Node:
        found = _CLASS.match(self._text, self._at)
        if found is None:
            raise self._refusal("a [ is not closed")
        self._at = found.end()
        if _NESTED_CLASS.search(found[0], 1):
            raise self._refusal("a [ inside [...] is written \\[")
        try:
            return _One(_single(found[0]))
        except re.error as error:
            raise self._refusal(f"{found[0]}: {error.msg}") from None

    def _escaped(self) -> _Node:
        char = self._peek()
        self._at += 1
        if char in _CLASSES and char:
            return _One(_single("\\" + char))
        if not char or char.isalnum():
            raise self._refusal(f"\\{char} is not known")
        return _One(char.__eq__)


def _single(expression: str) -> _Accepts:
    # Python's engine is safe with one character.
    compiled = re.compile(expression, re.ASCII)
    return lambda char: compiled.fullmatch(char) is not None


_END = 0


@define
class _Graph:
    """The states of an expression: each takes a character, or else leads on to others at once."""

    _takes: list[_Accepts | None] = field(factory=lambda: [None])
    _leads: list[list[int]] = field(factory=lambda: [[]])

    def add(self, takes: _Accepts | None, leads: list[int]) -> int:
        if len(self._takes) >= MAX_STATES:
            raise BadParameter(f"an expression has more than {MAX_STATES} steps; its {{m,n}} count too.")
        self._takes.append(takes)
        self._leads.append(leads)
        return len(self._takes) - 1

    def build(self, node: _Node, after: int) -> int:
        """The state in which ``node`` begins; it goes on to the state ``after``."""
        if isinstance(node, _One):
            return self.add(node.accepts, [after])
        if isinstance(node, _Choice):
            return self.add(None, [self.build(option, after) for option in node.options])
        if isinstance(node, _Repeat):
            return self._repeat(node, after)
        for part in reversed(node.parts):
            after = self.build(part, after)
        return after

    def _repeat(self, repeat: _Repeat, after: int) -> int:
        entry = after
        if repeat.high is None:
            entry = self.add(None, [after])
            self._leads[entry].append(self.build(repeat.node, entry))
        else:
            for _ in range(repeat.high - repeat.low):
                entry = self.add(None, [self.build(repeat.node, entry), after])
        for _ in range(repeat.low):
            before, entry = entry, self.build(repeat.node, entry)
            if entry == before:  # nothing, however often
                break
        return entry

    def settled(self, state: int) -> frozenset[int]:
        """The states that wait for a character, or the end, that ``state`` leads to without one."""
        seen, open_ = {state}, [state]
        while open_:
            here = open_.pop()
            if self._takes[here] is None:
                new = set(self._leads[here]) - seen
                seen |= new
                open_ += new
        return frozenset(each for each in seen if each == _END or self._takes[each] is not None)

    def steps(self) -> dict[int, tuple[_Accepts, frozenset[int]]]:
        """For each state that takes a character: which, and where it leads."""
        return {
            state: (takes, self.settled(self._leads[state][0]))
            for state, takes in enumerate(self._takes)
            if takes is not None
        }


def compile_expression(inner: str) -> Callable[[str], bool]:
    """What says whether a whole text matches ``inner``, the expression between ``^`` and ``$``.

    :raises BadParameter: a sentence about what is wrong with the expression.
    """
    if len(inner) > MAX_EXPRESSION_CHARS:
        raise BadParameter(f"an expression is longer than {MAX_EXPRESSION_CHARS} characters.")
    graph = _Graph()
    start = graph.settled(graph.build(_Parser(inner).parse(), _END))
    steps = graph.steps()

    @lru_cache(maxsize=MAX_REMEMBERED_TEXTS)
    def matches(text: str) -> bool:
        states = start
        for char in text:
            states = _after(states, steps, char)
            if not states:
                return False
        return _END in states

    return matches


def _after(states: frozenset[int], steps: dict[int, tuple[_Accepts, frozenset[int]]], char: str) -> frozenset[int]:
    leads = [steps[state][1] for state in states if state != _END and steps[state][0](char)]
    return frozenset[int]().union(*leads)
