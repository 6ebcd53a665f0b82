"""The locks of the cluster: stored until they expire, and in force from the moment at which they are written."""

from __future__ import annotations

from collections.abc import Collection

from attrs import define, evolve, field

from teleport_conch.access.locks import Locks, because
from teleport_conch.access.shut_out import check_node
from teleport_conch.auth.hosts.hosts import Registration
from teleport_conch.auth.limits import MAX_LOCKS
from teleport_conch.auth.state.shelf import Shelf
from teleport_conch.errors import BadParameter
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

    def check_host(self, registration: Registration, now: float) -> None:
        """:raises HostLocked: the host is a node, and a lock in force is on all that happens there."""
        if registration.role == "Node":
            names = (registration.host_uuid, registration.node_name)
            check_node(self.every, names, now)

    def on_person(self, name: str, roles: Collection[str], now: float) -> str:
        """What a person hears who is locked, whatever the login would be; empty for who is not."""
        found = self.every.against(name, roles, "", (), now)
        return because(found) if found else ""


def checked(lock: Lock, before: Lock | None, by: str, now: float) -> Lock:
    """The lock as it may be stored, in place of one of its name or as a new one made by ``by``.

    :raises BadParameter: it would be over already.
    """
    if not lock.in_force_at(now):
        raise BadParameter("lock.metadata.expires is in the past; give a later one, or none for a lock without end.")
    made = (now, by) if before is None else (before.created_at, before.created_by)
    return evolve(lock, created_at=made[0], created_by=made[1], revision="")
