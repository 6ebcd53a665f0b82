"""``regexp.replace``: every match of a regular expression in a text is replaced, without backtracking.

All alternatives are followed at once, in the order in which a backtracking engine would try them (Pike's construction),
so that the captures are the ones people expect. What would take more than :data:`MAX_WORK` has no outcome: whoever
decides about people has no time for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import IntEnum, auto

from attrs import define, field, frozen

from teleport_conch.access.pattern_syntax import Accepts, Choice, Edge, Group, Node, One, Parser, Repeat
from teleport_conch.errors import BadParameter

MAX_STEPS = 64
"""Steps of the compiled expression."""
MAX_TEXT_CHARS = 256
"""Longer texts are not looked at: no login and no label that people write is as long."""
MAX_RESULT_CHARS = 1024
MAX_WORK = 8192
"""Steps that wait for a character, of all characters together: a few milliseconds. Usual expressions need hundreds."""

_REFERENCE = re.compile(r"\$(?:(\$)|([0-9]{1,2})(?![0-9A-Za-z_])|\{([0-9]{1,2})\}|)")


class _TooMuch(Exception):
    """The work for one text is over."""


@define
class _Work:
    """What is left of it."""

    left: int = MAX_WORK

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _TooMuch


class _Do(IntEnum):
    TAKE = auto()
    FORK = auto()
    SAVE = auto()
    BEGIN = auto()
    END = auto()
    DONE = auto()


@frozen
class _Step:
    """``to`` are the steps that follow, the first the one to be preferred."""

    do: _Do
    to: tuple[int, ...] = ()
    takes: Accepts | None = None
    slot: int = 0


Slots = tuple[int, ...]


@define
class _Threads:
    """The steps that wait for the same character, the preferred first, each with the captures on the way to it."""

    waiting: list[tuple[int, Slots]] = field(factory=list)
    _seen: set[int] = field(factory=set)

    def follow(self, steps: tuple[_Step, ...], start: int, slots: Slots, here: int, length: int) -> None:
        """Adds what ``start`` leads to without a character, in order, unless a better thread came there."""
        open_ = [(start, slots)]
        while open_:
            number, slots = open_.pop()
            if number in self._seen:
                continue
            self._seen.add(number)
            step = steps[number]
            if step.do in (_Do.TAKE, _Do.DONE):
                self.waiting.append((number, slots))
            elif step.do is _Do.SAVE:
                open_.append((step.to[0], (*slots[: step.slot], here, *slots[step.slot + 1 :])))
            elif step.do is _Do.FORK or here == (0 if step.do is _Do.BEGIN else length):
                open_ += [(each, slots) for each in reversed(step.to)]


@define
class _Program:
    """The steps of an expression; :meth:`build` works from the end, since a step names those that follow."""

    steps: list[_Step] = field(factory=lambda: [_Step(_Do.DONE)])

    def add(self, step: _Step) -> int:
        if len(self.steps) >= MAX_STEPS:
            raise BadParameter(f"an expression has more than {MAX_STEPS} steps; its {{m,n}} count too.")
        self.steps.append(step)
        return len(self.steps) - 1

    def build(self, node: Node, after: int) -> int:
        """The step in which ``node`` begins; it goes on to the step ``after``."""
        if isinstance(node, One):
            return self.add(_Step(_Do.TAKE, (after,), node.accepts))
        if isinstance(node, Edge):
            return self.add(_Step(_Do.BEGIN if node.begin else _Do.END, (after,)))
        if isinstance(node, Choice):
            return self.add(_Step(_Do.FORK, tuple([self.build(option, after) for option in node.options])))
        if isinstance(node, Repeat):
            return self._repeat(node, after)
        if isinstance(node, Group):
            end = self.add(_Step(_Do.SAVE, (after,), slot=2 * node.number + 1))
            return self.add(_Step(_Do.SAVE, (self.build(node.node, end),), slot=2 * node.number))
        for part in reversed(node.parts):
            after = self.build(part, after)
        return after

    def _repeat(self, repeat: Repeat, after: int) -> int:
        entry = after
        if repeat.high is None:
            entry = self.add(_Step(_Do.FORK))
            self.steps[entry] = self._fork(repeat, self.build(repeat.node, entry), after)
        else:
            for _ in range(repeat.high - repeat.low):
                entry = self.add(self._fork(repeat, self.build(repeat.node, entry), after))
        for _ in range(repeat.low):
            before, entry = entry, self.build(repeat.node, entry)
            if entry == before:
                break
        return entry

    def _fork(self, repeat: Repeat, again: int, after: int) -> _Step:
        return _Step(_Do.FORK, (again, after) if repeat.greedy else (after, again))


@frozen
class Expression:
    """A regular expression that is looked for anywhere in a text.

    :param groups: how many groups it has.
    """

    groups: int
    _steps: tuple[_Step, ...]
    _start: int

    @classmethod
    def compile(cls, text: str) -> Expression:
        """:raises BadParameter: a sentence about what is wrong with the expression."""
        parser, program = Parser(text, text, edges=True), _Program()
        start = program.build(parser.parse(), 0)
        return cls(parser.groups, tuple(program.steps), start)

    def find(self, text: str, at: int = 0, work: _Work | None = None) -> Slots | None:
        """The first match from ``at`` on: begin and end of it, then of each group; -1 for a group that has no part."""
        work = work or _Work()
        none, threads = (-1,) * (2 * self.groups + 1), _Threads()
        found: Slots | None = None
        for here in range(at, len(text) + 1):
            if found is None:
                threads.follow(self._steps, self._start, (here, *none), here, len(text))
            elif not threads.waiting:
                break
            work.spend(len(threads.waiting) + 1)
            threads, found = self._step(threads, text, here, found)
        return found

    def _step(self, threads: _Threads, text: str, here: int, found: Slots | None) -> tuple[_Threads, Slots | None]:
        following = _Threads()
        for number, slots in threads.waiting:
            step = self._steps[number]
            if step.takes is None:
                return following, (slots[0], here, *slots[2:])  # the other threads are less preferred
            if here < len(text) and step.takes(text[here]):
                following.follow(self._steps, step.to[0], slots, here + 1, len(text))
        return following, found


def compile_replacement(expression: str, replacement: str) -> Callable[[str], str | None]:
    """What replaces every match in a text; None for a text without any, and for one that is too long.

    :param replacement: ``$1`` and ``${1}`` stand for groups, ``$0`` for the whole match, ``$$`` for a ``$``.
    :raises BadParameter: a sentence about what is wrong with one of the two.
    """
    compiled = Expression.compile(expression)
    for found in _REFERENCE.finditer(replacement):
        number = found[2] or found[3]
        if found[0] == "$" or (number and int(number) > compiled.groups):
            raise BadParameter(
                f"{replacement!a}: a $ begins $1 or ${{1}}, for one of the {compiled.groups} groups of the expression,"
                " or is written $$."
            )
    return lambda text: _replaced(compiled, replacement, text)


def _replaced(expression: Expression, replacement: str, text: str) -> str | None:
    if len(text) > MAX_TEXT_CHARS:
        return None
    try:
        pieces = list(_pieces(expression, replacement, text, _Work()))
    except _TooMuch:
        return None
    result = "".join(pieces)
    return result if len(pieces) > 1 and len(result) <= MAX_RESULT_CHARS else None


def _pieces(expression: Expression, replacement: str, text: str, work: _Work) -> Iterator[str]:
    """What stands between the matches, and in their place; one piece where there is no match."""
    copied, at = 0, 0
    while at <= len(text) and (found := expression.find(text, at, work)) is not None:
        begin, end = found[:2]
        yield text[copied:begin]
        yield (
            _filled(replacement, text, found) if end > copied or begin == 0 else ""
        )  # nothing is not one behind another
        copied, at = end, max(end, at + 1)
    yield text[copied:]


def _filled(replacement: str, text: str, slots: Slots) -> str:
    def part(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        number = int(found[2] or found[3])
        begin, end = slots[2 * number], slots[2 * number + 1]
        return text[begin:end] if begin >= 0 else ""

    return _REFERENCE.sub(part, replacement)
