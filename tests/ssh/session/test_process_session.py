"""Sessions that are processes: real programs on the real reactor, behind a channel whose other end the test plays."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from typing import cast

from attrs import define, evolve, field
from twisted.internet import reactor as installed_reactor

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.account import Account, lookup
from teleport_conch.ssh.connection.channel import HIGH_WATER_BYTES
from teleport_conch.ssh.forwarding.x11 import X11Request
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.processes.terminal import Terminal
from teleport_conch.ssh.session.channel import SessionChannel, SessionStart
from teleport_conch.ssh.session.process_session import Party, ProcessSession, SessionObserver
from teleport_conch.starting import Reactor
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import StreamCase

reactor = cast(Reactor, installed_reactor)


def own_account() -> Account:
    return evolve(lookup(pwd.getpwuid(os.geteuid()).pw_name), home="/")


@define(slots=False, eq=False)
class RecordingObserver(SessionObserver):
    """Takes down what happens in a session; output and input as one text each."""

    output_text: bytes = b""
    input_text: bytes = b""
    sizes: list[tuple[int, int]] = field(factory=list)
    ends: list[ExitStatus | None] = field(factory=list)
    requests: list[str] = field(factory=list)
    refusal: TeleportError | None = None
    hold: bool = False

    async def begins(self, session: ProcessSession) -> None:
        if self.refusal is not None:
            raise self.refusal
        if self.hold:
            session.hold(self)

    def requested(self, name: str) -> None:
        self.requests.append(name)

    def output(self, data: bytes) -> None:
        self.output_text += data

    def error(self, data: bytes) -> None:
        self.output_text += data

    def input(self, data: bytes) -> None:
        self.input_text += data

    def resized(self, cols: int, rows: int) -> None:
        self.sizes.append((cols, rows))

    def ended(self, status: ExitStatus | None) -> None:
        self.ends.append(status)


class Starter:
    """The owner of a session channel: starts what it is asked for as the account of the tests."""

    def __init__(self, observer: RecordingObserver) -> None:
        self.observer = observer
        self.process: Process | None = None
        self.session = ProcessSession()

    def accepts_variable(self, name: str) -> bool:
        return False

    async def start(self, request: SessionStart, channel: SessionChannel) -> Party:
        account, terminal = own_account(), None
        if request.terminal is not None:
            terminal = Terminal.open(account, request.terminal.rows, request.terminal.cols)
        self.session = session = ProcessSession((self.observer,))
        party = session.join(channel)
        await session.begin()
        argv: Sequence[str] = ["/bin/sh", "-c", request.command]
        self.process = Process.start(reactor, reactor, account, argv, {}, False, terminal, session)
        session.attach(self.process)
        return party

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        raise AccessDenied("no windows")

    async def forward_agent(self, channel: SessionChannel) -> None:
        """Nothing to forward."""

    def channel_closed(self, channel: SessionChannel) -> None:
        """Nothing is kept."""


class ProcessSessionCase(StreamCase):
    def setUp(self) -> None:
        self.observer = RecordingObserver()
        self.link = RecordingLink()
        self.starter = Starter(self.observer)
        self.channel = SessionChannel(self.starter)
        self.channel.bind(self.link, 0)

    async def run_command(self, command: str, window: int = 1 << 30, terminal: bool = False) -> None:
        """Starts ``command`` behind the channel."""
        self.channel.connect(7, window, 1 << 15)
        if terminal:
            sizes = b"".join(map(wire.uint32, (80, 24, 0, 0)))
            await self.channel.request_received(b"pty-req", wire.text("xterm") + sizes + wire.string(b""))
        self.assertTrue(await self.channel.request_received(b"exec", wire.text(command)))
        self.addCleanup(self.end)

    async def end(self) -> None:
        """Nothing of the process may be left behind."""
        if self.channel.connection is not None:
            self.channel.lost()
        await self.until(self.reaped)

    def reaped(self) -> bool:
        process = self.starter.process
        assert process is not None
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def type_in(self, data: bytes) -> None:
        self.channel.receive_window.charge(len(data))
        self.channel.data_received(data)

    async def until_closed(self) -> None:
        await self.until(lambda: ("close",) in self.link.said)

    def status(self) -> list[object]:
        """What was said of the end, in order: the name of the request, its payload, EOF and CLOSE."""
        return [said for said in self.link.said if said[0] != "data" and said[0] != "grant"]


class OutputTests(ProcessSessionCase):
    async def test_both_outputs_and_the_end(self) -> None:
        """Output and errors in their kinds, then the status, then EOF and CLOSE."""
        await self.run_command("echo out; echo err >&2; exit 3")
        await self.until_closed()
        self.assertEqual((self.link.data_of(0), self.link.data_of(1)), (b"out\n", b"err\n"))
        self.assertEqual(self.status(), [("request", b"exit-status", wire.uint32(3)), ("eof",), ("close",)])
        self.assertEqual(self.observer.ends, [ExitStatus(code=3)])
        self.assertEqual(sorted(self.observer.output_text.split()), [b"err", b"out"])

    async def test_observer_that_fails(self) -> None:
        """An observer's mistake does not keep the client waiting for the end."""
        self.patch(self.observer, "ended", self.fail_to_observe)
        await self.run_command("exit 3")
        await self.until_closed()
        self.assertEqual(self.status()[0], ("request", b"exit-status", wire.uint32(3)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def fail_to_observe(self, status: ExitStatus | None) -> None:
        raise ZeroDivisionError("ours")

    async def test_signal(self) -> None:
        """A process that was killed says by which signal."""
        await self.run_command("kill -TERM $$")
        await self.until_closed()
        signal = wire.text("TERM") + b"\0" + wire.text("") + wire.text("")
        self.assertEqual(self.status(), [("request", b"exit-signal", signal), ("eof",), ("close",)])

    async def test_a_client_that_does_not_read(self) -> None:
        """It holds the process, and what is kept for it is bounded; when it reads, all of 8,000,000 bytes come."""
        await self.run_command("head -c 8000000 /dev/zero; echo done >&2", window=0)
        await self.until(lambda: self.channel._queued_bytes >= HIGH_WATER_BYTES)
        held = self.channel._queued_bytes
        await self.turns()
        self.assertEqual(self.channel._queued_bytes, held)
        self.assertLess(held, 2 * HIGH_WATER_BYTES)
        self.assertFalse(self.reaped())
        self.channel.allow(1 << 30)
        await self.until_closed()
        self.assertEqual(self.link.data_of(0), bytes(8_000_000))
        self.assertEqual(self.link.data_of(1), b"done\n")

    async def test_output_that_nobody_wants(self) -> None:
        """A client that has closed its output ends a process that goes on writing."""
        await self.run_command("yes")
        await self.until(lambda: bool(self.link.data_of(0)))
        self.assertTrue(await self.channel.request_received(b"eow@openssh.com", b""))
        await self.until_closed()
        self.assertEqual(len(self.observer.ends), 1)


class InputTests(ProcessSessionCase):
    async def test_input_and_its_end(self) -> None:
        """Input reaches the process, is credited, and ends."""
        await self.run_command("cat; echo over")
        self.type_in(b"line\n")
        await self.until(lambda: self.link.data_of(0) == b"line\n")
        self.channel.eof_received()
        await self.until_closed()
        self.assertEqual(self.link.data_of(0), b"line\nover\n")
        self.assertEqual(self.observer.input_text, b"line\n")

    async def test_a_process_that_does_not_read(self) -> None:
        """It holds the client: credit is given for what fits pipe and buffer, and for the rest when it reads."""
        gate = os.path.abspath(self.mktemp())
        os.mkfifo(gate)
        await self.run_command(f"cat {gate}; wc -c")
        total = 0
        while self.channel.receive_window.left:
            piece = bytes(min(32 << 10, self.channel.receive_window.left))
            self.type_in(piece)
            total += len(piece)
        self.assertLess(total, 8 << 20)
        await self.turns()
        self.assertLess(self.channel.receive_window.left, self.channel.receive_window.size // 4)
        with open(gate, "wb"):
            self.channel.eof_received()
        await self.until_closed()
        self.assertEqual(self.link.data_of(0).strip(), str(total).encode())

    async def test_behind_the_end(self) -> None:
        """Input that comes when the process has ended is dropped and credited."""
        await self.run_command("exit 0")
        await self.until_closed()
        size = self.channel.receive_window.size
        self.type_in(bytes(size // 2))
        self.assertEqual(self.channel.receive_window.left, size)


class ControlTests(ProcessSessionCase):
    async def test_terminal(self) -> None:
        """A terminal has the size that was asked for, and another one later."""
        await self.run_command("stty size; read line; stty size", terminal=True)
        await self.until(lambda: b"24 80" in self.link.data_of(0))
        sizes = b"".join(map(wire.uint32, (132, 50, 0, 0)))
        self.assertTrue(await self.channel.request_received(b"window-change", sizes))
        self.type_in(b"\r")
        await self.until_closed()
        self.assertIn(b"50 132", self.link.data_of(0))
        self.assertEqual(self.observer.sizes, [(132, 50)])

    async def test_absurd_sizes(self) -> None:
        """No size that a client can say does any harm."""
        await self.run_command("cat", terminal=True)
        for size in (0, 0xFFFFFFFF):
            sizes = wire.uint32(size) * 4
            self.assertTrue(await self.channel.request_received(b"window-change", sizes))
        self.assertEqual(self.observer.ends, [])

    async def test_signals(self) -> None:
        """A signal reaches the process; one that SSH does not know is ignored, as nobody waits for an answer."""
        await self.run_command("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done")
        await self.until(lambda: self.link.data_of(0) == b"ready\n")
        self.assertTrue(await self.channel.request_received(b"signal", wire.text("NOSUCH")))
        self.assertTrue(await self.channel.request_received(b"signal", wire.text("USR1")))
        await self.until_closed()
        self.assertEqual(self.link.data_of(0), b"ready\ncaught\n")

    async def test_break(self) -> None:
        """A break is for a terminal (RFC 4335)."""
        await self.run_command(
            "trap 'echo broken; exit' INT; stty brkint; echo ready; while :; do sleep 0.01; done", terminal=True
        )
        await self.until(lambda: b"ready" in self.link.data_of(0))
        self.assertTrue(await self.channel.request_received(b"break", wire.uint32(500)))
        self.assertEqual(self.observer.requests, ["BREAK"])

    async def test_break_without_a_terminal(self) -> None:
        await self.run_command("cat")
        self.assertFalse(await self.channel.request_received(b"break", wire.uint32(500)))


class ObserverTests(ProcessSessionCase):
    """What observers can do beside watching."""

    async def test_refused_start(self) -> None:
        """An observer that refuses the start is heard before anything is started."""
        self.observer.refusal = AccessDenied("This session cannot be recorded.")
        self.channel.connect(7, 1 << 20, 1 << 15)
        self.assertTrue(await self.channel.request_received(b"exec", wire.text("touch /nowhere/at/all")))
        self.channel.request_answered(b"exec")
        self.assertIsNone(self.starter.process)
        self.assertEqual(self.link.data_of(1), b"This session cannot be recorded.\r\n")

    async def test_nobody_waits(self) -> None:
        """What an observer is shown is on its way already, so that nobody waits while it looks."""
        sent: list[bytes] = []
        self.patch(self.observer, "output", lambda _: sent.append(self.link.data_of(0)))
        await self.run_command("echo one")
        await self.until_closed()
        self.assertEqual(sent, [b"one\n"])

    async def test_held_output(self) -> None:
        """An observer may hold the output: nothing is lost, and nothing arrives meanwhile."""
        await self.run_command("echo one; read line; echo two")
        await self.until(lambda: self.link.data_of(0) == b"one\n")
        self.starter.session.hold(self.observer)
        self.starter.session.hold(self.observer)
        self.type_in(b"\n")
        await self.turns()
        self.assertEqual(self.observer.output_text, b"one\n")
        self.starter.session.release("somebody else")
        self.starter.session.release(self.observer)
        await self.until_closed()
        self.assertEqual(self.observer.output_text, b"one\ntwo\n")

    async def test_held_from_the_start(self) -> None:
        """Also before the process runs."""
        self.observer.hold = True
        await self.run_command("echo one")
        await self.turns()
        self.assertEqual(self.observer.output_text, b"")
        self.starter.session.release(self.observer)
        await self.until_closed()
        self.assertEqual(self.observer.output_text, b"one\n")


class PartyTests(ProcessSessionCase):
    """Several parties in one session."""

    async def second(self, window: int = 1 << 20) -> tuple[SessionChannel, RecordingLink, Party]:
        """Another channel in the same session."""
        link, channel = RecordingLink(), SessionChannel(self.starter)
        channel.bind(link, 1)
        channel.connect(8, window, 1 << 15)
        party = self.starter.session.join(channel)
        channel._session = party
        return channel, link, party

    async def test_all_see_and_type(self) -> None:
        """Who joins sees what comes from then on, may type, and hears the end."""
        await self.run_command("echo begin; read a; echo $a; read b; echo $b; exit 4")
        await self.until(lambda: self.link.data_of(0) == b"begin\n")
        self.link.take()
        other, link, _ = await self.second()
        self.type_in(b"first\n")
        await self.until(lambda: link.data_of(0) == b"first\n")
        other.receive_window.charge(7)
        other.data_received(b"second\n")
        await self.until_closed()
        self.assertEqual((self.link.data_of(0), link.data_of(0)), (b"first\nsecond\n",) * 2)
        status = ("request", b"exit-status", wire.uint32(4))
        self.assertIn(status, self.link.said)
        self.assertIn(status, link.said)

    async def test_one_leaves(self) -> None:
        """The session goes on while somebody is there, also when the first party leaves."""
        await self.run_command("cat")
        other, link, _ = await self.second()
        self.channel.close_received()
        self.assertEqual(self.observer.ends, [])
        other.receive_window.charge(3)
        other.data_received(b"on\n")
        await self.until(lambda: link.data_of(0) == b"on\n")
        other.lost()
        self.assertEqual(self.observer.ends, [None])

    async def test_end_of_input(self) -> None:
        """The input ends when the last party has ended it."""
        await self.run_command("cat; echo over")
        other, link, _ = await self.second()
        self.channel.eof_received()
        other.receive_window.charge(3)
        other.data_received(b"on\n")
        await self.until(lambda: link.data_of(0) == b"on\n")
        other.eof_received()
        await self.until_closed()
        self.assertEqual(link.data_of(0), b"on\nover\n")

    async def test_slow_party(self) -> None:
        """A party that does not read holds the process, and holds it no longer when it leaves."""
        await self.run_command("head -c 4000000 /dev/zero")
        other, _, _ = await self.second(window=0)
        await self.until(lambda: bool(self.starter.session._holders))
        other.lost()
        await self.until_closed()
        self.assertEqual(len(self.link.data_of(0)), 4_000_000)


class GoneTests(ProcessSessionCase):
    async def test_client_goes(self) -> None:
        """With its client goes the process; observers hear of it once, and at once."""
        await self.run_command("cat")
        self.channel.close_received()
        self.assertEqual(self.observer.ends, [None])
        await self.until(self.reaped)
        await self.turns()
        self.assertEqual(self.observer.ends, [None])

    async def test_client_goes_with_output_waiting(self) -> None:
        """Also where the process was held because the client did not read."""
        await self.run_command("yes", window=0)
        await self.until(lambda: self.channel._queued_bytes >= HIGH_WATER_BYTES)
        self.channel.lost()
        await self.until(self.reaped)
        self.assertEqual(self.channel._queued_bytes, 0)

    async def test_nothing_is_left_open(self) -> None:
        """Sessions that have ended, in whichever way, leave no descriptor."""
        await self.turns()
        before = set(os.listdir("/proc/self/fd"))
        for terminal in (False, True):
            await self.run_command("cat", terminal=terminal)
            self.channel.lost()
            await self.until(self.reaped)
            self.setUp()
            await self.run_command("echo bye", terminal=terminal)
            await self.until_closed()
            await self.until(self.reaped)
            self.setUp()
        await self.until(lambda: set(os.listdir("/proc/self/fd")) == before)
        self.starter.process = None

    async def end(self) -> None:
        if self.starter.process is not None:
            await super().end()


class ClosedTests(ProcessSessionCase):
    """A session that is ended from here."""

    async def test_closed(self) -> None:
        """Its client reads why, behind what was shown, and the program loses its terminal."""
        await self.run_command("echo one; trap 'exit 3' HUP; while :; do sleep 0.1; done", terminal=True)
        await self.until(lambda: self.link.data_of(0) == b"one\r\n")
        self.starter.session.close("The session ends.")
        self.starter.session.close("It ends once.")
        await self.until_closed()
        self.assertEqual((self.link.data_of(0), self.link.data_of(1)), (b"one\r\n", b"\r\nThe session ends.\r\n"))
        self.assertEqual(self.observer.ends, [None])

    async def test_reads_no_more(self) -> None:
        """A client that does not read holds up nothing but its own channel."""
        await self.run_command("yes", window=HIGH_WATER_BYTES, terminal=True)
        await self.until(lambda: len(self.observer.output_text) > HIGH_WATER_BYTES)
        self.starter.session.close("The session ends.")
        self.assertEqual(self.observer.ends, [None])

    async def test_before_it_runs(self) -> None:
        """A process that starts after all is hung up on."""
        session = ProcessSession((self.observer,))
        session.close("Never mind.")
        account = own_account()
        process = Process.start(reactor, reactor, account, ["/bin/sleep", "60"], {}, False, None, session)
        session.attach(process)
        await self.until(lambda: not os.path.exists(f"/proc/{process.pid}"))
        self.assertEqual(self.observer.ends, [None])
