"""One watcher: JSON lines over one answer that does not end.

First the snapshot at a revision, then each change after it, and a heartbeat every ten seconds. A watcher that does not
read is not waited for: changes of servers wait as the names of the servers only, of which the newest state is sent, and
beyond a bounded number of other lines it is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.feed import SERVER_KINDS, Feed, host_of, kind_of, line_of
from teleport_conch.auth.limits import WATCH_HEARTBEAT_S, WATCH_QUEUE_LINES, WATCH_STALL_S
from teleport_conch.auth.presence import HostKey
from teleport_conch.auth.storing import encode
from teleport_conch.errors import Compacted, LimitExceeded, TeleportError
from teleport_conch.storage.backend import Change, Watch

SERVERS_IN_SNAPSHOT = 500
"""More of them follow as changes, so that no line is so long that the watcher refuses it."""


@implementer(IPushProducer)
@define(eq=False)
class WatchStream:
    """Sends one watcher what it asked for, until it is gone.

    :ivar _write: puts bytes on the wire.
    :ivar _check: raises once the watcher may not watch any more.
    """

    _clocks: Clocks
    _feed: Feed
    _kinds: Sequence[str]
    _write: Callable[[bytes], None]
    _check: Callable[[], None]
    _lines: deque[Mapping[str, object]] = field(init=False, factory=deque)
    _waiting: dict[HostKey, None] = field(init=False, factory=dict)
    _paused_at: float | None = field(init=False, default=None)
    _revision: int = field(init=False, default=0)  # up to which the watcher has everything
    _seen: int = field(init=False, default=0)  # up to which it is sent or waits
    _ended: Deferred[None] = field(init=False, factory=Deferred)

    async def run(self, after: int) -> None:
        """Send lines until the wait is cancelled, or :meth:`stopProducing` is called.

        :param after: 0 for a snapshot first; else the revision after which to go on.
        :raises LimitExceeded: the watcher was too slow.
        """
        self._revision = self._seen = after or self._feed.revision()
        try:
            changes = self._feed.changes(self._kinds, self._revision)
        except Compacted:
            self._send({"type": "compacted"})
            return
        self._feed.listen(self._touch)
        heartbeat = LoopingCall(self._beat)
        heartbeat.clock = self._clocks.timers
        try:
            await self._begin(after)
            pump = Deferred.fromCoroutine(self._pump(changes))
            heartbeat.start(WATCH_HEARTBEAT_S, now=False)
            await self._ended
        finally:
            changes.close()
            self._feed.ignore(self._touch)
            if heartbeat.running:
                heartbeat.stop()
        await pump

    async def _begin(self, after: int) -> None:
        servers = self._feed.servers(self._kinds)
        if not after:
            first, servers = servers[:SERVERS_IN_SNAPSHOT], servers[SERVERS_IN_SNAPSHOT:]
            items = await self._feed.snapshot(self._kinds)
            items += [server for key in first if (server := self._feed.server(key)) is not None]
            self._send({"type": "init", "revision": self._revision, "items": items})
        self._waiting.update(dict.fromkeys(servers))
        self._flush()

    async def _pump(self, changes: Watch) -> None:
        while True:
            try:
                self._take(await changes.next())
            except CancelledError:
                return
            except LimitExceeded as reason:
                self._end(reason)
                return
            except TeleportError as reason:  # the storage was closed: auth stops
                self._end(reason)
                return

    def _take(self, change: Change) -> None:
        self._seen = change.revision
        if kind_of(change) in SERVER_KINDS:
            self._waiting[host_of(change)] = None
        else:
            self._lines.append(line_of(change))
        self._flush()
        if len(self._lines) > WATCH_QUEUE_LINES:
            self._end(LimitExceeded(f"A watcher left more than {WATCH_QUEUE_LINES} lines unread and was cut."))

    def _touch(self, key: HostKey) -> None:
        if key.kind in self._kinds:
            self._waiting[key] = None
            self._flush()

    def _flush(self) -> None:
        while self._lines and self._paused_at is None:
            self._send({**self._lines.popleft(), "revision": self._revision})
        while self._waiting and self._paused_at is None:
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._send({**self._server_line(key), "revision": self._revision})
        if not self._lines and not self._waiting:
            self._revision = self._seen

    def _server_line(self, key: HostKey) -> dict[str, object]:
        server = self._feed.server(key)
        if server is None:
            return {"type": "delete", "kind": key.kind, "name": key.uuid}
        return {"type": "put", "resource": server}

    def _beat(self) -> None:
        try:
            self._check()
        except TeleportError as reason:
            self._end(reason)
            return
        if self._paused_at is None:
            self._send({"type": "heartbeat", "revision": self._revision})
        elif self._clocks.monotonic() > self._paused_at + WATCH_STALL_S:
            self._end(LimitExceeded(f"A watcher read nothing for {WATCH_STALL_S:g} seconds and was cut."))

    def _send(self, line: Mapping[str, object]) -> None:
        self._write(encode(line) + b"\n")

    def _end(self, reason: Exception | None) -> None:
        if self._ended.called:
            return
        if reason is None:
            self._ended.callback(None)
        else:
            self._ended.errback(reason)

    # IPushProducer: the transport says when it is full.

    def pauseProducing(self) -> None:
        """Nothing is sent until :meth:`resumeProducing`; servers and lines wait."""
        self._paused_at = self._clocks.monotonic()

    def resumeProducing(self) -> None:
        self._paused_at = None
        self._flush()

    def stopProducing(self) -> None:
        """The watcher is gone."""
        self._end(None)
