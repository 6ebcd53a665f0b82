"""One SSH channel (RFC 4254, section 5): windows in both directions, and EOF and CLOSE in their order.

Who writes into a channel registers as its producer, is paused while the peer does not read, and goes on when it does.
What arrives is handed to :meth:`Channel.data_received`; whoever has used it says so with :meth:`Channel.consumed`, and
only then may the peer send more. Nothing that was written is lost to an EOF or a CLOSE that was asked for behind it.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred

from teleport_conch.errors import TeleportError
from teleport_conch.ssh.connection.window import ReceiveWindow, SendWindow

WINDOW_BYTES = 2 << 20
MAX_PACKET_BYTES = 32 << 10
HIGH_WATER_BYTES = 512 << 10
LOW_WATER_BYTES = 128 << 10
PIECE_BYTES = 256
"""What one queued piece of data weighs beside its data, so that a stream of single bytes is bounded, too."""

EXTENDED_STDERR = 1

OPEN_ADMINISTRATIVELY_PROHIBITED = 1
OPEN_CONNECT_FAILED = 2
OPEN_UNKNOWN_CHANNEL_TYPE = 3
OPEN_RESOURCE_SHORTAGE = 4


class ChannelRefused(TeleportError):
    """A channel that is not opened; ``reason`` is one of RFC 4254's codes, the sentence is what the peer reads."""

    code = "CHANNEL_REFUSED"
    http_status = 403

    def __init__(self, reason: int, sentence: str) -> None:
        super().__init__(sentence, reason=reason)
        self.reason = reason


class Link(Protocol):
    """The connection as its channels see it."""

    @property
    def congested(self) -> bool:
        """Whether no data may be sent until every channel is flushed again."""

    def send_data(self, channel: Channel, kind: int, data: memoryview) -> None:
        """One data message of a kind (0 is plain data)."""

    def push(self) -> None:
        """Nothing more is sent in this turn of the reactor: what was sent leaves."""

    def send_eof(self, channel: Channel) -> None:
        """No more data follows."""

    def send_close(self, channel: Channel) -> None:
        """Nothing at all follows."""

    def send_request(self, channel: Channel, name: bytes, payload: bytes) -> None:
        """A request that wants no reply."""

    def ask(self, channel: Channel, name: bytes, payload: bytes) -> Deferred[bool]:
        """A request that wants a reply; whether it was granted."""

    def grant(self, channel: Channel, count: int) -> None:
        """The peer may send ``count`` bytes more."""

    def forget(self, channel: Channel) -> None:
        """The channel is closed on both sides."""


class Opener(Protocol):
    """The connection as its owner sees it."""

    def open(self, kind: bytes, channel: Channel, payload: bytes = b"") -> None:
        """Asks the peer to open a channel of ``kind``. Raises :class:`ChannelRefused` where there are too many."""


class ChannelOwner(Protocol):
    """What decides on one authenticated connection: which channels open, and which global requests are granted."""

    def connection_started(self, connection: Opener) -> None:
        """The login is over: channels to the peer may be opened by ``connection`` from now on."""

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        """A channel of ``kind`` for an open request with ``payload``. Raises :class:`ChannelRefused`."""

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        """The data of a successful reply. Raises :class:`TeleportError` to refuse."""

    def connection_ended(self) -> None:
        """Every channel is closed, and none will open again."""


class PushProducer(Protocol):
    """What Twisted calls a push producer, as far as a channel drives it."""

    def pauseProducing(self) -> None:
        """Write nothing until resumed."""

    def resumeProducing(self) -> None:
        """Write on."""

    def stopProducing(self) -> None:
        """Nothing that is written can arrive any more."""


class Channel:
    """The base of all channels; subclasses override the methods of the first group.

    :param window_bytes: how much the peer may send before any of it was consumed.
    """

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        self.receive_window = ReceiveWindow(window_bytes)
        self.connection: Link | None = None
        self.local_id = -1
        self.remote_id = -1
        self._send_window = SendWindow(0, MAX_PACKET_BYTES)
        self._queue: deque[tuple[int, memoryview]] = deque()
        self._queued_bytes = 0
        self._producer: PushProducer | None = None
        self._producer_paused = False
        self._eof_wanted = self._eof_sent = False
        self._close_wanted = self._close_sent = self._close_received = False

    # What subclasses override.

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at what goes to the peer, so that it is no sign that anybody is there."""
        return False

    def opened(self) -> None:
        """The channel may be written to."""

    def refused(self, refusal: ChannelRefused) -> None:
        """The peer does not open the channel; :meth:`closed` follows."""

    def data_received(self, data: bytes) -> None:
        """``data`` has arrived; :meth:`consumed` is due once it has been used."""
        self.consumed(len(data))

    def extended_received(self, kind: int, data: bytes) -> None:
        """``data`` of an extended kind (1 is stderr) has arrived; unknown kinds are consumed and dropped."""
        self.consumed(len(data))

    def eof_received(self) -> None:
        """The peer sends no more data; ours may go on."""

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        """A channel request; whether it was granted. Requests of one channel are answered in their order."""
        return False

    def request_answered(self, name: bytes) -> None:
        """The reply to a request has left, or none was wanted; what must follow it may be sent now."""

    def closed(self) -> None:
        """Both sides have closed, or the connection is gone. Called once."""

    # What subclasses and owners call.

    @property
    def writable(self) -> bool:
        """Whether what is written now can still arrive."""
        return self.connection is not None and not (self._eof_wanted or self._close_wanted or self._close_received)

    def write(self, data: bytes) -> None:
        """Queues ``data``; it leaves as window and transport allow."""
        self.write_extended(0, data)

    def write_extended(self, kind: int, data: bytes) -> None:
        """Queues ``data`` of an extended kind, in order with everything else; kind 0 is plain data."""
        if not self.writable or not data:
            return
        self._queue.append((kind, memoryview(data)))
        self._queued_bytes += len(data) + PIECE_BYTES
        self.flush()
        if self.connection is not None:
            self.connection.push()

    def send_eof(self) -> None:
        """No more data will be written; said to the peer behind what is still queued."""
        self._eof_wanted = True
        self.flush()

    def close(self) -> None:
        """Closes the channel behind what is still queued."""
        self._close_wanted = True
        self.flush()

    def consumed(self, count: int) -> None:
        """``count`` received bytes have been used; the peer may send as many again."""
        granted = self.receive_window.consume(count)
        if granted and self.connection is not None and not self._close_sent:
            self.connection.grant(self, granted)

    def send_request(self, name: bytes, payload: bytes) -> None:
        """A request that wants no reply, such as ``exit-status``; it does not wait behind queued data."""
        if self.connection is not None and not self._close_sent:
            self.connection.send_request(self, name, payload)

    def request(self, name: bytes, payload: bytes = b"") -> Deferred[bool]:
        """A request that wants a reply; whether it was granted.

        :raises ChannelRefused: the channel is closed. The Deferred fails with
            :class:`~teleport_conch.ssh.connection.requests.RequestRefused` where it closes before the reply.
        """
        if self.connection is None or self._close_sent:
            raise ChannelRefused(OPEN_CONNECT_FAILED, "The channel is closed.")
        return self.connection.ask(self, name, payload)

    def registerProducer(self, producer: PushProducer) -> None:
        """``producer`` is paused while more than the high water mark is queued."""
        if self._producer is not None:
            raise RuntimeError("a channel takes one producer")
        self._producer = producer
        self._producer_paused = False
        self._balance()

    def unregisterProducer(self) -> None:
        self._producer = None

    # What the connection calls.

    def bind(self, connection: Link, local_id: int) -> None:
        """The channel belongs to ``connection`` from now on."""
        self.connection = connection
        self.local_id = local_id

    def connect(self, remote_id: int, window: int, max_packet: int) -> None:
        """The peer knows the channel as ``remote_id`` and accepts this much."""
        self.remote_id = remote_id
        self._send_window = SendWindow(window, max_packet)

    def allow(self, count: int) -> None:
        """The peer's window grew."""
        self._send_window.allow(count)
        self.flush()

    def flush(self) -> None:
        """Sends what window and transport allow, then the EOF and CLOSE that wait behind it."""
        connection = self.connection
        if connection is None or self.remote_id < 0:
            return
        while self._queue and not connection.congested:
            kind, data = self._queue[0]
            count = self._send_window.take(len(data))
            if not count:
                break
            connection.send_data(self, kind, data[:count])
            self._queued_bytes -= count
            if count == len(data):
                self._queue.popleft()
                self._queued_bytes -= PIECE_BYTES
            else:
                self._queue[0] = (kind, data[count:])
        if not self._queue:
            self._finish(connection)
        self._balance()

    def _finish(self, connection: Link) -> None:
        if self._eof_wanted and not self._eof_sent and not self._close_sent:
            self._eof_sent = True
            connection.send_eof(self)
        if self._close_wanted:
            self._send_close(connection)

    def _send_close(self, connection: Link) -> None:
        if not self._close_sent:
            self._close_sent = True
            connection.send_close(self)
            self._settle(connection)

    def close_received(self) -> None:
        """The peer has closed: what is still queued can no longer arrive and is dropped, our CLOSE is answered."""
        if self._close_received or self.connection is None:
            return
        self._close_received = True
        self._queue.clear()
        self._queued_bytes = 0
        connection = self.connection
        self._send_close(connection)
        self._settle(connection)

    def _settle(self, connection: Link) -> None:
        if self._close_sent and self._close_received and self.connection is not None:
            connection.forget(self)
            self.lost()

    def lost(self) -> None:
        """The channel is over; tells the subclass once, and lets a waiting producer stop."""
        if self.connection is None:
            return
        self.connection = None
        self._queue.clear()
        self._queued_bytes = 0
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.closed()

    def _balance(self) -> None:
        producer = self._producer
        if producer is None:
            return
        if not self._producer_paused and self._queued_bytes >= HIGH_WATER_BYTES:
            self._producer_paused = True
            producer.pauseProducing()
        elif self._producer_paused and self._queued_bytes <= LOW_WATER_BYTES:
            self._producer_paused = False
            producer.resumeProducing()
