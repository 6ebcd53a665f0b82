"""The store that forgets: the reference for all others, and what most tests use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from teleport_conch.errors import StorageError
from teleport_conch.storage.backend import ChangeLog, IBackend, Item, Watch
from teleport_conch.storage.checks import check_batch, check_item, check_key, check_prefixes, check_range
from teleport_conch.storage.draft import Draft

_Answer = TypeVar("_Answer")


@implementer(IBackend)
@define(eq=False)
class MemoryBackend:
    """A store in this process's memory. ``clock.seconds()`` is POSIX time."""

    _clock: IReactorTime
    _draft: Draft = field(init=False, factory=lambda: Draft(0, {}))
    _log: ChangeLog = field(init=False, factory=lambda: ChangeLog(0))
    _closed: bool = field(init=False, default=False)

    async def get(self, key: str) -> Item:
        self._check_open()
        check_key(key)
        return self._draft.get(key, self._clock.seconds())

    async def create(self, key: str, value: bytes, expires_at: float | None = None) -> Item:
        check_item(key, value, expires_at)
        return self._write(lambda now: self._draft.create(key, value, expires_at, now))

    async def put(self, key: str, value: bytes, expires_at: float | None = None) -> Item:
        check_item(key, value, expires_at)
        return self._write(lambda now: self._draft.put(key, value, expires_at))

    async def put_many(self, items: Sequence[tuple[str, bytes, float | None]]) -> None:
        check_batch(items)
        self._write(lambda now: self._draft.put_many(items))

    async def compare_and_swap(self, key: str, revision: int, value: bytes, expires_at: float | None = None) -> Item:
        check_item(key, value, expires_at)
        return self._write(lambda now: self._draft.compare_and_swap(key, revision, value, expires_at, now))

    async def delete(self, key: str, revision: int | None = None) -> None:
        check_key(key)
        self._write(lambda now: self._draft.delete(key, revision, now))

    async def range(self, prefix: str, start_after: str = "", limit: int = 1000) -> tuple[Item, ...]:
        self._check_open()
        check_range(prefix, start_after, limit)
        now = self._clock.seconds()
        items = self._draft.items
        keys = sorted(key for key in items if key.startswith(prefix) and key > start_after)
        return tuple(items[key] for key in keys if not items[key].expired(now))[:limit]

    def revision(self) -> int:
        return self._log.revision

    def watch(self, prefixes: Sequence[str], after: int) -> Watch:
        self._check_open()
        check_prefixes(prefixes)
        return self._log.watch(prefixes, after)

    async def expire(self, now: float) -> int:
        gone = [(item.expires_at, key) for key, item in self._draft.items.items() if item.expired(now)]
        return self._write(lambda _: self._draft.expire([key for _, key in sorted(gone)], now))

    async def close(self) -> None:
        self._closed = True
        self._log.close(StorageError("The store was closed."))

    def _write(self, decide: Callable[[float], _Answer]) -> _Answer:
        self._check_open()
        answer = decide(self._clock.seconds())
        changes, self._draft.changes = self._draft.changes, []
        self._log.publish(changes)
        return answer

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("The store is closed.")
