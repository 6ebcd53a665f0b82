"""The process of a session: what it writes, what it is given, and how it ends."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.errors import BadParameter, SpawnFailed
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.monitor.orders import Program
from teleport_conch.ssh.processes.exit_status import SIGNALS, UNKNOWN_CODE, ExitStatus
from teleport_conch.ssh.processes.pipes import PipeReader, PipeWriter
from teleport_conch.ssh.processes.running import Running
from teleport_conch.ssh.processes.spawn import Spawned, spawn
from teleport_conch.ssh.processes.terminal import Terminal

DRAIN_BYTES = 256 << 10
"""What is read of a terminal after its session's leader has exited; a terminal holds less, unless a job writes on."""

TERMINAL_READS = 16
"""Reads of a terminal, of 4 KiB each, that make one piece."""


class ProcessEvents(Protocol):
    """What hears of a :class:`Process`. Nothing is called before :meth:`Process.start` has returned."""

    def output_received(self, data: bytes) -> None:
        """Standard output, or all output of a terminal."""

    def error_received(self, data: bytes) -> None:
        """Standard error; never with a terminal."""

    def output_ended(self) -> None:
        """No more :meth:`output_received`."""

    def error_ended(self) -> None:
        """No more :meth:`error_received`; never with a terminal."""

    def exited(self, status: ExitStatus) -> None:
        """The last event, once: the process has exited and its outputs have ended."""


@implementer(IReadDescriptor)
class _ExitWatch:
    """Waits for the end of one child by its pidfd (Linux 5.3), without a handler of SIGCHLD, and reaps it."""

    def __init__(self, reactor: IReactorFDSet, pid: int, pidfd: int, exited: Callable[[ExitStatus], None]) -> None:
        self._reactor = reactor
        self._pid = pid
        self._pidfd = pidfd
        self._exited = exited
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._pidfd

    def logPrefix(self) -> str:
        return "session process"

    def doRead(self) -> Failure | None:
        status = ExitStatus(code=UNKNOWN_CODE)
        with suppress(ChildProcessError):
            status = ExitStatus.from_wait(os.waitpid(self._pid, 0)[1])
        self._close()
        self._exited(status)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """A pidfd is never lost; this is what the reactor calls after an exception in :meth:`doRead`."""
        self._close()

    def _close(self) -> None:
        if self._pidfd >= 0:
            self._reactor.removeReader(self)
            os.close(self._pidfd)
            self._pidfd = -1


@frozen
class LocalProcess:
    """A :class:`~teleport_conch.ssh.processes.running.Running` process that is a child of ours."""

    _reactor: IReactorFDSet
    _spawned: Spawned
    _pidfd: int
    terminal: Terminal | None

    @classmethod
    def start(
        cls,
        reactor: IReactorFDSet,
        account: Account,
        argv: Sequence[str],
        environment: Mapping[str, str],
        login_shell: bool,
        terminal: Terminal | None,
    ) -> LocalProcess:
        """See :meth:`Process.start`."""
        try:
            spawned = spawn(account, argv, environment, login_shell=login_shell, terminal=terminal)
            return cls(reactor, spawned, _pidfd_of(spawned), terminal)
        except BaseException:
            if terminal is not None:
                terminal.close()
            raise

    @property
    def pid(self) -> int:
        return self._spawned.pid

    @property
    def input(self) -> int:
        return self._spawned.input

    @property
    def output(self) -> int:
        return self._spawned.output

    @property
    def error(self) -> int | None:
        return self._spawned.error

    def watch(self, exited: Callable[[ExitStatus], None]) -> None:
        _ExitWatch(self._reactor, self.pid, self._pidfd, exited)

    def kill(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


@frozen
class LocalSpawner:
    """A :class:`~teleport_conch.ssh.processes.running.Spawner` of sessions that are children of this process."""

    reactor: IReactorFDSet
    account: Account

    async def spawn(self, program: Program) -> LocalProcess:
        """Starts a session, which has no PAM, no records of logins and no ``~/.ssh/rc``."""
        shell, command = self.account.shell, program.command
        argv = [shell] if command is None else [shell, "-c", command]
        terminal, environment = self._terminal(program), program.environment
        if program.terminal is not None and terminal is not None:
            environment = {**environment, "TERM": program.terminal.term, "SSH_TTY": terminal.name}
        return LocalProcess.start(self.reactor, self.account, argv, environment, command is None, terminal)

    def _terminal(self, program: Program) -> Terminal | None:
        wanted = program.terminal
        if wanted is None:
            return None
        return Terminal.open(self.account, wanted.rows, wanted.cols, wanted.xpixel, wanted.ypixel, wanted.modes)


class Process:
    """A running process with its descriptors; made by :meth:`start`.

    When the session is over is decided as ``sshd`` decides it. On pipes: when the process has exited and nobody holds
    its standard output and standard error open, so that ``(sleep 9; echo late) &`` is still heard; ``nohup job
    >/dev/null 2>&1 </dev/null &`` ends at once. On a terminal: when the process, which leads the terminal's session,
    has exited; what it wrote is delivered, and jobs left behind lose the terminal. Either way :meth:`hang_up` ends it.
    """

    def __init__(self, reactor: IReactorFDSet, clock: IReactorTime, running: Running, events: ProcessEvents) -> None:
        self.pid = running.pid
        """Also the process group and the session; not to be used after :meth:`ProcessEvents.exited`."""
        self.on_input_drained: Callable[[], None] = _nothing
        """Called when a :meth:`write` that answered False has been caught up with; to be set by who writes."""
        self._events = events
        self._running = running
        self._terminal = terminal = running.terminal
        self._status: ExitStatus | None = None
        self._reported = False
        self._input = PipeWriter(reactor, running.input, self._input_drained)
        reads = 1 if terminal is None else TERMINAL_READS
        self._output = PipeReader(reactor, clock, running.output, events.output_received, self._output_ended, reads)
        self._error: PipeReader | None = None
        if running.error is not None:
            self._error = PipeReader(reactor, clock, running.error, events.error_received, self._error_ended)
        running.watch(self._exited)

    @classmethod
    def start(
        cls,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        account: Account,
        argv: Sequence[str],
        environment: Mapping[str, str],
        login_shell: bool,
        terminal: Terminal | None,
        protocol: ProcessEvents,
    ) -> Process:
        """Start ``argv`` as ``account`` (see :mod:`teleport_conch.ssh.processes.spawn`) and tell ``protocol`` of it.

        ``terminal`` is owned by the process from here on, and closed also when this raises.

        :raises AccessDenied, BadParameter, SpawnFailed: as ``spawn`` does.
        """
        running = LocalProcess.start(reactor, account, argv, environment, login_shell, terminal)
        return cls(reactor, clock, running, protocol)

    def write(self, data: bytes) -> bool:
        """Give ``data`` to the process; False asks for no more before :attr:`on_input_drained` is called.

        What a process no longer reads is dropped without an error.

        :raises LimitExceeded: the caller did not wait.
        """
        return self._input.write(data)

    def end_input(self) -> None:
        """End of file on standard input, after what was written. A terminal has none: its program goes on."""
        self._input.close()

    def pause_output(self) -> None:
        """Leave the outputs unread, which holds the process as soon as they are full.

        The end of a terminal session still delivers what was in the terminal, :data:`DRAIN_BYTES` at most.
        """
        for reader in self._readers():
            reader.pauseProducing()

    def resume_output(self) -> None:
        for reader in self._readers():
            reader.resumeProducing()

    def stop_output(self) -> None:
        """Nobody reads standard output any more: the process hears so when it writes (SIGPIPE). Not on a terminal."""
        if self._terminal is None:
            self._output.stopProducing()

    def resize(self, rows: int, cols: int, xpixel: int, ypixel: int) -> None:
        """Give the terminal another size; nothing without one."""
        if self._terminal is not None:
            self._terminal.resize(rows, cols, xpixel, ypixel)

    def send_break(self) -> bool:
        """Send a break to the terminal; False without one."""
        if self._terminal is None or self._terminal.master < 0:
            return False
        termios.tcsendbreak(self._terminal.master, 0)
        return True

    def send_signal(self, name: str) -> None:
        """Send a signal to the process group; nothing when the process has exited.

        We may be root, so that this also reaches what the person started in the group through ``sudo``.

        :param name: without SIG, one of :data:`SIGNALS`.
        :raises BadParameter: another name.
        """
        if name not in SIGNALS:
            raise BadParameter(f"This is not a signal of SSH; there are {', '.join(SIGNALS)}.")
        self._kill(SIGNALS[name])

    def hang_up(self) -> None:
        """The channel is gone: close all descriptors, and tell the process with SIGHUP.

        No output event follows. ``exited`` follows when the process has exited, within this call if it has already;
        a process that ignores SIGHUP lives on, and is reaped whenever it ends.
        """
        if self._terminal is None:
            self._kill(signal.SIGHUP)
        for reader in self._readers():
            reader.stopProducing()
        self._input.abort()
        self._close_terminal()
        self._report_when_over()

    def _readers(self) -> list[PipeReader]:
        return [self._output] if self._error is None else [self._output, self._error]

    def _kill(self, number: signal.Signals) -> None:
        """A process group's number is certainly its own only until its leader has been reaped."""
        if self._status is None:
            self._running.kill(number)

    def _exited(self, status: ExitStatus) -> None:
        self._status = status
        self._input.abort()
        if self._terminal is not None:
            self._close_terminal()
            self._output.drain(DRAIN_BYTES)
        self._report_when_over()

    def _input_drained(self) -> None:
        self.on_input_drained()

    def _output_ended(self) -> None:
        self._events.output_ended()
        self._report_when_over()

    def _error_ended(self) -> None:
        self._events.error_ended()
        self._report_when_over()

    def _close_terminal(self) -> None:
        """With the descriptors of reader and writer gone too, the kernel sends SIGHUP to the terminal's session."""
        if self._terminal is not None:
            self._terminal.close()

    def _report_when_over(self) -> None:
        if self._status is None or self._reported or any(reader.open for reader in self._readers()):
            return
        self._reported = True
        self._events.exited(self._status)


def _nothing() -> None:
    pass


def _pidfd_of(spawned: Spawned) -> int:
    """A descriptor that becomes readable when the process exits; without one the process is ended again."""
    try:
        return os.pidfd_open(spawned.pid)
    except OSError as error:
        os.killpg(spawned.pid, signal.SIGKILL)
        os.waitpid(spawned.pid, 0)
        for fd in (spawned.input, spawned.output, spawned.error):
            if fd is not None:
                os.close(fd)
        raise SpawnFailed(f"This host could not watch the process of the session: {error.strerror}.") from error
