"""A session from the client's side: what it asks for, what it hears, and what it makes of nonsense."""

from __future__ import annotations

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.errors import ConnectionProblem, TooLarge
from teleport_conch.ssh.client.session import ERR, OUT, ClientSession, Collected, Ending, Finished
from teleport_conch.ssh.connection.channel import Channel, ChannelRefused
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest
from teleport_conch.wire import WireError
from tests.ssh.recording import RecordingLink

XTERM = TerminalRequest("xterm", 132, 43, 800, 600, b"")


@define
class Told:
    """Takes down what a session says, and uses nothing of it."""

    events: list[object] = field(factory=list)

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        self.events.append((stream, data))

    def output_ended(self, session: ClientSession) -> None:
        self.events.append("eof")

    def ended(self, session: ClientSession, ending: Ending) -> None:
        self.events.append(ending)


@define
class AnsweringLink(RecordingLink):
    """A connection whose peer answers requests when the test says so."""

    replies: list[Deferred[bool]] = field(factory=list)

    def open(self, kind: bytes, channel: Channel, payload: bytes = b"") -> None:
        self.said.append(("open", kind, payload))
        channel.bind(self, 0)

    def ask(self, channel: Channel, name: bytes, payload: bytes) -> Deferred[bool]:
        self.said.append(("ask", name, payload))
        self.replies.append(Deferred())
        return self.replies[-1]


class SessionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.told = Told()
        self.link = AnsweringLink()
        self.session = ClientSession(self.told)

    def opened(self) -> None:
        opening = Deferred.fromCoroutine(self.session.open(self.link))
        self.assertEqual(self.link.take(), [("open", b"session", b"")])
        self.session.connect(7, 1 << 20, 1 << 15)
        self.session.opened()
        self.successResultOf(opening)

    def say(self, name: bytes, payload: bytes) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.session.request_received(name, payload)))


class StartTests(SessionCase):
    def test_everything_at_once(self) -> None:
        """Variables, terminal and program are asked for in one go, without waiting in between."""
        self.opened()
        begin = SessionStart("exec", "caf\udce9", XTERM, {"LANG": "C.UTF-8"})
        starting = Deferred.fromCoroutine(self.session.start(begin))
        sizes = b"".join(map(wire.uint32, (132, 43, 800, 600)))
        self.assertEqual(
            self.link.take(),
            [
                ("request", b"env", wire.text("LANG") + wire.text("C.UTF-8")),
                ("ask", b"pty-req", wire.text("xterm") + sizes + wire.string(b"\0")),
                ("ask", b"exec", wire.string(b"caf\xe9")),
            ],
        )
        for reply in self.link.replies:
            reply.callback(True)
        self.successResultOf(starting)

    def test_kinds(self) -> None:
        """A shell has no name, a subsystem has."""
        for kind, command, said in (("shell", "", b""), ("subsystem", "sftp", wire.string(b"sftp"))):
            self.setUp()
            self.opened()
            Deferred.fromCoroutine(self.session.start(SessionStart(kind, command)))
            self.assertEqual(self.link.take(), [("ask", kind.encode(), said)])

    def test_refused(self) -> None:
        """The terminal, or the program, is refused; the other answer changes nothing."""
        for answers, sentence in (
            ((False, True), "The server gives this session no terminal."),
            ((False, False), "The server gives this session no terminal."),
            ((True, False), "The server does not start what was asked for."),
        ):
            self.setUp()
            self.opened()
            starting = Deferred.fromCoroutine(self.session.start(SessionStart("shell", "", XTERM)))
            for reply, answer in zip(self.link.replies, answers, strict=True):
                reply.callback(answer)
            self.assertEqual(str(self.failureResultOf(starting, RequestRefused).value), sentence)

    def test_not_opened(self) -> None:
        """The server opens no session, or goes before it does."""
        opening = Deferred.fromCoroutine(self.session.open(self.link))
        self.session.refused(ChannelRefused(1, "No sessions here."))
        self.session.lost()
        self.assertEqual(str(self.failureResultOf(opening, ChannelRefused).value), "No sessions here.")
        self.setUp()
        opening = Deferred.fromCoroutine(self.session.open(self.link))
        self.session.lost()
        sentence = "The connection ended before the session was open."
        self.assertEqual(str(self.failureResultOf(opening, ConnectionProblem).value), sentence)

    def test_later(self) -> None:
        """Size, signals and breaks are said while it runs."""
        self.opened()
        self.session.resize(80, 24)
        self.session.signal("INT")
        self.session.send_break(200)
        self.assertEqual(
            self.link.take(),
            [
                ("request", b"window-change", b"".join(map(wire.uint32, (80, 24, 0, 0)))),
                ("request", b"signal", wire.text("INT")),
                ("ask", b"break", wire.uint32(200)),
            ],
        )


class OutputTests(SessionCase):
    def test_streams(self) -> None:
        """Output and errors are told apart; other kinds are dropped, and cost the window nothing."""
        self.opened()
        self.session.receive_window.charge(3 << 19)
        self.session.data_received(b"out")
        self.session.extended_received(1, b"err")
        self.session.extended_received(2, bytes(1 << 19))
        self.session.eof_received()
        self.session.lost()
        self.assertEqual(self.told.events, [(OUT, b"out"), (ERR, b"err"), "eof", Ending()])
        self.assertEqual(self.link.take(), [("grant", 1 << 19)])

    def test_endings(self) -> None:
        """A status, or a signal with a message that is made fit to be shown."""
        self.opened()
        self.assertTrue(self.say(b"exit-status", wire.uint32(255)))
        signal = wire.string(b"KILL\x1b") + b"\1" + wire.string(b"out of\x07 memory") + wire.string(b"")
        self.session.lost()
        self.assertEqual(self.told.events, [Ending(255)])
        self.setUp()
        self.opened()
        self.assertTrue(self.say(b"exit-signal", signal))
        self.session.lost()
        self.assertEqual(self.told.events, [Ending(None, "KILL", "out of memory")])

    def test_other_requests(self) -> None:
        """A server asks for nothing else of a client."""
        self.opened()
        for name in (b"exec", b"shell", b"keepalive@openssh.com", b"eow@openssh.com"):
            self.assertFalse(self.say(name, b""))

    @given(st.sampled_from([b"exit-status", b"exit-signal"]), st.binary(max_size=40))
    def test_any_bytes(self, name: bytes, payload: bytes) -> None:
        """An ending is read, or refused as malformed."""
        self.setUp()
        reading = Deferred.fromCoroutine(self.session.request_received(name, payload))
        reading.addErrback(lambda failure: failure.trap(WireError))
        self.successResultOf(reading)


class CollectedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.collected = Collected(10)
        self.session = ClientSession(self.collected)
        self.session.bind(RecordingLink(), 0)
        self.session.connect(7, 1 << 20, 1 << 15)
        self.session.opened()

    def test_both_streams(self) -> None:
        """All that was said, up to the limit, and the ending."""
        self.session.data_received(b"12345")
        self.session.extended_received(1, b"67890")
        self.session.lost()
        finished = self.successResultOf(Deferred.fromCoroutine(self.collected.finished()))
        self.assertEqual(finished, Finished(b"12345", b"67890", Ending()))

    def test_too_much(self) -> None:
        """One byte more, and the session is closed."""
        self.session.data_received(b"12345")
        self.session.extended_received(1, b"678901")
        finished = Deferred.fromCoroutine(self.collected.finished())
        sentence = "The program says more than 10 bytes, which is the limit."
        self.assertEqual(str(self.failureResultOf(finished, TooLarge).value), sentence)
        link = self.session.connection
        assert isinstance(link, RecordingLink)
        self.assertEqual(link.take(), [("close",)])
        self.session.data_received(b"more")
        self.session.lost()
