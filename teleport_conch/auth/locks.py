"""The locks of the cluster: stored until they expire, and in force from the moment at which they are written."""

from __future__ import annotations

from attrs import define, field

from teleport_conch.access.locks import Locks
from teleport_conch.auth.limits import MAX_LOCKS
from teleport_conch.auth.shelf import Shelf
from teleport_conch.resources.lock import Lock
from teleport_conch.storage.backend import IBackend

PREFIX = "locks/"


def open_shelf(backend: IBackend) -> Shelf[Lock]:
    """Where they are."""
    return Shelf("lock", PREFIX, backend, Lock.from_json, MAX_LOCKS, lambda lock: lock.expires_at)


@define(eq=False)
class LockList:
    """All of them, indexed anew after each change."""

    shelf: Shelf[Lock]
    _locks: Locks = field(init=False, factory=Locks)
    _generation: int = field(init=False, default=-1)

    @property
    def every(self) -> Locks:
        """As they are at this moment; those that have expired may be among them."""
        if self._generation != self.shelf.generation:
            self._locks = Locks(tuple(self.shelf.values.values()))
            self._generation = self.shelf.generation
        return self._locks
