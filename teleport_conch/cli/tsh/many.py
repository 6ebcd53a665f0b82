"""One command on many nodes: a few at a time, each line of output with the name of the node before it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO, cast

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from teleport_conch.cli.table import inert

AT_ONCE = 32
"""How many programs run at the same time."""
MAX_LINE_BYTES = 1 << 16
"""A line that is longer is cut into several."""
FAILED = 255
"""The exit status where the program could not say one, as OpenSSH has it."""


@frozen
class Run:
    """What runs for one node.

    :ivar words: the command line; the first word is the path of the program.
    """

    name: str
    words: Sequence[str]


async def run_on_all(
    reactor: IReactorTime, runs: Sequence[Run], out: TextIO = sys.stdout, err: TextIO = sys.stderr
) -> int:
    """Runs all of them, and answers the highest exit status."""
    slots = DeferredSemaphore(AT_ONCE)
    width = max(len(inert(run.name)) for run in runs)
    started = [slots.run(_one, cast(IReactorProcess, reactor), run, width, (out, err)) for run in runs]
    return max(await gatherResults(started, consumeErrors=True))


def _one(reactor: IReactorProcess, run: Run, width: int, streams: tuple[TextIO, TextIO]) -> Deferred[int]:
    protocol = _Prefixed(inert(run.name).ljust(width), *streams)
    reactor.spawnProcess(protocol, run.words[0], list(run.words), env=None, childFDs={0: "w", 1: "r", 2: "r"})
    return protocol.ended


@define(eq=False, slots=False)
class _Prefixed(ProcessProtocol):
    """Passes on whole lines, whichever node they come from."""

    _prefix: str
    _out: TextIO
    _err: TextIO
    ended: Deferred[int] = field(init=False, factory=Deferred)
    _left: dict[int, bytes] = field(init=False, factory=lambda: {1: b"", 2: b""})

    def connectionMade(self) -> None:
        self.transport.closeStdin()  # type: ignore[union-attr]  # there is one: it has just been made

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, rest = (self._left[childFD] + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._left[childFD] = rest
        self._say(childFD, lines)

    def _say(self, stream: int, lines: Sequence[bytes]) -> None:
        out = self._out if stream == 1 else self._err
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            out.write(f"{self._prefix} | {_harmless(text) if out.isatty() else text}\n")

    def processEnded(self, reason: Failure) -> None:
        for stream, rest in self._left.items():
            self._say(stream, [rest] if rest else [])
        problem = reason.value
        status = problem.exitCode if isinstance(problem, ProcessTerminated) else 0
        self.ended.callback(FAILED if status is None else status)


def _harmless(text: str) -> str:
    """A line for a terminal, which one node could have write over what others said, or more than that."""
    return "\t".join(map(inert, text.split("\t")))
