"""The store of a cluster with one auth server: a SQLite database in a file.

Writes go to one thread and are answered when the disk has them. Reads are answered at once, in the reactor's thread: a
lookup takes about ten microseconds, less than the way to another thread and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from zope.interface import implementer

from teleport_conch.errors import StorageError
from teleport_conch.storage.backend import ChangeLog, IBackend, Item, Watch
from teleport_conch.storage.checks import check_batch, check_item, check_key, check_prefixes, check_range
from teleport_conch.storage.database import Database
from teleport_conch.storage.draft import Draft
from teleport_conch.storage.opening import copy_database, open_database
from teleport_conch.storage.writer import WRITE_BYTES, ThreadedReactor, Write, Writer, in_thread

#: Expired items that one transaction deletes.
EXPIRED_AT_ONCE = 1000

_Answer = TypeVar("_Answer")


@implementer(IBackend)
@define(eq=False)
class SQLiteBackend:
    """A store over an open database, which it closes in the end; made by :meth:`open`."""

    _reactor: ThreadedReactor
    _database: Database
    _log: ChangeLog = field(init=False)
    _writer: Writer = field(init=False)
    _closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._log = ChangeLog(self._database.revision())
        self._writer = Writer(self._reactor, self._database, self._log)

    @classmethod
    async def open(cls, reactor: ThreadedReactor, path: Path, lock: bool = True) -> SQLiteBackend:
        """Open the database *path*, or make it.

        :param lock: take the lock that one process can have. Without it the store can only be read, must exist, and
            its watchers hear of nothing: it is for a look at a store that a running service has open.
        :raises StorageError: what :func:`~teleport_conch.storage.opening.open_database` found, as a sentence.
        :raises UnsafePath: others than its owner may read or write the database.
        """
        opening = in_thread(reactor, partial(open_database, path, exclusive=lock), f"opening {path}")
        return cls(reactor, await opening)

    async def get(self, key: str) -> Item:
        self._check_open()
        check_key(key)
        return self._database.get(key, self._reactor.seconds())

    async def create(self, key: str, value: bytes, expires_at: float | None = None) -> Item:
        check_item(key, value, expires_at)
        now = self._reactor.seconds()
        return await self._write(lambda draft: draft.create(key, value, expires_at, now), [key], len(value))

    async def put(self, key: str, value: bytes, expires_at: float | None = None) -> Item:
        check_item(key, value, expires_at)
        return await self._write(lambda draft: draft.put(key, value, expires_at), (), len(value))

    async def put_many(self, items: Sequence[tuple[str, bytes, float | None]]) -> None:
        check_batch(items)
        kept = tuple(items)  # the caller's list may change before the writer looks at it
        await self._write(lambda draft: draft.put_many(kept), (), sum(WRITE_BYTES + len(value) for _, value, _ in kept))

    async def compare_and_swap(self, key: str, revision: int, value: bytes, expires_at: float | None = None) -> Item:
        check_item(key, value, expires_at)
        now = self._reactor.seconds()
        return await self._write(
            lambda draft: draft.compare_and_swap(key, revision, value, expires_at, now), [key], len(value)
        )

    async def delete(self, key: str, revision: int | None = None) -> None:
        check_key(key)
        now = self._reactor.seconds()
        await self._write(lambda draft: draft.delete(key, revision, now), [key])

    async def range(self, prefix: str, start_after: str = "", limit: int = 1000) -> tuple[Item, ...]:
        self._check_open()
        check_range(prefix, start_after, limit)
        return self._database.range(prefix, start_after, limit, self._reactor.seconds())

    def revision(self) -> int:
        return self._log.revision

    def watch(self, prefixes: Sequence[str], after: int) -> Watch:
        self._check_open()
        check_prefixes(prefixes)
        return self._log.watch(prefixes, after)

    async def expire(self, now: float) -> int:
        count = 0
        while True:
            self._check_open()
            keys = self._database.expired(now, EXPIRED_AT_ONCE)
            if not keys:
                return count
            count += await self._write(partial(Draft.expire, keys=keys, now=now), keys)

    async def snapshot_to(self, path: Path) -> None:
        """Copy the store as it is now to a new file, mode 0600, that :meth:`open` can open, while writes go on.

        The copy's revisions are far ahead of this store's, so that who watched this one takes a snapshot of the other.

        :raises AlreadyExists: there is a file of that name.
        :raises StorageError: the copy could not be written; nothing is left of it.
        """
        self._check_open()
        await in_thread(self._reactor, partial(copy_database, self._database.path, path), f"copying to {path}")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._log.close(StorageError("The store was closed."))
            self._writer.stop()
        await self._writer.stopped

    async def _write(self, decide: Callable[[Draft], _Answer], reads: Sequence[str], size: int = 0) -> _Answer:
        self._check_open()
        answers: list[_Answer] = []  # one for each time that it was decided; the last one counts
        write = Write(lambda draft: answers.append(decide(draft)), reads, WRITE_BYTES + size)
        await self._writer.submit(write)
        return answers[-1]

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("The store is closed.")
