"""Channels that are opened, from either side: answers that come later, refusals, and limits."""

from __future__ import annotations

from twisted.conch.ssh import connection as conch
from twisted.internet.defer import Deferred

from teleport_conch.errors import NotFound
from teleport_conch.ssh.connection.channel import OPEN_ADMINISTRATIVELY_PROHIBITED, Channel, ChannelRefused
from teleport_conch.ssh.connection.opening import MAX_CHANNELS
from teleport_conch.wire import WireError
from tests.ssh import messages
from tests.ssh.connections import ConnectionCase
from tests.ssh.recording import RecordingChannel


class OpenedByThePeerTests(ConnectionCase):
    def ask(self, kind: bytes = b"direct-tcpip", max_packet: int = 100, payload: bytes = b"") -> None:
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(kind, 40, 100, max_packet, payload))

    def assert_refused(self, reason: int, sentence: str) -> None:
        self.assertEqual(
            self.transport.take(), [(conch.MSG_CHANNEL_OPEN_FAILURE, messages.open_failure(40, reason, sentence))]
        )

    def test_asks_the_owner(self) -> None:
        """The owner sees the kind and the rest of the message, and its channel is confirmed with its own window."""
        channel = RecordingChannel(12345)
        self.owner.answers[b"direct-tcpip"] = lambda: channel
        self.ask(payload=b"where to")
        self.assertEqual(self.owner.asked, [(b"direct-tcpip", b"where to")])
        confirmed = messages.confirmation(40, 0, 12345, 32 << 10)
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_OPEN_CONFIRMATION, confirmed)])
        self.assertEqual(channel.told, ["opened"])

    def test_decided_later(self) -> None:
        """A channel is confirmed when it is there, and what was written into it before follows the confirmation."""
        answer: Deferred[Channel] = Deferred()
        self.owner.answers[b"direct-tcpip"] = lambda: answer
        self.ask()
        self.assertEqual(self.transport.take(), [])
        channel = RecordingChannel()
        answer.callback(channel)
        self.assertEqual([number for number, _ in self.transport.take()], [conch.MSG_CHANNEL_OPEN_CONFIRMATION])

    def test_written_before(self) -> None:
        """The confirmation comes first, whatever a channel has to say when it is opened."""

        class Eager(RecordingChannel):
            def opened(self) -> None:
                self.write(b"hello")

        self.owner.answers[b"direct-tcpip"] = Eager
        self.ask()
        self.assertEqual(
            [number for number, _ in self.transport.take()],
            [conch.MSG_CHANNEL_OPEN_CONFIRMATION, conch.MSG_CHANNEL_DATA],
        )

    def test_refused(self) -> None:
        """The owner's reason and its sentence reach the peer."""
        refusal = ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, "You may not.")
        self.owner.answers[b"direct-tcpip"] = lambda: refusal
        self.ask()
        self.assert_refused(1, "You may not.")

    def test_refused_otherwise(self) -> None:
        """Any other refusal, and a malformed payload, count as a failed connection."""
        self.owner.answers[b"direct-tcpip"] = lambda: NotFound("No node is called so.")
        self.ask()
        self.assert_refused(2, "No node is called so.")
        self.owner.answers[b"direct-tcpip"] = lambda: WireError("there is no port 70000")
        self.ask()
        self.assert_refused(2, "there is no port 70000")

    def test_failed(self) -> None:
        """A mistake of ours ends the connection, so that nobody waits for an answer, and is logged."""
        answer: Deferred[Channel] = Deferred()
        self.owner.answers[b"direct-tcpip"] = lambda: answer
        self.ask()
        answer.errback(ZeroDivisionError("ours"))
        self.assert_ended("a request failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_empty_packets(self) -> None:
        """A peer whose packets may hold nothing is refused before anybody is asked."""
        self.ask(max_packet=0)
        self.assert_refused(2, "A channel whose packets may hold nothing is of no use.")
        self.assertEqual(self.owner.asked, [])

    def test_lost_while_it_is_decided(self) -> None:
        """The end of the connection ends what is being opened, and nothing is said or logged."""
        cancelled: list[object] = []
        answer: Deferred[Channel] = Deferred(cancelled.append)
        self.owner.answers[b"direct-tcpip"] = lambda: answer
        self.ask()
        self.connection.serviceStopped()
        self.assertEqual((cancelled, self.transport.take(), self.transport.disconnects), ([answer], [], []))

    def test_limit(self) -> None:
        """One connection has a limited number of channels, those that are being opened included."""
        self.owner.answers[b"tun@openssh.com"] = RecordingChannel
        self.owner.answers[b"direct-tcpip"] = Deferred
        for number in range(MAX_CHANNELS):
            self.ask(b"tun@openssh.com" if number % 2 else b"direct-tcpip")
        self.transport.take()
        self.ask(b"tun@openssh.com")
        self.assert_refused(4, "One connection may have 256 channels open at a time.")
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.transport.take()
        self.ask(b"tun@openssh.com")
        self.assertEqual([number for number, _ in self.transport.take()], [conch.MSG_CHANNEL_OPEN_CONFIRMATION])

    def test_refusals_leave_nothing(self) -> None:
        """However many opens are refused, nothing is kept of them."""
        refusal = ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, "You may not.")
        self.owner.answers[b"direct-tcpip"] = lambda: refusal
        for _ in range(10 * MAX_CHANNELS):
            self.ask()
        self.transport.take()
        self.assertEqual(self.opened().local_id, 0)


class OpenedByUsTests(ConnectionCase):
    def setUp(self) -> None:
        super().setUp()
        self.channel = RecordingChannel()
        self.connection.open(b"auth-agent@openssh.com", self.channel, b"extra")

    def confirm(self, window: int = 100, max_packet: int = 100) -> None:
        self.receive(conch.MSG_CHANNEL_OPEN_CONFIRMATION, messages.confirmation(0, 70, window, max_packet))

    def test_asked(self) -> None:
        """The open request as RFC 4254, section 5.1, has it."""
        opening = messages.open_channel(b"auth-agent@openssh.com", 0, 1000, 32 << 10, b"extra")
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_OPEN, opening)])
        self.assertEqual(self.channel.told, [])

    def test_confirmed(self) -> None:
        """The channel hears of it, and what was written into it leaves."""
        self.channel.write(b"early")
        self.transport.take()
        self.confirm()
        self.assertEqual(self.channel.told, ["opened"])
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_DATA, messages.data(70, b"early"))])

    def test_why_it_was_refused(self) -> None:
        """The channel hears what the peer says, without what could move a cursor, or else that it said no."""
        for payload, sentence in (
            (messages.open_failure(0, 1, "no \x1b[2Jagent"), "no [2Jagent"),
            (b"\0\0\0\0", "The other side does not open the channel."),
        ):
            self.setUp()
            told: list[str] = []
            self.channel.refused = lambda refusal, told=told: told.append(refusal.sentence)  # type: ignore[method-assign, misc]  # a recorder
            self.receive(conch.MSG_CHANNEL_OPEN_FAILURE, payload)
            self.assertEqual((told, self.channel.told), ([sentence], ["closed"]))

    def test_refused(self) -> None:
        """A refusal is the channel's end."""
        self.transport.take()
        self.receive(conch.MSG_CHANNEL_OPEN_FAILURE, messages.open_failure(0, 1, "no agent"))
        self.assertEqual((self.channel.told, self.transport.take()), (["closed"], []))
        self.assertIs(self.channel.connection, None)

    def test_confirmed_late(self) -> None:
        """A channel that was given up meanwhile is closed when its confirmation comes, and leaves nothing behind."""
        self.channel.close()
        self.transport.take()
        self.confirm()
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\x46")])
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.assertEqual((self.channel.told, self.transport.take()), (["opened", "closed"], []))

    def test_lost(self) -> None:
        """With the connection goes a channel that was never confirmed."""
        self.connection.serviceStopped()
        self.assertEqual(self.channel.told, ["closed"])

    def test_unsolicited(self) -> None:
        """Nobody confirms or refuses what was not asked for, or twice."""
        self.confirm()
        for number in (conch.MSG_CHANNEL_OPEN_CONFIRMATION, conch.MSG_CHANNEL_OPEN_FAILURE):
            self.transport.disconnects.clear()
            self.receive(number, messages.confirmation(0, 71, 5, 5))
            said = "confirmed" if number == conch.MSG_CHANNEL_OPEN_CONFIRMATION else "refused"
            self.assert_ended(f"a channel was {said} that nobody asked for")

    def test_empty_packets(self) -> None:
        """A peer that confirms with packets of no bytes ends the connection."""
        self.confirm(max_packet=0)
        self.assert_ended("a channel whose packets may hold nothing")

    def test_limit(self) -> None:
        """A peer that answers no open of ours makes us keep a limited number of them."""
        for _ in range(MAX_CHANNELS - 1):
            self.connection.open(b"auth-agent@openssh.com", RecordingChannel())
        refusal = self.assertRaises(ChannelRefused, self.connection.open, b"auth-agent@openssh.com", RecordingChannel())
        self.assertEqual(str(refusal), "One connection may have 256 channels open at a time.")
