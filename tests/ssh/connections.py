"""A connection with a recording transport and owner, two that are joined, and what tests of them do all the time."""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen
from twisted.conch.ssh import connection as conch
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.connection.service import Connection
from tests.ssh import messages
from tests.ssh.recording import RecordingChannel, RecordingOwner, RecordingTCP, RecordingTransport


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


@define
class Pipe:
    """One direction between two connections: messages wait until the other side reads them."""

    transport: RecordingTCP = field(factory=RecordingTCP)
    waiting: deque[tuple[int, bytes]] = field(factory=deque)
    longest: int = 0

    def push(self) -> None:
        """Everything has been sent already."""

    def sendPacket(self, messageType: int, payload: bytes, *more: bytes | memoryview) -> None:
        self.waiting.append((messageType, b"".join((payload, *more))))
        if len(self.waiting) > 4:
            self._tell("pauseProducing")
        self.longest = max(self.longest, len(self.waiting))

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        raise AssertionError(desc)

    def deliver(self, connection: Connection) -> bool:
        """Hands one message over; whether there was one."""
        if not self.waiting:
            self._tell("resumeProducing")
        if self.waiting:
            connection.packetReceived(*self.waiting.popleft())
            return True
        return False

    def _tell(self, what: str) -> None:
        getattr(self.transport.producer, what)()


@frozen
class Pair:
    """Two connections, each of which is the other's peer; nothing moves before :meth:`deliver`."""

    near: Connection
    far: Connection
    there: Pipe
    back: Pipe

    def deliver(self) -> None:
        """Moves messages until both sides are quiet."""
        while any([self.there.deliver(self.far), self.back.deliver(self.near)]):
            pass


def joined(near_owner: RecordingOwner, far_owner: RecordingOwner) -> Pair:
    """Two connections that have started."""
    pair = Pair(Connection(near_owner), Connection(far_owner), Pipe(), Pipe())
    pair.near.transport, pair.far.transport = pair.there, pair.back
    pair.near.serviceStarted()
    pair.far.serviceStarted()
    return pair
