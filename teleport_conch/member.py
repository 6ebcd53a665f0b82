"""What a node and a proxy have in common: an identity, a copy of what the cluster is like, and a trail of events."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from teleport_conch.access.known import Known
from teleport_conch.audit.event import Event
from teleport_conch.audit.leftovers import leftovers
from teleport_conch.audit.trail import Trail
from teleport_conch.cache import Cache, Emergency
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.backoff import spread
from teleport_conch.client.enrolment import Membership
from teleport_conch.client.following import Follower
from teleport_conch.client.uplink import Uplink
from teleport_conch.company import Company
from teleport_conch.config.secret import read_token
from teleport_conch.config.settings import CacheSettings, ConnectionLimits, TeleportSettings
from teleport_conch.rank import ALONE, Rank
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.server import Server
from teleport_conch.ssh.factory import ServerLimits
from teleport_conch.ssh.login.admission import Bounds, Startups
from teleport_conch.ssh.transport.hostkeys import HostKeys, host_keys
from teleport_conch.ssh.transport.keepalive import KeepAliveRhythm
from teleport_conch.starting import Reactor
from teleport_conch.storage.backend import IBackend
from teleport_conch.storage.memory import MemoryBackend
from teleport_conch.storage.sqlite import SQLiteBackend

WATCH_JITTER = 0.5


@frozen
class CacheChoice:
    """How the copy is kept: on disk or in memory, and for how many seconds it is believed while auth is away."""

    on_disk: bool
    ttl_s: float


def cache_choice(settings: CacheSettings) -> CacheChoice:
    """What the configuration says of the copy."""
    return CacheChoice(settings.enabled and settings.type == "sqlite", settings.ttl)


def membership_of(settings: TeleportSettings, role: str, names: Iterable[str]) -> Membership:
    """What the configuration says of a membership.

    :param names: under which clients look for the host, beside its nodename.
    """
    token = settings.auth_token
    return Membership(
        role=role,
        node_name=settings.nodename,
        addresses=tuple(map(str, settings.auth_servers)),
        token=lambda: read_token(token).reveal() if token is not None else "",
        ca_pin=settings.ca_pin or "",
        principals=tuple(dict.fromkeys(names)),
    )


@frozen
class MemberChoice:
    """What a member wants to be, and where it keeps its things.

    :ivar kinds: the resources that it follows.
    :ivar record: answers what it announces.
    :ivar rank: which of the host's processes for this service it is.
    :ivar emergency_after_s: for how long auth is silent before certificates for emergencies count; infinity for never.
    """

    data_dir: Path
    membership: Membership
    cache: CacheChoice
    kinds: Sequence[str]
    record: Callable[[], Server] = field(repr=False)
    rank: Rank = ALONE
    emergency_after_s: float = math.inf


class Member(MultiService):
    """One service's place in the cluster. :meth:`joined` is awaited before anything else is asked of it."""

    _log = Logger()

    def __init__(self, reactor: Reactor, choice: MemberChoice) -> None:
        super().__init__()
        self._reactor = reactor
        self._choice = choice
        self._backend: IBackend | None = None
        self._cache: Cache | None = None
        self.company = Company(reactor, self.known)
        """Whoever is connected to this member."""
        self._retired = False
        self._service = choice.membership.role.lower()
        self._own_name = choice.rank.name(self._service)
        self.uplink = _standing(reactor, choice)
        self._trail = self._make_trail(self._own_name)

    def _make_trail(self, name: str) -> Trail:
        uuid, node_name = self.uplink.host_uuid, self._choice.membership.node_name
        defaults = {"server_id": uuid, "server_hostname": node_name}
        return Trail(self._reactor, self._spools / name, self._ship, defaults)

    @property
    def _spools(self) -> Path:
        return self._choice.data_dir / "log" / "spool"

    def emit(self, name: str, /, *, success: bool = True, **fields: object) -> bool:
        """See :meth:`teleport_conch.audit.trail.Trail.emit`."""
        return self._trail.emit(name, success=success, **fields)

    async def retire(self) -> None:
        """Leaves the host's place in the cluster to another process.

        It goes on telling what happens here, and hears what changes: who is here may be locked, or lose a role.
        """
        self._retired = True
        self._trail = self._make_trail(f"{self._service}.{os.getpid()}")
        self._trail.startService()
        await self._stop()

    @property
    def rank(self) -> Rank:
        """Which of the host's processes this is."""
        return self._choice.rank

    @property
    def leads(self) -> bool:
        """Whether this process speaks for the host."""
        return self.rank.leads

    async def joined(self) -> HostIdentity:
        """Starts, and waits until the host has an identity and knows its cluster, from auth or from its own disk."""
        identified: Deferred[HostIdentity] = Deferred()

        def first(identity: HostIdentity) -> None:
            if not identified.called:
                identified.callback(identity)

        # First, as it is one process's at a time: a second one is not to speak in the name of the first.
        self._backend = await self._open_backend()
        self.uplink.on_identity(first)
        self.uplink.setServiceParent(self)
        self._trail.setServiceParent(self)
        for name in leftovers(self._spools, self._service, self._choice.rank.of) if self.leads else ():
            self._make_trail(name).setServiceParent(self)
        identity = await identified
        self._cache = cache = self._follow(self._backend, identity)
        cache.startService()
        await cache.ready(math.isfinite(self._choice.emergency_after_s))
        return self.uplink.identity or identity

    async def _open_backend(self) -> IBackend:
        if not self._choice.cache.on_disk:
            return MemoryBackend(self._reactor)
        folder = self._choice.data_dir / "cache" / self._own_name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return await SQLiteBackend.open(self._reactor, folder / "sqlite.db")

    def _follow(self, backend: IBackend, identity: HostIdentity) -> Cache:
        jitter = spread(random.random, WATCH_JITTER)
        cache = Cache(
            self._reactor,
            backend,
            self.uplink.client,
            self._choice.kinds,
            jitter,
            self._choice.cache.ttl_s,
            identity.cluster_name,
        )
        cache.on_change("cluster_config", self._configured)
        for kind in {"cluster_config", "role", "user", "lock", "access_request"} & set(self._choice.kinds):
            cache.on_change(kind, self.company.changed)
        return cache

    def _configured(self) -> None:
        self.uplink.beat_every(self.cache.configuration().heartbeat_interval_s)

    def stopService(self) -> Deferred[None]:
        """Says goodbye, and closes the copy last."""
        return Deferred.fromCoroutine(self._end() if self._retired else self._stop())

    async def _end(self) -> None:
        self.company.stop()
        await self.cache.stopService()
        await self._trail.stopService()
        await self.uplink.client.close()
        with suppress(OSError):  # what could not be sent is for the next start
            (self._spools / f"{self._service}.{os.getpid()}").rmdir()

    async def _stop(self) -> None:
        if not self._retired:
            self.company.stop()
        stopping = super().stopService()
        if stopping is not None:
            await stopping
        if self._cache is not None:
            await (self._cache.leave_disk() if self._retired else self._cache.stopService())
        if self._backend is not None:
            await self._backend.close()

    async def _ship(self, events: list[Event]) -> None:
        await self.uplink.client.emit(events)

    # What the cluster is like.

    @property
    def cache(self) -> Cache:
        """The copy, once :meth:`joined` has answered."""
        if self._cache is None:
            raise RuntimeError("the member has not joined yet")
        return self._cache

    def nodes(self) -> Sequence[Server]:
        return self.cache.nodes()

    def cluster_name(self) -> str:
        return self.cache.cluster_name().cluster_name

    def known(self) -> Known:
        """What decisions about people depend on, at this moment."""
        return self.cache.known()

    def configuration(self) -> ClusterConfig:
        return self.cache.configuration()

    def user_authorities(self) -> Collection[bytes]:
        """The keys that sign users' certificates."""
        return self.cache.authorities("user").ssh_keys

    def authorities_ever(self) -> Collection[bytes]:
        """The same keys, however long ago they were heard of."""
        return self.cache.emergency().user_authorities

    def emergency(self) -> Emergency | None:
        """What counts for certificates for emergencies; None as long as auth has been heard of lately."""
        after_s = self._choice.emergency_after_s
        return self.cache.emergency() if math.isfinite(after_s) and self.cache.away_s >= after_s else None

    def host_authorities(self) -> Collection[bytes]:
        """The keys that sign hosts' certificates."""
        return self.cache.authorities("host").ssh_keys

    def server_limits(self, limits: ConnectionLimits) -> ServerLimits:
        """The bounds of an SSH server of this member, some of which the whole cluster shares."""

        def rhythm() -> KeepAliveRhythm:
            shared = self.cache.configuration()
            return KeepAliveRhythm(shared.keep_alive_interval_s, shared.keep_alive_count_max)

        share, startups = self._choice.rank.share, limits.max_startups
        bounds = Bounds(
            max_connections=share(limits.max_connections),
            max_startups=Startups(share(startups.start), startups.rate, share(startups.full)),
            per_source_max_startups=share(limits.per_source_max_startups),
            per_source_penalties=limits.per_source_penalties,
            prefix="teleport.connection_limits.",
        )
        return ServerLimits(bounds=bounds, keep_alive=rhythm)


def _standing(reactor: Reactor, choice: MemberChoice) -> Uplink | Follower:
    if choice.rank.leads:
        return Uplink(reactor, choice.data_dir, choice.membership, choice.record, os.urandom, random.random)
    return Follower(reactor, choice.data_dir, choice.membership, os.urandom)


def host_keys_of(identity: HostIdentity) -> HostKeys:
    """The host keys that an SSH server of this identity offers."""
    return host_keys(identity.ssh_key, SSHCertificate.from_line(identity.ssh_certificate))
