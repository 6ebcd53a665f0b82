"""A channel and a stream that are coupled: each direction ends for itself, and the couple ends when both have."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.forwarding.splice import StreamProtocol


class HalfCloseable(StringTransport):
    """A stream that can be closed in one direction."""

    write_ended = False

    def loseWriteConnection(self) -> None:
        self.write_ended = True


class Ending(Channel):
    """A channel that remembers what was asked of it."""

    eof_sent = False

    def send_eof(self) -> None:
        self.eof_sent = True


class HalfCloseTests(SynchronousTestCase):
    """Send, shut down, then read the answer."""

    def setUp(self) -> None:
        self.channel, self.transport = Ending(), HalfCloseable()
        self.stream = StreamProtocol(Clock(), self.channel, lambda: None)
        self.stream.makeConnection(self.transport)
        self.stream.start()

    def test_channel_ends(self) -> None:
        """The stream hears of it, and can still answer."""
        self.stream.end_sending()
        self.assertEqual((self.transport.write_ended, self.transport.disconnecting), (True, False))
        self.assertFalse(self.channel.eof_sent)

    def test_stream_ends(self) -> None:
        """The channel hears of it, and can still send."""
        self.stream.readConnectionLost()
        self.assertTrue(self.channel.eof_sent)
        self.stream.send(b"more")
        self.assertEqual((self.transport.value(), self.transport.disconnecting), (b"more", False))

    def test_both_end(self) -> None:
        """In either order the connection is closed then: ``ssh -W`` waits for that."""
        self.stream.end_sending()
        self.stream.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)

    def test_both_end_the_other_way_round(self) -> None:
        self.stream.readConnectionLost()
        self.stream.end_sending()
        self.assertTrue(self.transport.disconnecting)
