"""Processes of sessions, with real children on the real reactor."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import signal
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_conch.errors import BadParameter
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.processes.exit_status import SIGNALS, ExitStatus
from teleport_conch.ssh.processes.pipes import PIPE_BYTES
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.processes.terminal import Terminal
from teleport_conch.starting import Reactor

NOT_ROOT = "Only root starts processes of other accounts."


def own_account() -> Account:
    """The account that runs the tests, with a home that exists."""
    return evolve(lookup(pwd.getpwuid(os.geteuid()).pw_name), home="/")


class Recorder:
    """Writes down what a process does, and lets a test wait for it."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.error = bytearray()
        self.ends: list[str] = []
        self.status: ExitStatus | None = None
        self._waits: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def output_received(self, data: bytes) -> None:
        self.output += data
        self._look()

    def error_received(self, data: bytes) -> None:
        self.error += data
        self._look()

    def output_ended(self) -> None:
        self.ends.append("output")
        self._look()

    def error_ended(self) -> None:
        self.ends.append("error")
        self._look()

    def exited(self, status: ExitStatus) -> None:
        assert self.status is None, "told twice"
        self.ends.append("exit")
        self.status = status
        self._look()

    def when(self, is_so: Callable[[], bool]) -> Deferred[None]:
        """Fires when ``is_so``, which is asked after each event."""
        waiting: Deferred[None] = Deferred()
        self._waits.append((is_so, waiting))
        self._look()
        return waiting

    def when_output(self, ending: bytes) -> Deferred[None]:
        return self.when(lambda: self.output.endswith(ending))

    def _look(self) -> None:
        for wait in tuple(self._waits):
            if wait[0]():
                self._waits.remove(wait)
                wait[1].callback(None)


class ProcessCase(TestCase):
    """Starts processes, and ends what is left of them."""

    timeout = 30

    def setUp(self) -> None:
        self.reactor = cast(Reactor, installed_reactor)

    async def descriptors_before(self) -> dict[str, str]:
        """What is open once the reactor has opened its own, which it does when it first runs."""
        await self.until(lambda: cast(IReactorCore, installed_reactor).running)
        return self.open_descriptors()

    def open_descriptors(self) -> dict[str, str]:
        """Number and target of what this process has open, but for the folder that is read for it."""
        folder = Path("/proc/self/fd")
        return {entry.name: os.readlink(entry) for entry in folder.iterdir() if entry.exists()}

    def start(
        self,
        argv: Sequence[str],
        *,
        terminal: Terminal | None = None,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[Process, Recorder]:
        heard = Recorder()
        process = Process.start(
            self.reactor, self.reactor, account or own_account(), argv, environment or {}, False, terminal, heard
        )
        self.addCleanup(self.finish, process, heard)
        return process, heard

    def shell(self, script: str, terminal: Terminal | None = None) -> tuple[Process, Recorder]:
        return self.start(["/bin/sh", "-c", script], terminal=terminal)

    async def finish(self, process: Process, heard: Recorder) -> None:
        """End the process if it runs; then it has been reaped, and nothing of it is open."""
        if heard.status is None:
            process.send_signal("KILL")
            process.hang_up()
        await self.until_exit(heard)
        self.assertRaises(ChildProcessError, os.waitpid, process.pid, 0)

    def kill_later(self, pid: int) -> None:
        """End a job that was left behind on purpose."""

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        self.addCleanup(kill)

    def until_exit(self, heard: Recorder) -> Deferred[None]:
        return heard.when(lambda: heard.status is not None)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a fact that no event tells, for as long as the test may take."""
        while not is_so():
            await deferLater(cast(IReactorTime, installed_reactor), 0.01)

    def until_drained(self, process: Process) -> Deferred[None]:
        drained: Deferred[None] = Deferred()
        process.on_input_drained = lambda: drained.callback(None)
        return drained

    def terminal(self, rows: int = 24, cols: int = 80, modes: bytes = b"") -> Terminal:
        terminal = Terminal.open(own_account(), rows, cols, modes=modes)
        self.addCleanup(terminal.close)
        return terminal


def state_of(pid: int) -> str:
    """The kernel's letter for what a process does: S sleeps, Z has exited."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def is_gone(pid: int) -> bool:
    """Whether a child has been reaped."""
    return not Path(f"/proc/{pid}").exists()


class StatusTests(TestCase):
    """What waitpid says, in SSH's words."""

    def test_table(self) -> None:
        """Codes, signals with and without an SSH name, core dumps, real-time signals."""
        for status, expected in (
            (0, ExitStatus(code=0)),
            (255 << 8, ExitStatus(code=255)),
            (signal.SIGTERM, ExitStatus(code=None, signal="TERM")),
            (signal.SIGSEGV | 0x80, ExitStatus(code=None, signal="SEGV", core_dumped=True)),
            (signal.SIGBUS, ExitStatus(code=None, signal="SIG@openssh.com")),
            (50, ExitStatus(code=None, signal="SIG@openssh.com")),
        ):
            self.assertEqual(ExitStatus.from_wait(status), expected)


class OutputTests(ProcessCase):
    """All of it arrives, and no more than is asked for."""

    async def test_all_bytes(self) -> None:
        """Eight million bytes are eight million, and the end comes before the exit."""
        _, heard = self.start(["/usr/bin/head", "-c", "8000000", "/dev/zero"])
        await self.until_exit(heard)
        self.assertEqual(heard.output, bytes(8_000_000))
        self.assertEqual(heard.ends[-1], "exit")
        self.assertEqual(sorted(heard.ends), ["error", "exit", "output"])

    async def test_error_apart(self) -> None:
        """Standard error is told from standard output."""
        _, heard = self.shell("echo out; echo err >&2; exit 7")
        await self.until_exit(heard)
        self.assertEqual((bytes(heard.output), bytes(heard.error)), (b"out\n", b"err\n"))
        self.assertEqual(heard.status, ExitStatus(code=7))

    async def test_pause_holds_the_process(self) -> None:
        """Unread output stops the process when the pipe is full; read, it goes on."""
        process, heard = self.start(["/usr/bin/head", "-c", "8000000", "/dev/zero"])
        process.pause_output()
        pipe = process._output.fileno()

        def waiting() -> int:
            return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), "little")

        await self.until(lambda: waiting() > PIPE_BYTES // 2 and state_of(process.pid) == "S")
        self.assertLessEqual(waiting(), PIPE_BYTES)
        self.assertEqual(heard.output, b"")
        process.resume_output()
        await self.until_exit(heard)
        self.assertEqual(len(heard.output), 8_000_000)

    async def test_nothing_stays_open(self) -> None:
        """After the exit all descriptors are closed."""
        before = await self.descriptors_before()
        _, heard = self.shell("true")
        await self.until_exit(heard)
        self.assertEqual(self.open_descriptors(), before)


class InputTests(ProcessCase):
    """What is written to the process."""

    async def test_there_and_back(self) -> None:
        """Eight megabytes through cat, at the pace that it asks for."""
        process, heard = self.start(["/bin/cat"])
        sent = os.urandom(1 << 16) * 128
        waits = 0
        for at in range(0, len(sent), 1 << 18):
            if not process.write(sent[at : at + (1 << 18)]):
                waits += 1
                await self.until_drained(process)
        process.end_input()
        await self.until_exit(heard)
        self.assertEqual(heard.output, sent)
        self.assertEqual(heard.status, ExitStatus(code=0))
        self.assertGreater(waits, 0)

    async def test_end_of_input(self) -> None:
        """Half-close: the process answers after its input has ended."""
        process, heard = self.start(["/usr/bin/wc", "-c"])
        process.write(b"12345")
        process.end_input()
        await self.until_exit(heard)
        self.assertEqual(heard.output, b"5\n")

    async def test_nobody_reads(self) -> None:
        """EPIPE: what is written to a process that closed its input is dropped, and it lives on."""
        process, heard = self.shell("exec <&-; echo closed; exec sleep 60")
        await heard.when_output(b"closed\n")
        self.assertEqual([process.write(bytes(1 << 20)) for _ in range(20)], [True] * 20)
        self.assertIsNone(heard.status)
        process.send_signal("TERM")
        await self.until_exit(heard)
        self.assertEqual(heard.status, ExitStatus(code=None, signal="TERM"))

    async def test_exit_lets_the_producer_go(self) -> None:
        """A producer that waits for a process hears when it has exited."""
        process, heard = self.start(["/bin/sleep", "60"])
        told: list[str] = []
        process.on_input_drained = lambda: told.append("drained")
        while process.write(bytes(1 << 18)):
            pass
        process.send_signal("KILL")
        await self.until_exit(heard)
        self.assertEqual(told, ["drained"])
        self.assertTrue(process.write(b"x"))


class EndTests(ProcessCase):
    """When it is over, as sshd has it."""

    async def test_background_job_with_its_own_outputs(self) -> None:
        """A job that holds none of our pipes does not keep the session."""
        _, heard = self.shell("sleep 60 </dev/null >/dev/null 2>&1 & echo $!")
        await self.until_exit(heard)
        self.kill_later(int(heard.output))
        os.kill(int(heard.output), 0)
        self.assertEqual(heard.status, ExitStatus(code=0))

    async def test_background_job_with_our_output(self) -> None:
        """A job that holds standard output is heard to its end; the status is the process's own.

        The job waits for the end of the input, which is there when the process has exited.
        """
        _, heard = self.shell("(read line <&3; echo late) 3<&0 & exit 3")
        await self.until_exit(heard)
        self.assertEqual((bytes(heard.output), heard.status), (b"late\n", ExitStatus(code=3)))

    async def test_hang_up(self) -> None:
        """The process gets SIGHUP; nothing but the exit is heard after."""
        before = await self.descriptors_before()
        process, heard = self.shell("echo up; exec sleep 60")
        await heard.when_output(b"up\n")
        process.hang_up()
        await self.until_exit(heard)
        self.assertEqual((heard.status, heard.ends), (ExitStatus(code=None, signal="HUP"), ["exit"]))
        self.assertEqual(self.open_descriptors(), before)
        process.hang_up()

    async def test_hang_up_with_a_job_left(self) -> None:
        """After the exit of the process it ends the wait for a job, at once, without touching it."""
        process, heard = self.shell("sleep 60 & echo $!; exit 3")
        await heard.when_output(b"\n")
        await self.until(lambda: is_gone(process.pid))
        self.kill_later(int(heard.output))
        self.assertIsNone(heard.status)
        process.hang_up()
        self.assertEqual(heard.status, ExitStatus(code=3))
        os.kill(int(heard.output), 0)

    async def test_reaped_by_another(self) -> None:
        """A status that something else in the service took is lost, and the session still ends."""
        process, heard = self.shell("exit 3")
        os.waitpid(process.pid, 0)
        await self.until_exit(heard)
        self.assertEqual(heard.status, ExitStatus(code=255))

    async def test_ignored_hang_up(self) -> None:
        """A process that ignores it goes on, and is reaped when it ends."""
        process, heard = self.shell("trap '' HUP; echo up; exec sleep 60")
        await heard.when_output(b"up\n")
        process.hang_up()
        self.assertIsNone(heard.status)
        process.send_signal("KILL")
        await self.until_exit(heard)
        self.assertEqual(heard.status, ExitStatus(code=None, signal="KILL"))


class SignalTests(ProcessCase):
    """Signals by their SSH names."""

    async def test_group(self) -> None:
        """The whole group gets it: the shell and what it waits for."""
        process, heard = self.shell("sleep 60 & echo up; wait")
        await heard.when_output(b"up\n")
        process.send_signal("TERM")
        await self.until_exit(heard)
        self.assertEqual(heard.status, ExitStatus(code=None, signal="TERM"))

    async def test_each(self) -> None:
        """Every signal of the RFC can be sent, and is reported under the same name."""
        for name in SIGNALS:
            process, heard = self.start(["/bin/sh", "-c", "ulimit -c 0; echo up; exec sleep 60"])
            await heard.when_output(b"up\n")
            process.send_signal(name)
            await self.until_exit(heard)
            self.assertEqual(heard.status, ExitStatus(code=None, signal=name))

    async def test_unknown(self) -> None:
        """Another name is refused, and after the end a good one is nothing."""
        process, heard = self.shell("true")
        for name in ("STOP", "SIGTERM", "term", "", "9"):
            refusal = self.assertRaises(BadParameter, process.send_signal, name)
            self.assertEqual(
                refusal.sentence,
                "This is not a signal of SSH; there are ABRT, ALRM, FPE, HUP, ILL, INT, KILL, PIPE, QUIT, SEGV, TERM, "
                "USR1, USR2.",
            )
        await self.until_exit(heard)
        process.send_signal("KILL")


class OtherAccountTests(ProcessCase):
    """Sessions of another account."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)
        super().setUp()
        self.account = evolve(lookup("nobody"), home="/tmp")

    async def test_on_pipes(self) -> None:
        """Ids, groups, home and directory are the account's."""
        script = "id -u; id -g; id -G; echo $HOME; pwd; id -un"
        _, heard = self.start(["/bin/sh", "-c", script], account=self.account, environment={"HOME": self.account.home})
        await self.until_exit(heard)
        groups = " ".join(str(gid) for gid in os.getgrouplist(self.account.name, self.account.gid))
        expected = [str(self.account.uid), str(self.account.gid), groups, "/tmp", "/tmp", "nobody"]
        self.assertEqual(heard.output.decode().splitlines(), expected)

    async def test_signals_and_hang_up(self) -> None:
        """Root's service ends the processes of the account."""
        for end, signal_name in ((lambda p: p.send_signal("TERM"), "TERM"), (lambda p: p.hang_up(), "HUP")):
            process, heard = self.start(["/bin/sh", "-c", "echo up; exec sleep 60"], account=self.account)
            await heard.when_output(b"up\n")
            end(process)
            await self.until_exit(heard)
            self.assertEqual(heard.status, ExitStatus(code=None, signal=signal_name))
