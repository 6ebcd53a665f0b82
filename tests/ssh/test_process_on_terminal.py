"""Sessions on a terminal, with real children on the real reactor."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve

from teleport_conch.errors import SpawnFailed
from teleport_conch.ssh.account import lookup
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import DRAIN_BYTES
from teleport_conch.ssh.processes.terminal import Terminal
from tests.ssh.processes.test_process import NOT_ROOT, ProcessCase, state_of


def mode(opcode: int, argument: int) -> bytes:
    """One encoded terminal mode."""
    return bytes([opcode]) + argument.to_bytes(4, "big")


RAW = mode(51, 0) + mode(53, 0) + mode(70, 0) + mode(36, 0) + mode(38, 0) + mode(50, 0)
"""Neither echo nor lines, signals, or changed line ends."""


class TerminalTests(ProcessCase):
    """Sessions on a terminal."""

    async def test_name_and_size(self) -> None:
        """All three descriptors are the terminal, of the size that was asked for."""
        terminal = self.terminal(rows=50, cols=132)
        name = terminal.name
        _, heard = self.shell("tty; stty size; for fd in 0 1 2; do readlink /proc/self/fd/$fd; done", terminal)
        await self.until_exit(heard)
        self.assertEqual(heard.output.decode().split(), [name, "50", "132", name, name, name])
        self.assertEqual(heard.ends, ["output", "exit"])

    async def test_resize(self) -> None:
        """The program hears of a new size by SIGWINCH."""
        process, heard = self.shell(
            "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.01; done", self.terminal()
        )
        await heard.when_output(b"up\r\n")
        process.resize(33, 77, 0, 0)
        await self.until_exit(heard)
        self.assertEqual(heard.output, b"up\r\n33 77\r\n")
        process.resize(1, 1, 0, 0)

    async def test_controlling_terminal(self) -> None:
        """/dev/tty opens, ps knows the terminal, and job control works."""
        terminal = self.terminal()
        short = terminal.name.removeprefix("/dev/")
        _, heard = self.shell("echo there >/dev/tty; ps -o tty= -p $$; set -m; true & wait; fg; echo ok", terminal)
        await self.until_exit(heard)
        lines = heard.output.decode().split("\r\n")
        self.assertEqual((lines[:2], lines[-2:]), (["there", short], ["ok", ""]))
        self.assertNotIn("job control", heard.output.decode())

    async def test_interrupt_character(self) -> None:
        """Control-C goes to the foreground process."""
        process, heard = self.shell("echo up; exec cat", self.terminal())
        await heard.when_output(b"up\r\n")
        process.write(b"\x03")
        await self.until_exit(heard)
        self.assertEqual(heard.status, ExitStatus(code=None, signal="INT"))

    async def test_all_bytes(self) -> None:
        """Two million bytes through a raw terminal, and the last of them are not lost when the process exits."""
        _, heard = self.start(["/usr/bin/head", "-c", "2000000", "/dev/zero"], terminal=self.terminal(modes=RAW))
        await self.until_exit(heard)
        self.assertEqual(heard.output, bytes(2_000_000))
        self.assertEqual(heard.status, ExitStatus(code=0))

    async def test_there_and_back(self) -> None:
        """What is typed, however much, comes back whole."""
        process, heard = self.shell("echo up; exec head -c 500000", self.terminal(modes=RAW))
        await heard.when_output(b"up\n")
        sent = os.urandom(500_000)
        process.write(sent)
        await self.until_exit(heard)
        self.assertEqual(heard.output, b"up\n" + sent)

    async def test_end_of_input(self) -> None:
        """A terminal knows no end of file: the program goes on, and can be heard."""
        process, heard = self.shell("echo up; read line; echo $line; sleep 0; echo done", self.terminal())
        await heard.when_output(b"up\r\n")
        process.write(b"typed\n")
        process.end_input()
        await self.until_exit(heard)
        self.assertEqual(heard.output, b"up\r\ntyped\r\ntyped\r\ndone\r\n")

    async def test_job_left_behind(self) -> None:
        """The exit of the shell is the end, also when a job has the terminal open, and writes."""
        before = await self.descriptors_before()
        script = "trap '' HUP; while :; do echo more; done & echo $!; exec 1>&-; exit 4"
        _, heard = self.shell(script, self.terminal())
        await self.until_exit(heard)
        job = int(next(line for line in heard.output.split(b"\r\n") if line.isdigit()))
        self.kill_later(job)
        self.assertEqual((heard.status, heard.ends), (ExitStatus(code=4), ["output", "exit"]))
        self.assertEqual(self.open_descriptors(), before)

    async def test_exit_while_paused(self) -> None:
        """What a process wrote before its exit is delivered, bounded, even while the output is paused."""
        process, heard = self.shell("echo bye; exit 5", self.terminal())
        process.pause_output()
        await self.until_exit(heard)
        self.assertEqual((bytes(heard.output), heard.status), (b"bye\r\n", ExitStatus(code=5)))
        self.assertLess(len(heard.output), DRAIN_BYTES)

    async def test_pause_holds_the_process(self) -> None:
        """A paused terminal stops who writes to it."""
        process, heard = self.start(["/usr/bin/head", "-c", "500000", "/dev/zero"], terminal=self.terminal(modes=RAW))
        process.pause_output()
        await self.until(
            lambda: Path(f"/proc/{process.pid}/comm").read_text() == "head\n" and state_of(process.pid) == "S"
        )
        self.assertEqual((heard.output, heard.status), (b"", None))
        process.resume_output()
        await self.until_exit(heard)
        self.assertEqual(len(heard.output), 500_000)

    async def test_hang_up(self) -> None:
        """With the terminal gone the kernel sends SIGHUP."""
        before = await self.descriptors_before()
        process, heard = self.shell("echo up; exec cat", self.terminal())
        await heard.when_output(b"up\r\n")
        process.hang_up()
        await self.until_exit(heard)
        self.assertEqual((heard.status, heard.ends), (ExitStatus(code=None, signal="HUP"), ["exit"]))
        self.assertEqual(self.open_descriptors(), before)

    async def test_closed_before_the_exit(self) -> None:
        """A process that closes its terminal has no more output; its exit follows."""
        process, heard = self.shell("trap '' HUP; exec <&- >&- 2>&-; exec sleep 60", self.terminal())
        await heard.when(lambda: heard.ends == ["output"])
        process.send_signal("TERM")
        await self.until_exit(heard)
        self.assertEqual(heard.ends, ["output", "exit"])

    def test_refused(self) -> None:
        """A start that fails closes the terminal that it was given."""
        before = self.open_descriptors()
        terminal = self.terminal()
        self.assertRaises(SpawnFailed, self.start, ["/bin/echo", "x" * (8 << 20)], terminal=terminal)
        self.assertEqual((terminal.master, terminal.slave), (-1, -1))
        self.assertEqual(self.open_descriptors(), before)


class OtherAccountTests(ProcessCase):
    """A terminal of another account."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest(NOT_ROOT)
        super().setUp()
        self.account = evolve(lookup("nobody"), home="/tmp")

    async def test_on_a_terminal(self) -> None:
        """The account owns its controlling terminal, and has job control."""
        terminal = Terminal.open(self.account, 24, 80)
        name = terminal.name
        script = "stat -c '%U %G %a' $(tty); echo there >/dev/tty; ps -o tty= -p $$; set -m; true & wait; echo ok"
        _, heard = self.start(["/bin/sh", "-c", script], account=self.account, terminal=terminal)
        await self.until_exit(heard)
        lines = heard.output.decode().split("\r\n")
        self.assertEqual(lines[:3], ["nobody tty 620", "there", name.removeprefix("/dev/")])
        self.assertEqual(lines[-2], "ok")
