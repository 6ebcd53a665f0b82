"""Regular expressions that take linear time: the ``^...$`` values of a role's ``node_labels``.

Labels come from nodes, so an expression with an exponential worst case would let a node stall whoever decides about it.
Python's own engine backtracks; this one follows all alternatives at once (Thompson's construction) and looks at each
character of the text once, whatever the expression.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from attrs import define, field

from teleport_conch.access.pattern_syntax import Accepts, Choice, Edge, Group, Node, One, Parser, Repeat
from teleport_conch.errors import BadParameter

MAX_STATES = 512
"""Steps of the compiled expression; the time for one character is proportional to it."""
MAX_REMEMBERED_TEXTS = 256
"""Answers kept for each expression; the labels of a cluster repeat."""

_END = 0


@define
class _Graph:
    """The states of an expression: each takes a character, or else leads on to others at once."""

    _takes: list[Accepts | None] = field(factory=lambda: [None])
    _leads: list[list[int]] = field(factory=lambda: [[]])

    def add(self, takes: Accepts | None, leads: list[int]) -> int:
        if len(self._takes) >= MAX_STATES:
            raise BadParameter(f"an expression has more than {MAX_STATES} steps; its {{m,n}} count too.")
        self._takes.append(takes)
        self._leads.append(leads)
        return len(self._takes) - 1

    def build(self, node: Node, after: int) -> int:
        """The state in which ``node`` begins; it goes on to the state ``after``."""
        if isinstance(node, One):
            return self.add(node.accepts, [after])
        if isinstance(node, Choice):
            return self.add(None, [self.build(option, after) for option in node.options])
        if isinstance(node, Repeat):
            return self._repeat(node, after)
        if isinstance(node, Group):
            return self.build(node.node, after)
        for part in () if isinstance(node, Edge) else reversed(node.parts):
            after = self.build(part, after)
        return after

    def _repeat(self, repeat: Repeat, after: int) -> int:
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

    def steps(self) -> dict[int, tuple[Accepts, frozenset[int]]]:
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
    graph = _Graph()
    start = graph.settled(graph.build(Parser(inner, f"^{inner}$").parse(), _END))
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


def _after(states: frozenset[int], steps: dict[int, tuple[Accepts, frozenset[int]]], char: str) -> frozenset[int]:
    leads = [steps[state][1] for state in states if state != _END and steps[state][0](char)]
    return frozenset[int]().union(*leads)
