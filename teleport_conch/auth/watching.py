"""One watcher: JSON lines over one answer that does not end.

First the snapshot at a revision, then each change after it, and a heartbeat every ten seconds. A watcher that does not
read is not waited for: changes of servers wait as the names of the servers only, of which the newest state is sent, and
beyond a bounded number of other lines it is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.feed import Feed, News
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.limits import WATCH_HEARTBEAT_S, WATCH_QUEUE_LINES, WATCH_STALL_S
from teleport_conch.auth.state.storing import encode
from teleport_conch.errors import Compacted, LimitExceeded, TeleportError

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
    _news: deque[News] = field(init=False, factory=deque)
    _servers: dict[HostKey, None] = field(init=False, factory=dict)
    _begun: bool = field(init=False, default=False)
    _paused_at: float | None = field(init=False, default=None)
    _revision: int = field(init=False, default=0)  # up to which the watcher has everything
    _seen: int = field(init=False, default=0)  # up to which it is sent or waits
    _ended: Deferred[None] = field(init=False, factory=Deferred)
    _log = Logger()

    async def run(self, after: int) -> None:
        """Send lines until the wait is cancelled, or :meth:`stopProducing` is called.

        :param after: 0 for a snapshot first; else the revision after which to go on.
        :raises LimitExceeded: the watcher was too slow.
        """
        heartbeat = LoopingCall(self._beat)
        heartbeat.clock = self._clocks.timers
        try:
            now = self._feed.listen(self, self._kinds)
            if after:
                self._go_on(after)
            else:
                await self._snapshot(now)
            self._begun = True
            self._flush()
            heartbeat.start(WATCH_HEARTBEAT_S, now=False)
            await self._ended
        except Compacted:
            self._write(b'{"type":"compacted"}\n')
        finally:
            self._feed.ignore(self)
            self._ended.addErrback(lambda _: None)  # nobody may have come to wait for it
            if heartbeat.running:
                heartbeat.stop()

    async def _snapshot(self, revision: int) -> None:
        self._revision = self._seen = revision
        items = await self._feed.snapshot(self._kinds)
        servers = self._feed.servers(self._kinds)
        first, others = servers[:SERVERS_IN_SNAPSHOT], servers[SERVERS_IN_SNAPSHOT:]
        items += [server for key in first if (server := self._feed.server(key)) is not None]
        self._write(b'{"type":"init","revision":%d,"items":[%b]}\n' % (revision, b",".join(items)))
        self._servers.update(dict.fromkeys(others))

    def _go_on(self, after: int) -> None:
        self._revision = self._seen = after
        for news in self._feed.since(after, self._kinds):
            self.changed(news)
        self._servers.update(dict.fromkeys(self._feed.servers(self._kinds)))

    # What the feed says.

    def changed(self, news: News) -> None:
        self._seen = max(self._seen, news.revision)
        if news.host is not None:
            self._servers[news.host] = None
        else:
            self._news.append(news)
        self._flush()
        if len(self._news) > WATCH_QUEUE_LINES:
            self.broken(LimitExceeded(f"A watcher left more than {WATCH_QUEUE_LINES} lines unread and was cut."))

    def touched(self, key: HostKey) -> None:
        self._servers[key] = None
        self._flush()

    def broken(self, reason: Exception) -> None:
        if not self._ended.called:
            self._ended.errback(reason)

    def look_again(self) -> None:
        """Who may watch may have changed: a watcher that may no longer hears the end of what was told, and no more."""
        try:
            self._check()
        except TeleportError as reason:
            self._log.info("A watch was ended: {reason}", reason=reason.sentence)
            self.stopProducing()

    # What is sent.

    def _flush(self) -> None:
        while self._news and self._may_write:
            news = self._news.popleft()
            self._tell(news.kind, news.name, news.resource)
        while self._servers and self._may_write:
            key = next(iter(self._servers))
            del self._servers[key]
            self._tell(key.kind, key.uuid, self._feed.server(key))
        if not self._news and not self._servers:
            self._revision = self._seen

    @property
    def _may_write(self) -> bool:
        return self._begun and self._paused_at is None

    def _tell(self, kind: str, name: str, resource: bytes | None) -> None:
        if resource is None:
            line = {"type": "delete", "revision": self._revision, "kind": kind, "name": name}
            self._write(encode(line) + b"\n")
        else:
            self._write(b'{"type":"put","revision":%d,"resource":%b}\n' % (self._revision, resource))

    def _beat(self) -> None:
        try:
            self._check()
        except TeleportError as reason:
            self.broken(reason)
            return
        if self._paused_at is None:
            self._write(b'{"type":"heartbeat","revision":%d}\n' % self._revision)
        elif self._clocks.monotonic() > self._paused_at + WATCH_STALL_S:
            self.broken(LimitExceeded(f"A watcher read nothing for {WATCH_STALL_S:g} seconds and was cut."))

    # IPushProducer: the transport says when it is full.

    def pauseProducing(self) -> None:
        """Nothing is sent until :meth:`resumeProducing`; servers and lines wait."""
        self._paused_at = self._clocks.monotonic()

    def resumeProducing(self) -> None:
        self._paused_at = None
        self._flush()

    def stopProducing(self) -> None:
        """The watcher is gone."""
        if not self._ended.called:
            self._ended.callback(None)
