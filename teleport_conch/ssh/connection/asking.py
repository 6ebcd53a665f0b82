"""The requests of one connection, global ones and those of channels, in both directions (RFC 4254, sections 4 and 5.4).

Each side's requests are answered in their order; the answers may take their time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from twisted.conch.ssh import connection as conch
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.connection.opening import Send
from teleport_conch.ssh.connection.requests import MAX_REQUEST_BYTES, Replies, RequestQueue, RequestRefused
from teleport_conch.ssh.connection.table import ChannelTable
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader, WireError

AnswerGlobal = Callable[[bytes, bytes], Coroutine[Deferred[object], object, bytes]]
"""Answers the data of a successful reply to a request with a name and a payload; raises TeleportError to refuse."""


class GlobalRequests:
    """What each side asks of the other's connection.

    :param answer: decides about the peer's requests.
    :param send: sends a message.
    :param failed: called for a failure of ours.
    """

    __slots__ = ("_answer", "_queue", "_replies", "_send")

    def __init__(self, answer: AnswerGlobal, send: Send, failed: Callable[[Failure], None]) -> None:
        self._answer = answer
        self._send = send
        self._queue = RequestQueue(failed)
        self._replies: Replies[bytes] = Replies()

    def received(self, reader: Reader) -> None:
        """GLOBAL_REQUEST."""
        name, want_reply, payload = reader.string(), reader.boolean(), reader.rest()
        self._queue.put(lambda: self._reply(name, want_reply, payload), len(name) + len(payload))

    async def _reply(self, name: bytes, want_reply: bool, payload: bytes) -> None:
        reply, data = conch.MSG_REQUEST_SUCCESS, b""
        try:
            data = await self._answer(name, payload)
        except (TeleportError, WireError):
            reply = conch.MSG_REQUEST_FAILURE
        if want_reply:
            self._send(reply, data)

    def behind(self, call: Callable[[], None], size: int) -> None:
        """Calls ``call``, which holds ``size`` bytes, when everything that was asked so far has been answered.

        That is at once, most often.
        """

        async def later() -> None:
            call()

        if self._queue.idle:
            call()
        else:
            self._queue.put(later, size)

    def tell(self, name: bytes, payload: bytes) -> None:
        """A request that wants no reply."""
        self._send(conch.MSG_GLOBAL_REQUEST, wire.string(name) + wire.boolean(False) + payload)

    def ask(self, name: bytes, payload: bytes) -> Deferred[bytes]:
        """A request that wants a reply, whose data is the answer; fails with :class:`RequestRefused`."""
        reply = self._replies.expect()
        self._send(conch.MSG_GLOBAL_REQUEST, wire.string(name) + wire.boolean(True) + payload)
        return reply

    def granted(self, reader: Reader) -> None:
        """REQUEST_SUCCESS."""
        self._replies.granted(reader.rest())

    def refused(self, reader: Reader) -> None:
        """REQUEST_FAILURE."""
        self._replies.refused(RequestRefused("The other side does not do that."))

    def stop(self) -> None:
        """The connection is gone."""
        self._queue.stop()
        self._replies.lost()


class ChannelRequests:
    """What each side asks of the other's channels.

    :param table: the channels.
    :param send: sends a message.
    :param failed: called for a failure of ours.
    """

    __slots__ = ("_failed", "_queues", "_replies", "_send", "_table")
    _log = Logger()

    def __init__(self, table: ChannelTable, send: Send, failed: Callable[[Failure], None]) -> None:
        self._table = table
        self._send = send
        self._failed = failed
        self._queues: dict[int, RequestQueue] = {}
        self._replies: dict[int, Replies[bool]] = {}

    def received(self, reader: Reader) -> None:
        """CHANNEL_REQUEST.

        :raises ProtocolViolation: it is too long, or too many wait.
        """
        channel, name, want_reply = self._table.read(reader), reader.string(), reader.boolean()
        payload = reader.rest()
        if channel is None:
            return
        if len(payload) > MAX_REQUEST_BYTES:
            raise ProtocolViolation(f"a request of {len(payload)} bytes, where {MAX_REQUEST_BYTES} is the limit")
        queue = self._queues.get(channel.local_id)
        if queue is None:
            queue = self._queues[channel.local_id] = RequestQueue(self._failed)
        queue.put(lambda: self._answer(channel, name, want_reply, payload), len(name) + len(payload))

    async def _answer(self, channel: Channel, name: bytes, want_reply: bool, payload: bytes) -> None:
        try:
            granted = await channel.request_received(name, payload)
        except WireError as violation:
            self._log.info("request {name} is malformed: {why}", name=name, why=str(violation))
            granted = False
        if channel not in self._table:
            return
        if want_reply:
            reply = conch.MSG_CHANNEL_SUCCESS if granted else conch.MSG_CHANNEL_FAILURE
            self._send(reply, wire.uint32(channel.remote_id))
        channel.request_answered(name)

    def tell(self, channel: Channel, name: bytes, payload: bytes) -> None:
        """A request that wants no reply."""
        self._say(channel, name, False, payload)

    def ask(self, channel: Channel, name: bytes, payload: bytes) -> Deferred[bool]:
        """A request that wants a reply; whether it was granted."""
        replies = self._replies.setdefault(channel.local_id, Replies())
        reply = replies.expect()
        self._say(channel, name, True, payload)
        return reply

    def _say(self, channel: Channel, name: bytes, want_reply: bool, payload: bytes) -> None:
        head = wire.uint32(channel.remote_id) + wire.string(name) + wire.boolean(want_reply)
        self._send(conch.MSG_CHANNEL_REQUEST, head + payload)

    def granted(self, reader: Reader) -> None:
        """CHANNEL_SUCCESS."""
        self._replied(reader, True)

    def refused(self, reader: Reader) -> None:
        """CHANNEL_FAILURE."""
        self._replied(reader, False)

    def _replied(self, reader: Reader, granted: bool) -> None:
        replies = self._replies.get(reader.uint32())
        if replies is not None:
            replies.granted(granted)

    def forget(self, channel: Channel) -> None:
        """The channel is closed: what it was asked is not answered, what it asked will not be."""
        queue = self._queues.pop(channel.local_id, None)
        if queue is not None:
            queue.stop()
        replies = self._replies.pop(channel.local_id, None)
        if replies is not None:
            replies.lost()
