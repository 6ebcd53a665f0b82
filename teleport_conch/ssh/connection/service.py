"""The connection service (RFC 4254): flow control, asynchronous opens and requests, ordered replies, limits.

Who may open what is decided by a :class:`~teleport_conch.ssh.connection.channel.ChannelOwner`, which may answer later.
Messages for channels that are gone are tolerated, as both sides may close at once; messages for channels that never
were end the connection.

This module has the life of a connection, its messages, and the data in them; channels are opened in
:mod:`~teleport_conch.ssh.connection.opening`, and requests are answered and made in
:mod:`~teleport_conch.ssh.connection.asking`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import ClassVar

from twisted.conch.ssh import connection as conch
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION, DISCONNECT_PROTOCOL_ERROR
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.asking import ChannelRequests, GlobalRequests
from teleport_conch.ssh.connection.channel import Channel, ChannelOwner
from teleport_conch.ssh.connection.host_key_proof import ANNOUNCED, HostKeyProof
from teleport_conch.ssh.connection.opening import Opening
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.connection.table import ChannelTable
from teleport_conch.ssh.transport.hostkeys import PROVED
from teleport_conch.ssh.transport.packet_transport import PacketTransport
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader, WireError

MAX_UNREAD_ANSWERS = 1024
"""How much a peer may ask for while our answers wait in the transport's buffer."""

KEEPALIVE = b"keepalive@openssh.com"
NO_MORE_SESSIONS = b"no-more-sessions@openssh.com"

_UNANSWERED = frozenset(
    (
        conch.MSG_CHANNEL_DATA,
        conch.MSG_CHANNEL_EXTENDED_DATA,
        conch.MSG_CHANNEL_WINDOW_ADJUST,
        conch.MSG_CHANNEL_EOF,
        conch.MSG_REQUEST_SUCCESS,
        conch.MSG_REQUEST_FAILURE,
        conch.MSG_CHANNEL_SUCCESS,
        conch.MSG_CHANNEL_FAILURE,
    )
)
_VIOLATIONS = (WireError, ProtocolViolation)


def _nothing() -> None:
    """Nobody asked."""


_DATA = Struct(">LL")
_EXTENDED = Struct(">LLL")


@implementer(IPushProducer)
class Connection(SSHService):
    """One authenticated connection, in either role.

    :param owner: decides about channels and global requests.
    :param proof: a server's proof that it has its host keys; None for a client.
    """

    name = b"ssh-connection"
    transport: PacketTransport  # type: ignore[assignment]  # the part of Conch's transport that is used here

    def __init__(self, owner: ChannelOwner, proof: HostKeyProof | None = None) -> None:
        self.owner = owner
        self._proof = proof
        self._full = False
        self._held = False
        self._unread_answers = 0
        self.on_activity: Callable[[], None] = _nothing
        """Called when the peer opens a channel, when data comes, and when data goes where nobody has to read it."""
        self._table = ChannelTable()
        send, failed = self._send, self._failed
        self._global = GlobalRequests(self._answer_global, send, failed)
        self._opening = Opening(self._table, self, owner, send, self._global.behind, failed)
        self._requests = ChannelRequests(self._table, send, failed)

    def _send(self, number: int, payload: bytes) -> None:
        self.transport.sendPacket(number, payload)

    def _failed(self, failure: Failure) -> None:
        if failure.check(*_VIOLATIONS):
            self._violated(str(failure.value))
        elif not failure.check(CancelledError):
            self._log.failure("a request failed", failure=failure)
            self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"a request failed")

    # The service's life.

    def serviceStarted(self) -> None:
        """Couples the channels to the transport: while its buffer is full, nothing more is sent."""
        self.transport.transport.registerProducer(self, True)
        self.owner.connection_started(self)
        if self._proof is not None and self._proof.keys:
            self._global.tell(ANNOUNCED, self._proof.announcement())

    def serviceStopped(self) -> None:
        """The connection is gone; so is every channel."""
        self._global.stop()
        self._opening.stop()
        for channel in list(self._table.open.values()):
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
        for number in list(self._table.open):
            if self.congested:
                return
            channel = self._table.turn(number)
            if channel is not None:
                channel.flush()

    # Messages. Every malformed one ends in one disconnect, at packetReceived.

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Dispatches one message; whatever is wrong with it is said to the peer in one disconnect."""
        try:
            if messageNum == conch.MSG_CHANNEL_DATA:
                self._data(packet)
                self.on_activity()
                return
            if messageNum == conch.MSG_CHANNEL_OPEN:
                self.on_activity()
            handler = self._handlers.get(messageNum)
            if self.congested and messageNum not in _UNANSWERED:
                self._count_answer()
            if handler is None:
                super().packetReceived(messageNum, packet)
            else:
                handler(self, Reader(packet))
        except _VIOLATIONS as violation:
            self._violated(str(violation))

    def _violated(self, why: str) -> None:
        self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, why.encode())

    def _count_answer(self) -> None:
        self._unread_answers += 1
        if self._unread_answers > MAX_UNREAD_ANSWERS:
            raise ProtocolViolation(f"{MAX_UNREAD_ANSWERS} answers wait to be read")

    def _data(self, packet: bytes) -> None:
        """CHANNEL_DATA, the one message that is worth a way of its own: one copy, of the data."""
        size = len(packet) - _DATA.size
        local_id, length = _DATA.unpack_from(packet) if size >= 0 else (0, 0)
        if length != size:
            raise WireError("a message of data that is not as long as it says")
        channel = self._table.find(local_id)
        if channel is not None:
            channel.receive_window.charge(length)
            channel.data_received(bytes(packet[_DATA.size :]))

    def _extended_data(self, reader: Reader) -> None:
        channel, kind, data = self._table.read(reader), reader.uint32(), reader.string()
        reader.end()
        if channel is not None:
            channel.receive_window.charge(len(data))
            channel.extended_received(kind, data)

    def _window_adjust(self, reader: Reader) -> None:
        channel, count = self._table.read(reader), reader.uint32()
        reader.end()
        if channel is not None:
            channel.allow(count)

    def _eof(self, reader: Reader) -> None:
        channel = self._table.read(reader)
        reader.end()
        if channel is not None:
            channel.eof_received()

    def _close(self, reader: Reader) -> None:
        channel = self._table.read(reader)
        reader.end()
        if channel is not None:
            channel.close_received()

    _handlers: ClassVar[dict[int, Callable[[Connection, Reader], None]]] = {
        conch.MSG_GLOBAL_REQUEST: lambda self, reader: self._global.received(reader),
        conch.MSG_REQUEST_SUCCESS: lambda self, reader: self._global.granted(reader),
        conch.MSG_REQUEST_FAILURE: lambda self, reader: self._global.refused(reader),
        conch.MSG_CHANNEL_OPEN: lambda self, reader: self._opening.requested(reader),
        conch.MSG_CHANNEL_OPEN_CONFIRMATION: lambda self, reader: self._opening.confirmed(reader),
        conch.MSG_CHANNEL_OPEN_FAILURE: lambda self, reader: self._opening.refused(reader),
        conch.MSG_CHANNEL_WINDOW_ADJUST: _window_adjust,
        conch.MSG_CHANNEL_EXTENDED_DATA: _extended_data,
        conch.MSG_CHANNEL_EOF: _eof,
        conch.MSG_CHANNEL_CLOSE: _close,
        conch.MSG_CHANNEL_REQUEST: lambda self, reader: self._requests.received(reader),
        conch.MSG_CHANNEL_SUCCESS: lambda self, reader: self._requests.granted(reader),
        conch.MSG_CHANNEL_FAILURE: lambda self, reader: self._requests.refused(reader),
    }

    # Global requests.

    async def _answer_global(self, name: bytes, payload: bytes) -> bytes:
        """Answers what a connection answers for itself; the rest is the owner's."""
        if name == NO_MORE_SESSIONS:
            self._opening.end_sessions()
            return b""
        if name == PROVED:
            if self._proof is None:
                raise AccessDenied("A client has no host keys.")
            return await self._proof.prove(payload)
        return await self.owner.global_request(name, payload)

    def global_request(self, name: bytes, payload: bytes = b"") -> Deferred[bytes]:
        """Asks the peer; the data of its reply.

        :raises RequestRefused: too many requests wait. The Deferred fails with it where the peer refuses, or goes.
        """
        return self._global.ask(name, payload)

    def ask_alive(self) -> None:
        """Asks the peer whether it is still there; whatever it says, it is."""
        with suppress(RequestRefused):
            self.global_request(KEEPALIVE).addErrback(lambda _refused: None)

    # What channels call.

    def open(self, kind: bytes, channel: Channel, payload: bytes = b"") -> None:
        """Asks the peer to open a channel; ``opened`` of ``channel``, or ``refused`` and ``closed``, follow.

        :raises ChannelRefused: there are too many.
        """
        self._opening.open(kind, channel, payload)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels that are open."""
        return tuple(self._table.open.values())

    def end(self, sentence: str) -> None:
        """Says goodbye: the connection is over, and the peer reads why."""
        self.transport.sendDisconnect(DISCONNECT_BY_APPLICATION, sentence.encode())

    def send_data(self, channel: Channel, kind: int, data: memoryview) -> None:
        """One data message; the window has been charged."""
        if kind == 0:
            head, number = _DATA.pack(channel.remote_id, len(data)), conch.MSG_CHANNEL_DATA
        else:
            head, number = _EXTENDED.pack(channel.remote_id, kind, len(data)), conch.MSG_CHANNEL_EXTENDED_DATA
        self.transport.sendPacket(number, head, data)
        if not channel.is_watched:
            self.on_activity()

    def push(self) -> None:
        """See :class:`~teleport_conch.ssh.connection.channel.Link`."""
        self.transport.push()

    def send_eof(self, channel: Channel) -> None:
        self.transport.sendPacket(conch.MSG_CHANNEL_EOF, wire.uint32(channel.remote_id))

    def send_close(self, channel: Channel) -> None:
        self.transport.sendPacket(conch.MSG_CHANNEL_CLOSE, wire.uint32(channel.remote_id))

    def send_request(self, channel: Channel, name: bytes, payload: bytes) -> None:
        """A channel request that wants no reply."""
        self._requests.tell(channel, name, payload)

    def ask(self, channel: Channel, name: bytes, payload: bytes) -> Deferred[bool]:
        """A channel request that wants a reply."""
        return self._requests.ask(channel, name, payload)

    def grant(self, channel: Channel, count: int) -> None:
        """The peer may send ``count`` bytes more."""
        self.transport.sendPacket(conch.MSG_CHANNEL_WINDOW_ADJUST, _DATA.pack(channel.remote_id, count))

    def forget(self, channel: Channel) -> None:
        """The channel is closed on both sides."""
        self._table.remove(channel)
        self._requests.forget(channel)
