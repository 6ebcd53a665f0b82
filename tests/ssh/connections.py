"""A connection with a recording transport and owner, and what tests of it do all the time."""

from __future__ import annotations

from twisted.conch.ssh import connection as conch
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.connection.service import Connection
from tests.ssh import messages
from tests.ssh.recording import RecordingChannel, RecordingOwner, RecordingTransport


class ConnectionCase(SynchronousTestCase):
    """A connection that has started, and a peer that the test plays."""

    def setUp(self) -> None:
        self.owner = RecordingOwner()
        self.connection = Connection(self.owner)
        self.transport = RecordingTransport()
        self.connection.transport = self.transport
        self.connection.serviceStarted()

    def receive(self, number: int, payload: bytes) -> None:
        self.connection.packetReceived(number, payload)

    def opened(
        self, channel: Channel | None = None, sender: int = 40, window: int = 1 << 20, max_packet: int = 1 << 15
    ) -> RecordingChannel:
        """A channel that the peer has opened; the peer calls it ``sender``."""
        channel = RecordingChannel() if channel is None else channel
        self.owner.answers[b"session"] = lambda: channel
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", sender, window, max_packet))
        size = channel.receive_window.size
        self.assertEqual(
            self.transport.take(),
            [
                (
                    conch.MSG_CHANNEL_OPEN_CONFIRMATION,
                    messages.confirmation(sender, channel.local_id, size, 32 << 10),
                )
            ],
        )
        assert isinstance(channel, RecordingChannel)
        return channel

    def assert_ended(self, sentence: str) -> None:
        """The connection was ended for a violation of the protocol, once and with this reason."""
        self.assertEqual(self.transport.disconnects, [(2, sentence.encode())])
