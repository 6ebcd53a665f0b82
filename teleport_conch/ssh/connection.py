"""The connection service (RFC 4254): flow control, asynchronous opens and requests, ordered replies, limits.

Who may open what is decided by a :class:`~teleport_conch.ssh.channel.ChannelOwner`, which may answer later. Messages
for channels that are gone are tolerated, as both sides may close at once; messages for channels that never were end
the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from twisted.conch.ssh import connection as conch
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import DISCONNECT_PROTOCOL_ERROR
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.channel import (
    MAX_PACKET_BYTES,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    Channel,
    ChannelOwner,
    ChannelRefused,
)
from teleport_conch.ssh.requests import ProtocolViolation, RequestQueue
from teleport_conch.ssh.window import WindowOverrun
from teleport_conch.wire import Reader, WireError

MAX_CHANNELS = 256
MAX_REQUEST_BYTES = 256 << 10
MAX_UNREAD_ANSWERS = 1024
"""How much a peer may ask for while our answers wait in the transport's buffer."""

_UNANSWERED = frozenset(
    (conch.MSG_CHANNEL_DATA, conch.MSG_CHANNEL_EXTENDED_DATA, conch.MSG_CHANNEL_WINDOW_ADJUST, conch.MSG_CHANNEL_EOF)
)


class PacketTransport(Protocol):
    """What the connection needs of Conch's transport."""

    @property
    def transport(self) -> TCPLike:
        """The byte stream."""

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Sends one message."""

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Ends the connection with a reason."""


class TCPLike(Protocol):
    """The byte stream under the transport."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See ``ITransport`` and ``IConsumer``."""

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""


@implementer(IPushProducer)
class Connection(SSHService):
    """One authenticated connection.

    :param owner: decides about channels and global requests.
    """

    name = b"ssh-connection"
    transport: PacketTransport  # type: ignore[assignment]  # the part of Conch's transport that is used here

    def __init__(self, owner: ChannelOwner) -> None:
        self.owner = owner
        self._full = False
        self._held = False
        self._unread_answers = 0
        self._open: dict[int, Channel] = {}
        self._requests: dict[int, RequestQueue] = {}
        self._global_requests = RequestQueue(self._request_failed)
        self._opening: set[Deferred[None]] = set()
        self._next_id = 0

    # The service's life.

    def serviceStarted(self) -> None:
        """Couples the channels to the transport: while its buffer is full, nothing more is sent."""
        self.transport.transport.registerProducer(self, True)

    def serviceStopped(self) -> None:
        """The connection is gone; so is every channel."""
        self._global_requests.stop()
        for opening in list(self._opening):
            opening.cancel()
        for channel in list(self._open.values()):
            self.forget(channel)
            try:
                channel.lost()
            except Exception:  # noqa: BLE001  # one channel's failure must not keep the others from their end
                self._log.failure("a channel did not end as it should")
        self.owner.connection_ended()

    @property
    def congested(self) -> bool:
        """Whether data has to wait: for the transport's buffer, or for new keys."""
        return self._full or self._held

    def hold(self) -> None:
        """Data waits from now on: no message of ours may be sent before a key exchange is over."""
        self._held = True

    def release(self) -> None:
        """The key exchange is over."""
        self._held = False
        self._go_on()

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        self._go_on()

    def stopProducing(self) -> None:
        self._full = True

    def _go_on(self) -> None:
        """Flushes the channels in turn: who has been served now comes last when the transport has room again."""
        self._unread_answers = 0
        for number, channel in list(self._open.items()):
            if self.congested:
                return
            if number in self._open:
                self._open[number] = self._open.pop(number)
                channel.flush()

    # Messages. Every malformed one ends in one disconnect, at packetReceived.

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Dispatches one message; whatever is wrong with it is said to the peer in one disconnect."""
        try:
            handler = self._handlers.get(messageNum)
            if self.congested and messageNum not in _UNANSWERED:
                self._count_answer()
            if handler is None:
                super().packetReceived(messageNum, packet)
            else:
                handler(self, Reader(packet))
        except (WireError, WindowOverrun, ProtocolViolation) as violation:
            self._log.info("message {number} broke the protocol: {why}", number=messageNum, why=str(violation))
            self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, str(violation).encode())

    def _count_answer(self) -> None:
        self._unread_answers += 1
        if self._unread_answers > MAX_UNREAD_ANSWERS:
            raise ProtocolViolation(f"{MAX_UNREAD_ANSWERS} answers wait to be read")

    def _channel(self, reader: Reader, confirmed: bool = True) -> Channel | None:
        """The channel that a message is for; None where it has been closed already."""
        local_id = reader.uint32()
        channel = self._open.get(local_id)
        if channel is None and local_id >= self._next_id:
            raise ProtocolViolation(f"there never was a channel {local_id}")
        if channel is not None and confirmed and channel.remote_id < 0:
            raise ProtocolViolation(f"channel {local_id} is not open yet")
        return channel

    def _data(self, reader: Reader) -> None:
        channel, data = self._channel(reader), reader.string()
        reader.end()
        if channel is not None:
            channel.receive_window.charge(len(data))
            channel.data_received(data)

    def _extended_data(self, reader: Reader) -> None:
        channel, kind, data = self._channel(reader), reader.uint32(), reader.string()
        reader.end()
        if channel is not None:
            channel.receive_window.charge(len(data))
            channel.extended_received(kind, data)

    def _window_adjust(self, reader: Reader) -> None:
        channel, count = self._channel(reader), reader.uint32()
        reader.end()
        if channel is not None:
            channel.allow(count)

    def _eof(self, reader: Reader) -> None:
        channel = self._channel(reader)
        reader.end()
        if channel is not None:
            channel.eof_received()

    def _close(self, reader: Reader) -> None:
        channel = self._channel(reader)
        reader.end()
        if channel is not None:
            channel.close_received()

    def _request(self, reader: Reader) -> None:
        channel, name, want_reply = self._channel(reader), reader.string(), reader.boolean()
        payload = reader.rest()
        if channel is None:
            return
        if len(payload) > MAX_REQUEST_BYTES:
            raise ProtocolViolation(f"a request of {len(payload)} bytes, where {MAX_REQUEST_BYTES} is the limit")
        queue = self._requests.setdefault(channel.local_id, RequestQueue(self._request_failed))
        queue.put(lambda: self._answer(channel, name, want_reply, payload), len(payload))

    async def _answer(self, channel: Channel, name: bytes, want_reply: bool, payload: bytes) -> None:
        try:
            granted = await channel.request_received(name, payload)
        except WireError as violation:
            self._log.info("request {name} is malformed: {why}", name=name, why=str(violation))
            granted = False
        if self._open.get(channel.local_id) is not channel:
            return
        if want_reply:
            reply = conch.MSG_CHANNEL_SUCCESS if granted else conch.MSG_CHANNEL_FAILURE
            self.transport.sendPacket(reply, wire.uint32(channel.remote_id))
        channel.request_answered(name)

    def _global_request(self, reader: Reader) -> None:
        name, want_reply, payload = reader.string(), reader.boolean(), reader.rest()
        self._global_requests.put(lambda: self._answer_global(name, want_reply, payload), len(payload))

    async def _answer_global(self, name: bytes, want_reply: bool, payload: bytes) -> None:
        reply, data = conch.MSG_REQUEST_SUCCESS, b""
        try:
            data = await self.owner.global_request(name, payload)
        except (TeleportError, WireError):
            reply = conch.MSG_REQUEST_FAILURE
        if want_reply:
            self.transport.sendPacket(reply, data)

    def _request_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("a request failed", failure=failure)
            self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"a request failed")

    # Opening channels, from either side.

    def _open_requested(self, reader: Reader) -> None:
        kind, remote_id, window, max_packet = reader.string(), reader.uint32(), reader.uint32(), reader.uint32()
        opening = Deferred.fromCoroutine(self._admit(kind, remote_id, window, max_packet, reader.rest()))
        if not opening.called:
            self._opening.add(opening)
        opening.addBoth(self._opening_ended, opening)
        opening.addErrback(self._request_failed)

    def _opening_ended(self, result: Failure | None, opening: Deferred[None]) -> Failure | None:
        self._opening.discard(opening)
        return result

    async def _admit(self, kind: bytes, remote_id: int, window: int, max_packet: int, payload: bytes) -> None:
        try:
            channel = await self._ask_owner(kind, max_packet, payload)
        except ChannelRefused as refusal:
            self._refuse(remote_id, refusal.reason, refusal.sentence)
        except (TeleportError, WireError) as refusal:
            self._refuse(remote_id, OPEN_CONNECT_FAILED, str(refusal))
        else:
            self._bind(channel)
            channel.connect(remote_id, window, max_packet)
            sizes = (remote_id, channel.local_id, channel.receive_window.size, MAX_PACKET_BYTES)
            self.transport.sendPacket(conch.MSG_CHANNEL_OPEN_CONFIRMATION, b"".join(map(wire.uint32, sizes)))
            channel.opened()
            channel.flush()

    async def _ask_owner(self, kind: bytes, max_packet: int, payload: bytes) -> Channel:
        if max_packet == 0:
            raise ChannelRefused(OPEN_CONNECT_FAILED, "A channel whose packets may hold nothing is of no use.")
        self._check_room()
        return await self.owner.open_channel(kind, payload)

    def _check_room(self) -> None:
        if len(self._open) + len(self._opening) >= MAX_CHANNELS:
            raise ChannelRefused(
                OPEN_RESOURCE_SHORTAGE, f"One connection may have {MAX_CHANNELS} channels open at a time."
            )

    def _refuse(self, remote_id: int, reason: int, sentence: str) -> None:
        self.transport.sendPacket(
            conch.MSG_CHANNEL_OPEN_FAILURE,
            wire.uint32(remote_id) + wire.uint32(reason) + wire.text(sentence) + wire.text(""),
        )

    def _bind(self, channel: Channel) -> None:
        channel.bind(self, self._next_id)
        self._open[self._next_id] = channel
        self._next_id += 1

    def open(self, kind: bytes, channel: Channel, payload: bytes = b"") -> None:
        """Asks the peer to open a channel of ``kind``; ``opened`` or ``closed`` of ``channel`` says how it ended.

        :raises ChannelRefused: there are too many.
        """
        self._check_room()
        self._bind(channel)
        sizes = (channel.local_id, channel.receive_window.size, MAX_PACKET_BYTES)
        self.transport.sendPacket(
            conch.MSG_CHANNEL_OPEN, wire.string(kind) + b"".join(map(wire.uint32, sizes)) + payload
        )

    def _open_confirmed(self, reader: Reader) -> None:
        channel, remote_id, window, max_packet = self._channel(reader, False), *(reader.uint32() for _ in range(3))
        if channel is None or channel.remote_id >= 0:
            raise ProtocolViolation("a channel was confirmed that nobody asked for")
        channel.connect(remote_id, window, max_packet)
        channel.opened()
        channel.flush()

    def _open_failed(self, reader: Reader) -> None:
        channel = self._channel(reader, False)
        if channel is None or channel.remote_id >= 0:
            raise ProtocolViolation("a channel was refused that nobody asked for")
        self.forget(channel)
        channel.lost()

    def _ignored(self, reader: Reader) -> None:
        """Replies to requests: we send none that want one."""

    _handlers: ClassVar[dict[int, Callable[[Connection, Reader], None]]] = {
        conch.MSG_GLOBAL_REQUEST: _global_request,
        conch.MSG_REQUEST_SUCCESS: _ignored,
        conch.MSG_REQUEST_FAILURE: _ignored,
        conch.MSG_CHANNEL_OPEN: _open_requested,
        conch.MSG_CHANNEL_OPEN_CONFIRMATION: _open_confirmed,
        conch.MSG_CHANNEL_OPEN_FAILURE: _open_failed,
        conch.MSG_CHANNEL_WINDOW_ADJUST: _window_adjust,
        conch.MSG_CHANNEL_DATA: _data,
        conch.MSG_CHANNEL_EXTENDED_DATA: _extended_data,
        conch.MSG_CHANNEL_EOF: _eof,
        conch.MSG_CHANNEL_CLOSE: _close,
        conch.MSG_CHANNEL_REQUEST: _request,
        conch.MSG_CHANNEL_SUCCESS: _ignored,
        conch.MSG_CHANNEL_FAILURE: _ignored,
    }

    # What channels call.

    def send_data(self, channel: Channel, kind: int, data: memoryview) -> None:
        """One data message; the window has been charged."""
        if kind == 0:
            head, number = wire.uint32(channel.remote_id), conch.MSG_CHANNEL_DATA
        else:
            head, number = wire.uint32(channel.remote_id) + wire.uint32(kind), conch.MSG_CHANNEL_EXTENDED_DATA
        self.transport.sendPacket(number, b"".join((head, wire.uint32(len(data)), data)))

    def send_eof(self, channel: Channel) -> None:
        self.transport.sendPacket(conch.MSG_CHANNEL_EOF, wire.uint32(channel.remote_id))

    def send_close(self, channel: Channel) -> None:
        self.transport.sendPacket(conch.MSG_CHANNEL_CLOSE, wire.uint32(channel.remote_id))

    def send_request(self, channel: Channel, name: bytes, payload: bytes) -> None:
        """A channel request that wants no reply."""
        self.transport.sendPacket(
            conch.MSG_CHANNEL_REQUEST,
            wire.uint32(channel.remote_id) + wire.string(name) + wire.boolean(False) + payload,
        )

    def grant(self, channel: Channel, count: int) -> None:
        """The peer may send ``count`` bytes more."""
        self.transport.sendPacket(conch.MSG_CHANNEL_WINDOW_ADJUST, wire.uint32(channel.remote_id) + wire.uint32(count))

    def forget(self, channel: Channel) -> None:
        """The channel is closed on both sides."""
        self._open.pop(channel.local_id, None)
        queue = self._requests.pop(channel.local_id, None)
        if queue is not None:
            queue.stop()
