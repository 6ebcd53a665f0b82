"""``twist teleport-auth``: builds the auth service from its settings, and starts it step by step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import ClassVar, TypeVar, cast

from attrs import frozen
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from teleport_conch.audit.event import Event
from teleport_conch.audit.log import EventLog
from teleport_conch.audit.trail import Trail
from teleport_conch.auth import limits
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.events import Events
from teleport_conch.auth.founding import RECORDINGS, SPOOL, database_of, events_of, founding_of
from teleport_conch.auth.hosts.own import OwnIdentity
from teleport_conch.auth.opening import open_cluster
from teleport_conch.auth.people.hashing_threads import HashingThreads
from teleport_conch.auth.recordings.files import Files
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.routes.api import open_gate, site_of
from teleport_conch.auth.routes.entrance import entrance_to
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.tls import ServerTLS
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.config.addresses import Address, as_ip
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.paths import prepare_data_dir
from teleport_conch.config.settings import AuthSettings, Settings
from teleport_conch.https.tls import BoundedTLSFactory, close
from teleport_conch.periodic import Periodic
from teleport_conch.starting import Reactor, port_number
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor
from teleport_conch.supervisor.account import why_as_root
from teleport_conch.supervisor.apart import check_alone
from teleport_conch.supervisor.given import Given
from teleport_conch.supervisor.listening import Listener, listen
from teleport_conch.supervisor.plan import plan_for
from teleport_conch.supervisor.service import supervised
from teleport_conch.supervisor.working import Retiring
from teleport_conch.version import VERSION

RENEWAL_CHECK_S = 60.0

_Answer = TypeVar("_Answer")


class Options(TeleportOptions):
    """The options of ``twist teleport-auth``."""

    services: ClassVar[frozenset[str]] = frozenset({"auth"})


class AuthService(Retiring):
    """The auth service. :attr:`port` and :attr:`ca_pin` are there once :attr:`started` has fired.

    :param given: what a supervisor started it with; None where it has none.
    """

    port: int
    ca_pin: str
    _log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings, given: Given | None = None) -> None:
        super().__init__(reactor)
        self._given = given
        self._auth_reactor = reactor
        self._settings = settings
        self._clocks = Clocks(reactor, time.time, time.monotonic)
        self._store = IdentityStore(settings.teleport.data_dir, os.urandom)
        self._opened = AsyncExitStack()

    async def start_up(self) -> None:
        """Folder, storage, cluster, listener, in this order."""
        settings = self._settings
        prepare_data_dir(settings.teleport.data_dir)
        check_alone(settings.teleport.data_dir, os.geteuid())
        if why := why_as_root("Auth", settings.teleport.account):
            self._log.warn("{why}", why=why)
        host_uuid = self._store.host_uuid()
        founding = founding_of(settings, self._clocks.wall())
        backend = await SQLiteBackend.open(cast(ThreadedReactor, self._auth_reactor), database_of(settings))
        self._opened.push_async_callback(backend.close)
        events = Events(EventLog(events_of(settings, host_uuid), self._auth_reactor), self._in_thread)
        self._opened.callback(events.close)
        emit = self._open_trail(host_uuid, events)
        cluster = await open_cluster(self._clocks, backend, founding, emit, in_pool=self._open_threads())
        recordings = self._open_recordings(cluster, emit)
        gate = open_gate(cluster, events, recordings, emit, VERSION)
        await self._serve(cluster, gate, host_uuid)
        self.ca_pin = cluster.authorities.pins()[0]
        where = str(Address(settings.auth.listen_addr.host, self.port))
        self._log.info(
            "Auth of {name} serves on {where}, CA pin {pin}", name=cluster.name, where=where, pin=self.ca_pin
        )

    def _in_thread(self, call: Callable[[], _Answer]) -> Deferred[_Answer]:
        threads = cast(IReactorThreads, self._auth_reactor).getThreadPool()
        answer: Deferred[_Answer] = deferToThreadPool(self._auth_reactor, threads, call)
        return answer

    def _open_threads(self) -> HashingThreads:
        threads = HashingThreads(cast(IReactorFromThreads, self._auth_reactor))
        threads.start()
        self._opened.callback(threads.stop)
        return threads

    def _open_trail(self, host_uuid: str, events: Events) -> Emit:
        """How auth's own events come to the log: by the same way as those of nodes, so that none is lost."""

        async def ship(batch: list[Event]) -> None:
            await events.keep(batch)

        defaults = {"server_id": host_uuid, "server_hostname": self._settings.teleport.nodename}
        trail = Trail(self._auth_reactor, self._settings.teleport.data_dir / SPOOL, ship, defaults)
        trail.startService()
        self._opened.push_async_callback(trail.stopService)
        return _Emitter(trail)

    def _open_recordings(self, cluster: Cluster, emit: Emit) -> Recordings:
        files, host_of = Files(self._settings.teleport.data_dir / RECORDINGS), cluster.sessions.host_of
        recordings = Recordings.of(cluster.clocks, files, cluster.backend, self._in_thread, emit, host_of)
        recordings.start()
        self._opened.push_async_callback(recordings.stop)
        return recordings

    async def _serve(self, cluster: Cluster, gate: Gate, host_uuid: str) -> None:
        auth, reactor = self._settings.auth, self._auth_reactor
        tls = ServerTLS(self._clocks, cluster.authorities, host_uuid, _names(auth))
        site = site_of(cluster, gate)
        per_address = self._settings.teleport.connection_limits.max_connections
        factory = BoundedTLSFactory(tls, site, reactor, limits.MAX_CONNECTIONS, per_address)
        entrance = entrance_to(factory, cluster, reactor)
        listening = await listen(reactor, listener_of(self._settings), self._given, entrance)
        self.port = port_number(listening)
        cluster.start()
        self._opened.push_async_callback(cluster.stop)
        self._opened.push_async_callback(close, reactor, listening, entrance, factory)
        self._keep_renewed(cluster, tls, host_uuid)

    def _keep_renewed(self, cluster: Cluster, tls: ServerTLS, host_uuid: str) -> None:
        """Write the identity for tctl now, and keep it and auth's own certificate fresh."""
        own = OwnIdentity(self._clocks, cluster.authorities, self._store, host_uuid, self._settings.teleport.nodename)
        own.renew()

        def renew_if_due() -> None:
            tls.renew_if_due()
            own.renew_if_due()

        renewal = Periodic(self._auth_reactor, RENEWAL_CHECK_S, renew_if_due, lambda interval: interval, "renewal")
        renewal.setServiceParent(self)

    def stopService(self) -> Deferred[None]:
        """Takes no more calls, writes what is not written yet, and closes the storage last."""
        return Deferred.fromCoroutine(self._stop(super().stopService))

    async def retire(self) -> None:
        """Ends at once: one process at a time has the storage, and callers call again."""
        await self.stopService()

    async def drained(self) -> None:
        """See :meth:`retire`."""

    async def _stop(self, stop_parts: Callable[[], Deferred[None]]) -> None:
        await stop_parts()
        await self._opened.aclose()  # in the reverse order of opening: the listener first, the storage last


@frozen
class _Emitter:
    """Hands events to the trail. A mistake in one of them is logged, and nothing else suffers from it."""

    _trail: Trail
    _log = Logger()

    def __call__(self, name: str, fields: Mapping[str, object], success: bool = True) -> bool:
        try:
            return self._trail.emit(name, success=success, **fields)
        except ValueError:
            self._log.failure("The event {name} could not be kept.", name=name)
            return False


def _names(auth: AuthSettings) -> list[str]:
    """The names and addresses under which auth is dialled, as far as the configuration has them."""
    listening = as_ip(auth.listen_addr.host)
    own = [str(listening)] if listening is not None and not listening.is_unspecified else []
    return own + [address.host for address in auth.public_addr]


def listener_of(settings: Settings) -> Listener:
    """Where auth listens."""
    return Listener("auth", "Auth", settings.auth.listen_addr)


def makeService(options: Options) -> IService:
    """The service of the plugin ``teleport-auth``."""
    from twisted.internet import reactor as installed

    reactor, settings = cast(Reactor, installed), options.settings
    plan = plan_for(settings, "Auth", [listener_of(settings)])
    return supervised(reactor, settings, plan, lambda given: AuthService(reactor, settings, given))
