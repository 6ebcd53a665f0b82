"""The cluster: everything that the API offers, without HTTP.

:func:`open_cluster` reads the storage and puts the parts together; the parts are what callers talk to. Between
:meth:`Cluster.start` and :meth:`Cluster.stop` the parts that depend on time are kept going.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from uuid import UUID

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger

from teleport_conch.access.directory import Directory
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.feed import Feed
from teleport_conch.auth.hosts.applying import Applications
from teleport_conch.auth.hosts.held_names import HeldNames
from teleport_conch.auth.hosts.hosts import Hosts
from teleport_conch.auth.hosts.inventory import Inventory
from teleport_conch.auth.hosts.joining import Joining
from teleport_conch.auth.hosts.presence import HostKey, PresenceTable
from teleport_conch.auth.hosts.principals import NameRules
from teleport_conch.auth.hosts.renewing import Renewing
from teleport_conch.auth.hosts.sessions import Sessions
from teleport_conch.auth.hosts.token_digests import open_digests
from teleport_conch.auth.hosts.tokens import Tokens
from teleport_conch.auth.limits import EXPIRE_S, PRESENCE_FLUSH_S, PRESENCE_SWEEP_S
from teleport_conch.auth.people import access_requests, bots, users
from teleport_conch.auth.people.access_requests import AccessRequests
from teleport_conch.auth.people.bot_tokens import BotTokens
from teleport_conch.auth.people.bots import Bots
from teleport_conch.auth.people.certificates import Certificates
from teleport_conch.auth.people.passwords import Hashing, InPool, at_once
from teleport_conch.auth.people.people import People, open_people
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.rules import locks, roles
from teleport_conch.auth.rules.callers import Judge
from teleport_conch.auth.rules.leases import Leases
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.rules.node_list import NodeList
from teleport_conch.auth.rules.roles import Roles
from teleport_conch.auth.state import authorities
from teleport_conch.auth.state.authorities import Authorities, open_authorities
from teleport_conch.auth.state.configuration import Configuration, FromFile, open_configuration
from teleport_conch.errors import Compacted, LimitExceeded, StorageError, TeleportError
from teleport_conch.periodic import Beat, Periodic
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.server import State
from teleport_conch.resources.token import JoinToken
from teleport_conch.storage.backend import IBackend, Watch

DROP_OLD_S = 60.0


@frozen
class Founding:
    """What the configuration file says of the cluster.

    :ivar cluster_name: counts at the first start only.
    :ivar given: the keys of ``auth_service`` that are there; what they set wins over what is stored.
    :ivar static_tokens: the tokens that never expire, with plain digests.
    :ivar allow_loopback: whether hosts may be called ``localhost``: auth itself listens on loopback only.
    :ivar own_names: names and addresses of auth itself, in their usual form.
    """

    cluster_name: str
    general: ClusterConfig
    static_tokens: tuple[JoinToken, ...] = ()
    allow_loopback: bool = False
    preference: AuthPreference = field(factory=AuthPreference)
    given: frozenset[str] = frozenset()
    own_names: frozenset[str] = frozenset()


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


async def open_cluster(
    clocks: Clocks,
    backend: IBackend,
    founding: Founding,
    emit: Emit,
    random: Callable[[int], bytes] = os.urandom,
    in_pool: InPool = at_once,
) -> Cluster:
    """The cluster that the storage holds; founded there if it holds none.

    :param in_pool: where passwords are hashed, which takes a while.

    :raises StorageError: what is stored cannot be read.
    """
    now = clocks.wall()
    cluster_id = UUID(bytes=random(16), version=4)
    from_file = FromFile(founding.general, founding.preference, founding.given)
    configuration = await open_configuration(backend, founding.cluster_name, cluster_id, from_file)
    name = configuration.name.cluster_name
    trusted = await open_authorities(backend, name, now, random)
    hosts = Hosts(backend)
    await hosts.load()
    relay = _Relay()
    presence = PresenceTable(clocks, configuration.general.heartbeat_interval_s, relay.state_changed)
    configuration.shared.on_change(lambda general: presence.expect_beats_every(general.heartbeat_interval_s))
    inventory = Inventory(clocks, backend, hosts, presence, relay.touched, emit)
    feed = Feed(backend, inventory)
    relay.connect(inventory, feed)
    await inventory.load()
    known_roles = Roles(roles.open_shelf(backend))
    await known_roles.shelf.load()
    known_locks = LockList(locks.open_shelf(backend))
    await known_locks.shelf.load()
    known_users = Users(users.open_shelf(backend), clocks, known_roles)
    await known_users.shelf.load()
    shelf_of_requests = access_requests.open_shelf(backend)
    known_requests = AccessRequests(shelf_of_requests, clocks, known_users, known_roles, emit, random)
    await known_requests.shelf.load()
    shelves = (known_roles.shelf, known_users.shelf, known_locks.shelf)
    people = await open_people(
        clocks,
        backend,
        known_users,
        known_locks,
        trusted,
        Hashing(in_pool, random),
        lambda: configuration.preference.second_factor,
        emit,
        random,
    )
    directory = Directory(known_roles, known_users.shelf.values)
    tokens_of_bots = BotTokens(clocks, backend, random)
    shelf, certificates = bots.open_shelf(backend), people.certificates
    known_bots = Bots(shelf, tokens_of_bots, clocks, known_users, known_locks, directory, certificates, emit)
    await known_bots.shelf.load()
    digests = await open_digests(backend, random)
    tokens = Tokens(clocks, backend, digests, tuple(map(digests.token, founding.static_tokens)), random)
    rules = NameRules(name, allow_loopback=founding.allow_loopback)
    applications = Applications(clocks, trusted, hosts, presence, rules)
    return Cluster(
        clocks=clocks,
        backend=backend,
        configuration=configuration,
        authorities=trusted,
        tokens=tokens,
        hosts=hosts,
        presence=presence,
        inventory=inventory,
        joining=Joining(clocks, trusted, tokens, hosts, presence, applications, emit),
        renewing=Renewing(clocks, hosts, applications, emit),
        held_names=HeldNames(name, founding.own_names, hosts, inventory),
        certificates=Certificates(clocks, trusted, rules, known_roles, emit, random),
        sessions=Sessions(clocks, backend),
        leases=Leases(clocks, backend, random),
        nodes=NodeList(clocks, inventory, known_locks, lambda: tuple(shelf.generation for shelf in shelves)),
        feed=feed,
        roles=known_roles,
        users=known_users,
        locks=known_locks,
        people=people,
        bots=known_bots,
        requests=known_requests,
    )


class _Relay:
    """Joins parts that tell each other of changes, and of which one has to be made first."""

    def connect(self, inventory: Inventory, feed: Feed) -> None:
        self._inventory = inventory
        self._feed = feed

    def state_changed(self, key: HostKey, old: State, new: State) -> None:
        self._inventory.state_changed(key, old, new)

    def touched(self, key: HostKey) -> None:
        self._feed.touched(key)


def _without_jitter(interval_s: float) -> float:
    return interval_s
