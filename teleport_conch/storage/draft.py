"""What a write does to a store, decided in memory before anything is stored.

Every store decides here, so that they cannot differ in what a race, an expired item or a wrong revision means.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from teleport_conch.errors import AlreadyExists, CompareFailed, NotFound
from teleport_conch.storage.backend import Change, Item


@define
class Draft:
    """Writes decided one after the other. A method that raises has changed nothing.

    :param revision: the newest revision that was given out.
    :param items: the present items, at least those whose keys the decisions look at.
    """

    revision: int
    items: dict[str, Item]
    changes: list[Change] = Factory(list)

    def get(self, key: str, now: float) -> Item:
        item = self.items.get(key)
        if item is None or item.expired(now):
            raise missing(key)
        return item

    def put(self, key: str, value: bytes, expires_at: float | None) -> Item:
        self.revision += 1
        item = Item(key, value, self.revision, expires_at)
        self.items[key] = item
        self.changes.append(Change(self.revision, key, item))
        return item

    def put_many(self, items: Iterable[tuple[str, bytes, float | None]]) -> None:
        for key, value, expires_at in items:
            self.put(key, value, expires_at)

    def create(self, key: str, value: bytes, expires_at: float | None, now: float) -> Item:
        item = self.items.get(key)
        if item is not None and not item.expired(now):
            raise AlreadyExists(f"There is a {key!r} already.", key=key)
        return self.put(key, value, expires_at)

    def compare_and_swap(self, key: str, revision: int, value: bytes, expires_at: float | None, now: float) -> Item:
        self._compare(key, revision, now)
        return self.put(key, value, expires_at)

    def delete(self, key: str, revision: int | None, now: float) -> None:
        self._compare(key, revision, now)
        self._remove(key)

    def expire(self, keys: Iterable[str], now: float) -> int:
        """Remove those of *keys* that have expired, and have not been written anew since somebody looked."""
        gone = [key for key in keys if key in self.items and self.items[key].expired(now)]
        for key in gone:
            self._remove(key)
        return len(gone)

    def _compare(self, key: str, revision: int | None, now: float) -> None:
        item = self.get(key, now)
        if revision is not None and item.revision != revision:
            sentence = (
                f"{key!r} was changed since it was read (revision {item.revision}, not {revision}); read it again."
            )
            raise CompareFailed(sentence, key=key, revision=item.revision)

    def _remove(self, key: str) -> None:
        self.revision += 1
        del self.items[key]
        self.changes.append(Change(self.revision, key, None))


def missing(key: str) -> NotFound:
    return NotFound(f"There is no {key!r}.", key=key)
