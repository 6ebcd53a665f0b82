"""The session channel: what a client may ask for, in which order, and what it is told."""

from __future__ import annotations

import os

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh import connection as conch
from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.forwarding.x11 import X11Request
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.channel import (
    MAX_VARIABLE_BYTES,
    MAX_VARIABLES,
    SessionChannel,
    SessionStart,
    TerminalRequest,
)
from tests.ssh import messages
from tests.ssh.connections import ConnectionCase

SUCCESS = (conch.MSG_CHANNEL_SUCCESS, b"\0\0\0\x28")
FAILURE = (conch.MSG_CHANNEL_FAILURE, b"\0\0\0\x28")
EOF = (conch.MSG_CHANNEL_EOF, b"\0\0\0\x28")
CLOSE = (conch.MSG_CHANNEL_CLOSE, b"\0\0\0\x28")


def exit_status(code: int) -> tuple[int, bytes]:
    return conch.MSG_CHANNEL_REQUEST, messages.request(40, b"exit-status", False, wire.uint32(code))


@define
class SampleSession:
    """Takes down what its channel tells it."""

    told: list[object] = field(factory=list)

    def input_received(self, data: bytes) -> None:
        self.told.append(data)

    def input_ended(self) -> None:
        self.told.append("input ended")

    def resize(self, cols: int, rows: int, xpixel: int, ypixel: int) -> None:
        self.told.append((cols, rows, xpixel, ypixel))

    def output_unwanted(self) -> None:
        self.told.append("output unwanted")

    def signal(self, name: str) -> None:
        self.told.append(name)

    def send_break(self) -> bool:
        self.told.append(("break",))
        return True

    def channel_closed(self) -> None:
        self.told.append("closed")


@define(eq=False)
class SampleOwner:
    """Starts sample sessions, when and as the test says."""

    answer: SampleSession | Exception | Deferred[SampleSession] = field(factory=SampleSession)
    agent: Exception | None = None
    starts: list[SessionStart] = field(factory=list)
    closed: list[SessionChannel] = field(factory=list)

    def accepts_variable(self, name: str) -> bool:
        return name.startswith("LC_")

    async def start(self, request: SessionStart, channel: SessionChannel) -> SampleSession:
        self.starts.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return await self.answer if isinstance(self.answer, Deferred) else self.answer

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        raise AccessDenied("no windows")

    async def forward_agent(self, channel: SessionChannel) -> None:
        if self.agent is not None:
            raise self.agent

    def channel_closed(self, channel: SessionChannel) -> None:
        self.closed.append(channel)


class SessionCase(ConnectionCase):
    def setUp(self) -> None:
        super().setUp()
        self.sessions = SampleOwner()
        self.channel = SessionChannel(self.sessions)
        self.owner.answers[b"session"] = lambda: self.channel
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 40, 1 << 20, 1 << 15))
        self.transport.take()

    def ask(self, name: bytes, payload: bytes = b"", want_reply: bool = True) -> None:
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(0, name, want_reply, payload))

    def granted(self, name: bytes, payload: bytes = b"") -> bool:
        """Whether the request was granted; it was answered in any case."""
        self.ask(name, payload)
        (answer,) = self.transport.take()
        self.assertIn(answer, (SUCCESS, FAILURE))
        return answer == SUCCESS

    def env(self, name: str, value: str) -> bool:
        return self.granted(b"env", wire.text(name) + wire.text(value))

    def pty(self, term: str = "xterm-256color", cols: int = 80, rows: int = 24, modes: bytes = b"\0") -> bool:
        sizes = b"".join(map(wire.uint32, (cols, rows, 640, 480)))
        return self.granted(b"pty-req", wire.text(term) + sizes + wire.string(modes))

    @property
    def told(self) -> list[object]:
        assert isinstance(self.sessions.answer, SampleSession)
        return self.sessions.answer.told


WHOLE = {
    b"env": wire.text("LC_ALL") + wire.text("C"),
    b"pty-req": wire.text("xterm") + b"".join(map(wire.uint32, (80, 24, 0, 0))) + wire.string(b"\0"),
    b"exec": wire.text("id"),
    b"subsystem": wire.text("sftp"),
    b"shell": b"",
    b"eow@openssh.com": b"",
}
"""Requests that are granted before anything has started."""


class StartTests(SessionCase):
    def test_kinds(self) -> None:
        """A shell, a command, a subsystem: one of them for each channel."""
        for name, payload, wanted in (
            (b"shell", b"", SessionStart("shell")),
            (b"exec", wire.text("uptime; id"), SessionStart("exec", "uptime; id")),
            (b"subsystem", wire.text("sftp"), SessionStart("subsystem", "sftp")),
        ):
            self.setUp()
            self.assertTrue(self.granted(name, payload))
            self.assertEqual(self.sessions.starts, [wanted])
            for again in (b"shell", b"exec", b"subsystem"):
                self.assertFalse(self.granted(again, b"" if again == b"shell" else wire.text("x")))
            self.assertEqual(len(self.sessions.starts), 1)

    def test_commands_are_bytes(self) -> None:
        """A command line need not be text: file names are not."""
        self.assertTrue(self.granted(b"exec", wire.string(b"ls \xe9t\xe9")))
        self.assertEqual(os.fsencode(self.sessions.starts[0].command), b"ls \xe9t\xe9")

    def test_environment_and_terminal(self) -> None:
        """What came before is part of the start."""
        self.assertTrue(self.env("LC_ALL", "de_DE.UTF-8"))
        self.assertTrue(self.pty())
        self.assertTrue(self.granted(b"shell"))
        (start,) = self.sessions.starts
        self.assertEqual(start.environment, {"LC_ALL": "de_DE.UTF-8"})
        self.assertEqual(start.terminal, TerminalRequest("xterm-256color", 80, 24, 640, 480, b"\0"))

    def test_too_late(self) -> None:
        """What comes behind the start changes nothing."""
        self.assertTrue(self.granted(b"shell"))
        self.assertFalse(self.env("LC_ALL", "C"))
        self.assertFalse(self.pty())

    def test_one_terminal(self) -> None:
        """A second terminal is refused, and the first stays."""
        self.assertTrue(self.pty(cols=80))
        self.assertFalse(self.pty(cols=100))
        self.assertTrue(self.granted(b"shell"))
        terminal = self.sessions.starts[0].terminal
        assert terminal is not None
        self.assertEqual(terminal.cols, 80)

    def test_terminal_types(self) -> None:
        """TERM is what a terminal may be called, and nothing that an interpreter could mind."""
        for term in ("xterm", "screen.xterm-256color", "vt100+pp", "x" * 64, ""):
            self.setUp()
            self.assertTrue(self.pty(term), term)
        for term in ("x" * 65, "xterm;id", "../../etc", "a b", "x\n", "x\0"):
            self.setUp()
            self.assertFalse(self.pty(term), term)

    def test_no_terminal_type(self) -> None:
        """A terminal without a name is a dumb one."""
        self.pty("")
        self.granted(b"shell")
        terminal = self.sessions.starts[0].terminal
        assert terminal is not None
        self.assertEqual(terminal.term, "dumb")

    def test_variables(self) -> None:
        """The owner's allow-list decides; what cannot be a value is refused."""
        self.assertFalse(self.env("LD_PRELOAD", "/tmp/evil.so"))
        self.assertFalse(self.env("LC_ALL", "a\0b"))
        self.assertTrue(self.env("LC_ALL", ""))
        self.assertTrue(self.env("LC_ALL", "again"))
        self.granted(b"shell")
        self.assertEqual(self.sessions.starts[0].environment, {"LC_ALL": "again"})

    def test_limits_of_variables(self) -> None:
        """Their number and their size are bounded, however many are sent."""
        self.assertFalse(self.env("LC_ALL", "x" * MAX_VARIABLE_BYTES))
        self.assertEqual(sum(self.env(f"LC_{number}", "x") for number in range(10 * MAX_VARIABLES)), MAX_VARIABLES)
        self.setUp()
        taken = sum(self.env(f"LC_{number}", "x" * 10_000) for number in range(10))
        self.assertEqual(taken, MAX_VARIABLE_BYTES // 10_000)

    def test_unknown(self) -> None:
        """What is not known is refused, and looked up in nothing but a table."""
        for name in (b"x11-req", b"break", b"closed", b"request_received", b"__init__", b"\xff", b""):
            self.assertFalse(self.granted(name, b"payload"))

    def test_malformed(self) -> None:
        """A malformed request is refused; the connection goes on."""
        requests = (b"env", b"pty-req", b"window-change", b"signal", b"exec", b"subsystem", b"eow@openssh.com")
        for name in (*requests, b"shell", b"auth-agent-req@openssh.com"):
            self.assertFalse(self.granted(name, b"\0\0\0\x09short"))
        self.assertEqual((self.transport.disconnects, self.sessions.starts), ([], []))

    @given(st.sampled_from(sorted(WHOLE)), st.data())
    @settings(deadline=None)
    def test_exact(self, name: bytes, data: st.DataObject) -> None:
        """Each request is granted as a whole; cut anywhere, or with more behind it, it is refused."""
        whole = WHOLE[name]
        cut = data.draw(st.integers(0, len(whole))) if whole else 0
        longer = whole + data.draw(st.binary(min_size=1, max_size=5))
        for payload in (whole[:cut], longer):
            self.setUp()
            self.assertEqual(self.granted(name, payload), payload == whole, payload)
            self.assertEqual(self.transport.disconnects, [])

    def test_agent(self) -> None:
        """The owner says whether the agent may be used."""
        self.assertTrue(self.granted(b"auth-agent-req@openssh.com"))
        self.sessions.agent = AccessDenied("no")
        self.assertFalse(self.granted(b"auth-agent-req@openssh.com"))


class RefusedTests(SessionCase):
    def test_told(self) -> None:
        """A refusal is told as sshd tells what goes wrong: on stderr, behind a success, with 255 as the status."""
        self.sessions.answer = AccessDenied("You may not.")
        self.ask(b"shell")
        stderr = (conch.MSG_CHANNEL_EXTENDED_DATA, messages.extended(40, 1, b"You may not.\r\n"))
        self.assertEqual(self.transport.take(), [SUCCESS, stderr, exit_status(255), EOF, CLOSE])

    def test_told_without_a_reply(self) -> None:
        """Also where the client did not ask for an answer."""
        self.sessions.answer = AccessDenied("You may not.")
        self.ask(b"exec", wire.text("id"), want_reply=False)
        self.assertEqual(len(self.transport.take()), 4)

    def test_once(self) -> None:
        """What ends later does not say another status."""
        self.sessions.answer = AccessDenied("You may not.")
        self.ask(b"shell")
        self.transport.take()
        self.channel.finish(ExitStatus(code=0))
        self.assertEqual(self.transport.take(), [])

    def test_once_behind_a_closed_window(self) -> None:
        """Nor where the client has not even taken the refusal."""
        self.owner.answers[b"session"] = lambda: SessionChannel(self.sessions)
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 40, 0, 100))
        self.transport.take()
        self.sessions.answer = AccessDenied("You may not.")
        self.receive(conch.MSG_CHANNEL_REQUEST, messages.request(1, b"shell"))
        channel = self.connection._table.open[1]
        assert isinstance(channel, SessionChannel)
        channel.finish(ExitStatus(code=0))
        self.assertEqual(self.transport.take(), [SUCCESS, exit_status(255)])


class InputTests(SessionCase):
    def test_delivered(self) -> None:
        """Input and its end reach the session."""
        self.ask(b"shell")
        self.receive(conch.MSG_CHANNEL_DATA, messages.data(0, b"ls\n"))
        self.receive(conch.MSG_CHANNEL_EOF, b"\0\0\0\0")
        self.assertEqual(self.told, [b"ls\n", "input ended"])

    def test_early(self) -> None:
        """What comes while the session starts is kept for it, in order, and uses up the window meanwhile."""
        waiting: Deferred[SampleSession] = Deferred()
        self.sessions.answer = waiting
        self.ask(b"shell")
        for _ in range(100):
            self.receive(conch.MSG_CHANNEL_DATA, messages.data(0, b"ab"))
        self.receive(conch.MSG_CHANNEL_EOF, b"\0\0\0\0")
        window = self.channel.receive_window
        self.assertEqual((window.size - window.left, self.transport.take()), (200, []))
        session = SampleSession()
        waiting.callback(session)
        self.assertEqual((session.told, self.transport.take()), ([b"ab" * 100, "input ended"], [SUCCESS]))

    def test_unknown_kinds(self) -> None:
        """Extended data of a client has no meaning, and its window is opened again."""
        self.ask(b"shell")
        self.transport.take()
        size = self.channel.receive_window.size
        self.receive(conch.MSG_CHANNEL_EXTENDED_DATA, messages.extended(0, 1, bytes(size // 4)))
        self.assertEqual(self.told, [])
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_WINDOW_ADJUST, messages.adjust(40, size // 4))])


class RunningTests(SessionCase):
    def test_size_signal_and_end_of_write(self) -> None:
        """Window changes, signals and the end of write reach a session that runs."""
        self.assertTrue(self.granted(b"shell"))
        self.assertTrue(self.granted(b"window-change", b"".join(map(wire.uint32, (132, 50, 1, 2)))))
        self.assertTrue(self.granted(b"signal", wire.text("INT")))
        self.assertTrue(self.granted(b"eow@openssh.com"))
        self.assertEqual(self.told, [(132, 50, 1, 2), "INT", "output unwanted"])

    def test_not_yet(self) -> None:
        """Before there is a session, there is nothing to resize or to signal."""
        self.assertFalse(self.granted(b"window-change", b"".join(map(wire.uint32, (132, 50, 1, 2)))))
        self.assertFalse(self.granted(b"signal", wire.text("INT")))


class EndTests(SessionCase):
    def test_statuses(self) -> None:
        """How it ended is said before EOF and CLOSE."""
        signal = wire.text("KILL") + b"\1" + wire.text("") + wire.text("")
        for status, said in (
            (ExitStatus(code=3), [exit_status(3)]),
            (
                ExitStatus(code=None, signal="KILL", core_dumped=True),
                [(conch.MSG_CHANNEL_REQUEST, messages.request(40, b"exit-signal", False, signal))],
            ),
            (None, []),
        ):
            self.setUp()
            self.ask(b"shell")
            self.transport.take()
            self.channel.write(b"output")
            self.channel.finish(status)
            output = (conch.MSG_CHANNEL_DATA, messages.data(40, b"output"))
            self.assertEqual(self.transport.take(), [output, *said, EOF, CLOSE])

    def test_client_closes(self) -> None:
        """Session and owner hear of the end, once."""
        self.ask(b"shell")
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.connection.serviceStopped()
        self.assertEqual((self.told, self.sessions.closed), (["closed"], [self.channel]))

    def test_client_closes_before_it_starts(self) -> None:
        """A start in progress is given up; the owner hears of it, and nothing is logged."""
        cancelled: list[object] = []
        waiting: Deferred[SampleSession] = Deferred(cancelled.append)
        self.sessions.answer = waiting
        self.ask(b"shell")
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.assertEqual((cancelled, self.sessions.closed), ([waiting], [self.channel]))
        self.assertEqual(self.transport.take(), [CLOSE])

    def test_never_started(self) -> None:
        """The owner hears of a channel in which nothing ever ran."""
        self.connection.serviceStopped()
        self.assertEqual(self.sessions.closed, [self.channel])
