"""Opening the channels of one connection, on the peer's wish and on ours (RFC 4254, section 5.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.conch.ssh import connection as conch
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.connection.channel import (
    MAX_PACKET_BYTES,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    Channel,
    ChannelOwner,
    ChannelRefused,
    Link,
)
from teleport_conch.ssh.connection.table import ChannelTable
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader, WireError

SESSION = b"session"
MAX_CHANNELS = 256
"""Of all kinds together, on one connection; how many of them may be sessions is the owner's to say."""

Send = Callable[[int, bytes], None]


class Opening:
    """The opens of one connection.

    :param table: gets the channels that were opened, and those that we ask for.
    :param link: what the channels belong to.
    :param owner: decides on what the peer asks for.
    :param send: sends a message.
    :param behind: calls something that holds so many bytes when all global requests so far have been answered.
    :param failed: called for a failure of ours.
    """

    __slots__ = ("_behind", "_failed", "_link", "_no_more_sessions", "_owner", "_pending", "_send", "_table")

    def __init__(
        self,
        table: ChannelTable,
        link: Link,
        owner: ChannelOwner,
        send: Send,
        behind: Callable[[Callable[[], None], int], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._table = table
        self._link = link
        self._owner = owner
        self._send = send
        self._behind = behind
        self._failed = failed
        self._pending: list[Deferred[None]] = []
        self._no_more_sessions = False

    def end_sessions(self) -> None:
        """The peer opens no further session (``no-more-sessions@openssh.com``, PROTOCOL, section 2.2)."""
        self._no_more_sessions = True

    def stop(self) -> None:
        """Cancels what is being opened."""
        for opening in list(self._pending):
            opening.cancel()

    # The peer's wishes.

    def requested(self, reader: Reader) -> None:
        """CHANNEL_OPEN.

        A session waits for the answers to what was asked before it. A client that asks for a port and then for a
        session expects to hear of the port first, as from ``sshd``, and may leave where it does not get it.
        """
        kind, remote_id, window, max_packet = reader.string(), reader.uint32(), reader.uint32(), reader.uint32()
        payload = reader.rest()
        begin = partial(self._begin, kind, remote_id, window, max_packet, payload)
        if kind == SESSION:
            self._behind(begin, len(payload))
        else:
            begin()

    def _begin(self, kind: bytes, remote_id: int, window: int, max_packet: int, payload: bytes) -> None:
        """Raises :class:`ProtocolViolation` for a session behind the promise that there would be no more."""
        if kind == SESSION and self._no_more_sessions:
            raise ProtocolViolation("a session was asked for behind no-more-sessions")
        opening = Deferred.fromCoroutine(self._admit(kind, remote_id, window, max_packet, payload))
        if not opening.called:
            self._pending.append(opening)
        opening.addBoth(self._ended, opening)
        opening.addErrback(self._failed)

    def _ended(self, result: Failure | None, opening: Deferred[None]) -> Failure | None:
        if opening in self._pending:
            self._pending.remove(opening)
        return result

    async def _admit(self, kind: bytes, remote_id: int, window: int, max_packet: int, payload: bytes) -> None:
        try:
            channel = await self._ask_owner(kind, max_packet, payload)
        except ChannelRefused as refusal:
            self._refuse(remote_id, refusal.reason, refusal.sentence)
        except (TeleportError, WireError) as refusal:
            self._refuse(remote_id, OPEN_CONNECT_FAILED, str(refusal))
        else:
            self._table.bind(channel, self._link)
            channel.connect(remote_id, window, max_packet)
            sizes = (remote_id, channel.local_id, channel.receive_window.size, MAX_PACKET_BYTES)
            self._send(conch.MSG_CHANNEL_OPEN_CONFIRMATION, b"".join(map(wire.uint32, sizes)))
            channel.opened()
            channel.flush()

    async def _ask_owner(self, kind: bytes, max_packet: int, payload: bytes) -> Channel:
        if max_packet == 0:
            raise ChannelRefused(OPEN_CONNECT_FAILED, "A channel whose packets may hold nothing is of no use.")
        self._check_room()
        return await self._owner.open_channel(kind, payload)

    def _check_room(self) -> None:
        if len(self._table) + len(self._pending) >= MAX_CHANNELS:
            raise ChannelRefused(
                OPEN_RESOURCE_SHORTAGE, f"One connection may have {MAX_CHANNELS} channels open at a time."
            )

    def _refuse(self, remote_id: int, reason: int, sentence: str) -> None:
        self._send(
            conch.MSG_CHANNEL_OPEN_FAILURE,
            wire.uint32(remote_id) + wire.uint32(reason) + wire.text(sentence) + wire.text(""),
        )

    # Ours.

    def open(self, kind: bytes, channel: Channel, payload: bytes) -> None:
        """Asks the peer to open a channel of ``kind``; ``opened`` or ``closed`` of ``channel`` says how it ended.

        :raises ChannelRefused: there are too many.
        """
        self._check_room()
        self._table.bind(channel, self._link)
        sizes = (channel.local_id, channel.receive_window.size, MAX_PACKET_BYTES)
        self._send(conch.MSG_CHANNEL_OPEN, wire.string(kind) + b"".join(map(wire.uint32, sizes)) + payload)

    def confirmed(self, reader: Reader) -> None:
        """CHANNEL_OPEN_CONFIRMATION."""
        channel, remote_id, window, max_packet = self._asked_for(reader, "confirmed"), *_three(reader)
        channel.connect(remote_id, window, max_packet)
        channel.opened()
        channel.flush()

    def refused(self, reader: Reader) -> None:
        """CHANNEL_OPEN_FAILURE; the channel hears the reason, where the peer gives one."""
        channel = self._asked_for(reader, "refused")
        self._table.remove(channel)
        channel.refused(_refusal(reader))
        channel.lost()

    def _asked_for(self, reader: Reader, what: str) -> Channel:
        channel = self._table.read(reader, confirmed=False)
        if channel is None or channel.remote_id >= 0:
            raise ProtocolViolation(f"a channel was {what} that nobody asked for")
        return channel


def _three(reader: Reader) -> tuple[int, int, int]:
    return reader.uint32(), reader.uint32(), reader.uint32()


def _refusal(reader: Reader) -> ChannelRefused:
    """What the peer says; it is bounded, and shown with nothing in it that could move a cursor."""
    try:
        reason, sentence = reader.uint32(), reader.string()[:1024].decode("utf-8", "replace")
    except WireError:
        reason, sentence = OPEN_CONNECT_FAILED, ""
    readable = "".join(letter for letter in sentence if letter.isprintable())
    return ChannelRefused(reason, readable or "The other side does not open the channel.")
