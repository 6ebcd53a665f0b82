"""What ``tsh ssh --local`` runs while our own client holds the connection."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from teleport_conch.cli.tsh import child
from teleport_conch.cli.tsh.words import command_of


async def run(reactor: IReactorProcess, arguments: Namespace) -> int:
    """Runs the command with the streams of this process, and answers its exit status."""
    words = command_of(arguments)
    sys.stdout.flush()
    with child.handled(dict.fromkeys(child.FROM_THE_KEYBOARD, child.nothing)):
        command = _Command()
        program = shutil.which(words[0]) or words[0]
        reactor.spawnProcess(command, program, words, env=None, childFDs={0: 0, 1: 1, 2: 2})
        return await command.ended


@define(eq=False, slots=False)
class _Command(ProcessProtocol):
    """A program. Whoever no longer waits for it has ended it."""

    ended: Deferred[int] = field(init=False)

    @ended.default
    def _waiting(self) -> Deferred[int]:
        return Deferred(lambda _: self._end())

    def _end(self) -> None:
        assert self.transport is not None
        self.transport.signalProcess("TERM")

    def processEnded(self, reason: Failure) -> None:
        if not self.ended.called:
            self.ended.callback(_status(reason.value))


def _status(problem: BaseException | None) -> int:
    """As a shell has it: 128 and the signal, for a program that was killed."""
    if not isinstance(problem, ProcessTerminated):
        return 0
    return problem.exitCode if problem.exitCode is not None else 128 + (problem.signal or 0)
