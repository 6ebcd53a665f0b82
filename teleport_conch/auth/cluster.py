"""The cluster: everything that the API offers, without HTTP.

:mod:`teleport_conch.auth.opening` reads the storage and puts the parts together; the parts are what callers talk to.
Between :meth:`Cluster.start` and :meth:`Cluster.stop` those that depend on time are kept going.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger

from teleport_conch.access.directory import Directory
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.feed import Feed
from teleport_conch.auth.hosts.held_names import HeldNames
from teleport_conch.auth.hosts.hosts import Hosts
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.auth.hosts.joining import Joining
from teleport_conch.auth.hosts.presence import PresenceTable
from teleport_conch.auth.hosts.renewing import Renewing
from teleport_conch.auth.hosts.sessions import Sessions
from teleport_conch.auth.hosts.tokens import Tokens
from teleport_conch.auth.limits import EXPIRE_S, PRESENCE_FLUSH_S, PRESENCE_SWEEP_S
from teleport_conch.auth.people.access_requests import AccessRequests
from teleport_conch.auth.people.bots import Bots
from teleport_conch.auth.people.certificates import Certificates
from teleport_conch.auth.people.people import People
from teleport_conch.auth.people.plugin_data import PluginDataOfRequests
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.rules.callers import Judge
from teleport_conch.auth.rules.leases import Leases
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.rules.node_list import NodeList
from teleport_conch.auth.rules.roles import Roles
from teleport_conch.auth.state import authorities
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.auth.state.configuration import Configuration
from teleport_conch.errors import Compacted, LimitExceeded, StorageError, TeleportError
from teleport_conch.periodic import Beat, Periodic
from teleport_conch.storage.backend import IBackend, Watch

DROP_OLD_S = 60.0


@define(eq=False)
class Cluster:
    """All parts of a running cluster."""

    clocks: Clocks
    backend: IBackend
    configuration: Configuration
    authorities: Authorities
    tokens: Tokens
    hosts: Hosts
    presence: PresenceTable
    inventory: Inventory
    joining: Joining
    renewing: Renewing
    held_names: HeldNames
    certificates: Certificates
    sessions: Sessions
    leases: Leases
    nodes: NodeList
    feed: Feed
    roles: Roles
    users: Users
    locks: LockList
    people: People
    bots: Bots
    requests: AccessRequests
    plugin_data: PluginDataOfRequests
    rewriting: DeferredLock = field(init=False, factory=DeferredLock)
    """Held by whoever changes who may do what, since what such a change may be depends on what there is."""
    _loops: list[Periodic] = field(init=False, factory=list)
    _following: Deferred[None] | None = field(init=False, default=None)
    _log = Logger()

    @property
    def name(self) -> str:
        return self.configuration.name.cluster_name

    @property
    def directory(self) -> Directory:
        """Roles, users and access requests, as they are at each moment."""
        return Directory(self.roles, self.users.shelf.values, self.requests.shelf.values)

    def judge(self) -> Judge:
        """Who decides whether certificates are believed."""
        shelves = (self.roles.shelf, self.users.shelf, self.requests.shelf)
        return Judge(
            self.clocks, self.authorities, self.directory, lambda: tuple(shelf.generation for shelf in shelves)
        )

    def on_rules(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when roles, users, access requests or locks change."""
        self.roles.shelf.on_change(callback)
        self.users.shelf.on_change(callback)
        self.requests.shelf.on_change(callback)
        self.locks.shelf.on_change(callback)

    def start(self) -> None:
        """Begin to count beats, now that hosts can be heard; to flush, and to follow changes of the authorities."""
        self.presence.begin()
        self.feed.start()
        self._loops = [
            self._loop(PRESENCE_SWEEP_S, self._sweep, "presence"),
            self._loop(PRESENCE_FLUSH_S, self.inventory.flush, "flush of presence"),
            self._loop(EXPIRE_S, self._expire, "expiry"),
            self._loop(DROP_OLD_S, self._drop_old, "removal of old nodes"),
        ]
        for loop in self._loops:
            loop.startService()
        self._following = Deferred.fromCoroutine(self._follow())
        self._following.addErrback(self._follow_failed)

    def _loop(self, interval_s: float, beat: Beat, name: str) -> Periodic:
        return Periodic(self.clocks.timers, interval_s, beat, _without_jitter, name)

    async def stop(self) -> None:
        """Stop counting, and write what is not written yet."""
        self.feed.stop()
        self.roles.shelf.close()
        self.users.shelf.close()
        self.bots.shelf.close()
        self.requests.shelf.close()
        self.plugin_data.shelf.close()
        self.locks.shelf.close()
        if self._following is not None:
            self._following.cancel()
        loops, self._loops = self._loops, []
        for loop in loops:
            await loop.stopService()
        try:
            await self.inventory.flush()
        except StorageError as reason:
            self._log.error("When hosts were last seen could not be written: {reason}", reason=reason.sentence)

    def _sweep(self) -> None:
        self.presence.sweep()
        self.feed.age()

    async def _expire(self) -> None:
        now = self.clocks.wall()
        self.hosts.drop_expired(now)
        await self.backend.expire(now)

    async def _drop_old(self) -> None:
        await self.inventory.drop_old(self.configuration.general.offline_nodes_kept_s)

    async def _follow(self) -> None:
        """Read the authorities again whenever somebody wrote them (a rotation does)."""
        while True:
            changes = self.backend.watch([authorities.PREFIX], self.backend.revision())
            try:
                await self._reload_at_each(changes)
            except (Compacted, LimitExceeded):
                await self.authorities.reload()
            finally:
                changes.close()

    async def _reload_at_each(self, changes: Watch) -> None:
        while True:
            await changes.next()
            await self.authorities.reload()

    def _follow_failed(self, failure: object) -> None:
        reason = getattr(failure, "value", None)
        if not isinstance(reason, CancelledError | TeleportError):
            self._log.error("Changes of the authorities are not followed any more: {reason}", reason=failure)


def _without_jitter(interval_s: float) -> float:
    return interval_s
