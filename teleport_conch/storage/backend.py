"""The contract that every store fulfils, and the part of it that they share: changes and those who watch them.

A store keeps :class:`Item` values under keys that are paths (``nodes/default/<uuid>``). Each write of a key has a
*revision*: one integer that only grows, over the whole store and over restarts. A reader that wants to follow takes
:meth:`IBackend.revision`, then a snapshot with :meth:`IBackend.range`, then :meth:`IBackend.watch` with the revision;
in this order, it may see a change twice and never misses one.
"""

# ruff: noqa: N805 - the methods of an interface are written without self

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import Interface

from teleport_conch.errors import Compacted, LimitExceeded

#: Changes that a store keeps for watchers that come back.
KEPT_CHANGES = 8192
#: Changes that may still wait for a watcher when the next ones come; more than these, and it is cut.
QUEUED_CHANGES = 1024
#: Watchers of one store.
MAX_WATCHES = 50_000


@frozen
class Item:
    """A value under its key. ``expires_at`` (POSIX seconds) is the first instant at which the item is gone."""

    key: str
    value: bytes
    revision: int
    expires_at: float | None = None

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@frozen
class Change:
    """What happened to a key at a revision. ``item`` is None when the key was deleted or has expired."""

    revision: int
    key: str
    item: Item | None


@define(eq=False)
class Watch:
    """The changes of some prefixes, in the order of their revisions, for one reader."""

    prefixes: tuple[str, ...]
    _forget: Callable[[Watch], None]
    _queue: deque[Change] = field(init=False, factory=deque)
    _reader: Deferred[None] | None = field(init=False, default=None)
    _end: Exception | None = field(init=False, default=None)

    async def next(self) -> Change:
        """The next change, waiting for it if there is none yet. Cancelling the wait loses nothing.

        :raises LimitExceeded: the reader was too slow and the watch was cut; take a snapshot and watch again.
        :raises StorageError: the store was closed.
        :raises CancelledError: the watch was closed.
        """
        if self._reader is not None:
            raise RuntimeError("A watch has one reader, and that one is waiting already.")
        while not self._queue:
            if self._end is not None:
                raise self._end
            self._reader = Deferred()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._queue.popleft()

    def close(self) -> None:
        """Stop watching; a pending :meth:`next` ends with ``CancelledError``. Closing twice does nothing."""
        self._forget(self)
        self.end(CancelledError("The watch was closed."))

    # The rest is for the store's ChangeLog.

    @property
    def is_slow(self) -> bool:
        return len(self._queue) > QUEUED_CHANGES and self._reader is None

    def take(self, change: Change) -> None:
        if change.key.startswith(self.prefixes):
            self._queue.append(change)

    def wake(self) -> None:
        if self._reader is not None and (self._queue or self._end is not None):
            reader, self._reader = self._reader, None
            reader.callback(None)

    def end(self, error: Exception) -> None:
        """Drop what is queued; from now on :meth:`next` raises *error*."""
        if self._end is None:
            self._end = error
            self._queue.clear()
            self.wake()


@define(eq=False)
class ChangeLog:
    """The newest changes of a store, and its watchers. ``revision`` is that of the newest change that was published."""

    revision: int
    _oldest: int = field(init=False)  # every change after this revision is kept
    _kept: deque[Change] = field(init=False, factory=deque)
    _watches: dict[Watch, None] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._oldest = self.revision

    def publish(self, changes: Sequence[Change]) -> None:
        """Tell the watchers what has been written. One that left too much unread before is cut.

        All changes are queued before the first watcher runs, since a watcher may write in answer.
        """
        for watch in [watch for watch in self._watches if watch.is_slow]:
            self._cut(watch)
        for change in changes:
            self._keep(change)
            for watch in self._watches:
                watch.take(change)
        for watch in list(self._watches):
            watch.wake()

    def watch(self, prefixes: Sequence[str], after: int) -> Watch:
        """A watch that begins with the kept changes after revision *after*.

        :raises Compacted: some of them are not kept, they are too many to queue, or *after* lies in the future, which
            means that the store was restored.
        """
        if len(self._watches) >= MAX_WATCHES:
            raise LimitExceeded(f"The store has {MAX_WATCHES} watchers, and takes no more.")
        if after > self.revision:
            raise Compacted(f"There is no revision {after}: the newest is {self.revision}; take a snapshot again.")
        if after < self._oldest:
            raise Compacted(f"Changes up to revision {self._oldest} are not kept; take a snapshot again.")
        watch = Watch(tuple(prefixes), self._forget)
        for change in reversed(list(takewhile(lambda change: change.revision > after, reversed(self._kept)))):
            watch.take(change)
        if watch.is_slow:
            raise Compacted(f"More than {QUEUED_CHANGES} changes happened since; take a snapshot again.")
        self._watches[watch] = None
        return watch

    def close(self, error: Exception) -> None:
        """End all watches with *error*."""
        watches, self._watches = self._watches, {}
        for watch in watches:
            watch.end(error)

    def _keep(self, change: Change) -> None:
        if len(self._kept) == KEPT_CHANGES:
            self._oldest = self._kept.popleft().revision
        self._kept.append(change)
        self.revision = change.revision

    def _cut(self, watch: Watch) -> None:
        self._forget(watch)
        sentence = f"The watch left over {QUEUED_CHANGES} changes unread and was cut; take a snapshot and watch again."
        watch.end(LimitExceeded(sentence))

    def _forget(self, watch: Watch) -> None:
        self._watches.pop(watch, None)


class IBackend(Interface):
    """A store of items under paths.

    A key is a path of printable characters without slash at its ends, without an empty, ``.`` or ``..`` segment and
    at most 512 characters long; a value has at most 1,000,000 bytes. What breaks these rules raises ``BadParameter``
    or ``TooLarge``. An item that has expired is gone for every method, whether or not :meth:`expire` has deleted it.
    A prefix is matched on the text of the key: ``nodes/`` has ``nodes/a`` below it, ``nodes`` also ``nodes2/a``.

    A write that was answered is kept. One that raises ``StorageError`` (``StorageFull`` among them) was not, nor any
    part of it. Cancelling the wait for a write does not undo it.
    """

    async def get(key: str) -> Item:
        """:raises NotFound: there is none, or it has expired."""

    async def create(key: str, value: bytes, expires_at: float | None = None) -> Item:
        """Write a key that must not be there. :raises AlreadyExists: it is."""

    async def put(key: str, value: bytes, expires_at: float | None = None) -> Item:
        """Write a key, whether or not it is there."""

    async def put_many(items: Sequence[tuple[str, bytes, float | None]]) -> None:
        """Write (key, value, expires_at) triples: all or none of them, each with a revision of its own.

        :raises LimitExceeded: more than 8192 items.
        :raises TooLarge: more than 16 MiB of values.
        """

    async def compare_and_swap(key: str, revision: int, value: bytes, expires_at: float | None = None) -> Item:
        """Write a key if its revision is still *revision*.

        :raises NotFound: it is gone.
        :raises CompareFailed: somebody wrote it since.
        """

    async def delete(key: str, revision: int | None = None) -> None:
        """Delete a key; with *revision*, only if it is still that.

        :raises NotFound: it is gone.
        :raises CompareFailed: somebody wrote it since.
        """

    async def range(prefix: str, start_after: str = "", limit: int = 1000) -> tuple[Item, ...]:
        """Items whose key begins with *prefix* and sorts after *start_after*, sorted by key.

        :param limit: how many at most, 1 to 10,000. The next page begins after the last key of this one; fewer items
            than this mean that there are no more.
        """

    def revision() -> int:
        """The newest revision. What it stands for can be read already."""

    def watch(prefixes: Sequence[str], after: int) -> Watch:
        """Follow the changes below any of *prefixes* that come after revision *after*.

        :raises Compacted: some of these are not kept any more (a store keeps the newest 8192, and none over a restart).
        """

    async def expire(now: float) -> int:
        """Delete what has expired at *now* (POSIX seconds), tell the watchers, answer how many they were."""

    async def close() -> None:
        """Finish the writes in flight and end the watches. After it, all but ``close`` raises ``StorageError``."""
