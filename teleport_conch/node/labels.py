"""Labels whose values commands print: each on its own looper, with a time limit, and an output that is cut."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from teleport_conch.audit.inert import inert
from teleport_conch.errors import TeleportError
from teleport_conch.periodic import Periodic
from teleport_conch.resources.fields import MAX_TEXT_CHARS
from teleport_conch.resources.server import MAX_COMMAND_WORDS, CommandLabel
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import Process
from teleport_conch.starting import Reactor

MAX_OUTPUT_BYTES = 1024
"""Of a value, with what is said of a failure in front of it; auth takes no more."""


@frozen
class LabelCommand:
    """One configured label: ``command`` runs every ``period_s`` seconds, and is ended after ``timeout_s``."""

    name: str
    command: tuple[str, ...]
    period_s: float
    timeout_s: float


class CommandLabels(MultiService):
    """The command labels of this node.

    :param changed: called when a result is another than before.
    :param jitter: makes one period a little longer or shorter.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        commands: Sequence[LabelCommand],
        jitter: Callable[[float], float],
        changed: Callable[[], None],
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._changed = changed
        self._results: dict[str, str] = {}
        self._commands = {command.name: command for command in commands}
        for command in commands:
            self._schedule(command, jitter)

    def _schedule(self, command: LabelCommand, jitter: Callable[[float], float]) -> None:
        async def run() -> None:
            await self._run(command)

        looper = Periodic(self._reactor, command.period_s, run, jitter, f"label {command.name}")
        looper.setServiceParent(self)

    @property
    def labels(self) -> Mapping[str, CommandLabel]:
        """What the heartbeat says of them; a command that has not ended yet has an empty result."""
        return {
            name: CommandLabel(_shown(command), command.period_s, self._results.get(name, ""))
            for name, command in self._commands.items()
        }

    @property
    def results(self) -> Mapping[str, str]:
        """Their values alone, which is all that roles look at."""
        return {name: self._results.get(name, "") for name in self._commands}

    async def _run(self, command: LabelCommand) -> None:
        try:
            result = await _output_of(self._reactor, command)
        except TeleportError as problem:
            result = problem.sentence
        if self._results.get(command.name) != result:
            self._results[command.name] = result
            self._changed()


class _Run:
    """The process of one run, and what it has printed so far."""

    def __init__(self, ended: Deferred[str]) -> None:
        self._ended = ended
        self._output = b""
        self.timed_out = False

    def output_received(self, data: bytes) -> None:
        self._output = (self._output + data)[:MAX_OUTPUT_BYTES]

    error_received = output_received

    def output_ended(self) -> None:
        """The end of the process says it all."""

    error_ended = output_ended

    def exited(self, status: ExitStatus) -> None:
        text = "".join(filter(str.isprintable, " ".join(self._output.decode("utf-8", "replace").split())))
        if self.timed_out:
            text = f"timed out {text}"
        elif status.code != 0:
            how = f"exit status {status.code}" if status.code is not None else f"signal {status.signal}"
            text = f"{how} {text}"
        self._ended.callback(text.encode()[:MAX_OUTPUT_BYTES].decode("utf-8", "ignore").strip())


def _shown(command: LabelCommand) -> tuple[str, ...]:
    """The command as others read it: it may be a whole script, and what they read is one line of some length."""
    return tuple(inert(word)[:MAX_TEXT_CHARS] for word in command.command[:MAX_COMMAND_WORDS])


async def _output_of(reactor: Reactor, command: LabelCommand) -> str:
    """What the command prints, trimmed; how it failed, where it failed, as Teleport has it."""
    program = shutil.which(command.command[0]) or command.command[0]
    ended: Deferred[str] = Deferred()
    run = _Run(ended)
    words = program, *command.command[1:]
    process = Process.start(reactor, reactor, _own_account(), words, _environment(), False, None, run)
    process.end_input()

    def stop() -> None:
        run.timed_out = True
        process.send_signal("KILL")
        process.hang_up()

    limit = reactor.callLater(command.timeout_s, stop)
    try:
        return await ended
    except CancelledError:
        stop()
        raise
    finally:
        if limit.active():
            limit.cancel()


def _own_account() -> Account:
    entry = pwd.getpwuid(os.geteuid())
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, "/", "/bin/sh")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": os.environ.get("LANG", "C.UTF-8")}
