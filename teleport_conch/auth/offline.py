"""What ``tctl`` can do on the auth host while the service does not run: it opens the storage itself.

The answers have the names and shapes of :class:`teleport_conch.client.api.AuthClient`, so that a command need not know
which of the two it talks to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import cast
from uuid import uuid4

from attrs import define, frozen

from teleport_conch.audit.event import build
from teleport_conch.audit.log import EventLog
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.founding import database_of, events_of, founding_of
from teleport_conch.auth.opening import open_cluster
from teleport_conch.auth.people.certificates import EmergencyRequest, UserRequest
from teleport_conch.auth.routes.calls import LOCAL_ADMIN
from teleport_conch.auth.signing import sign_for
from teleport_conch.auth.state import authorities, storing
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.answers import Status, UserCertificates
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.config.settings import Settings
from teleport_conch.errors import StartError
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.server import Server
from teleport_conch.resources.token import JoinToken
from teleport_conch.starting import Reactor
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor
from teleport_conch.version import VERSION


@frozen
class LogWriter:
    """Writes events of auth's own to the log at once, without a trail.

    :raises StorageError: the log cannot be written.
    """

    _log: EventLog
    _host_uuid: str
    _host_name: str

    def __call__(self, name: str, fields: Mapping[str, object], success: bool = True) -> bool:
        fields = {"server_id": self._host_uuid, "server_hostname": self._host_name, **fields}
        self._log.append([build(name, success, fields, time.time(), str(uuid4()))])
        return True


@define(eq=False)
class OfflineAuth:
    """The auth service without the service. Opened by :func:`open_offline`; to be closed."""

    _cluster: Cluster
    _events: EventLog

    async def status(self) -> Status:
        known, config = self._cluster.authorities, self._cluster.configuration.general
        return Status(
            cluster_name=self._cluster.name,
            version=VERSION,
            ca_pins=known.pins(),
            session_recording=config.session_recording,
            user_ca=known.fingerprints("user"),
            host_ca=known.fingerprints("host"),
        )

    async def authority(self, kind: str) -> PublicAuthority:
        """:param kind: ``user`` or ``host``."""
        return self._cluster.authorities.public(kind)

    async def secrets(self, kind: str) -> Mapping[str, object]:
        """The resource of an authority with its private keys."""
        name = self._cluster.authorities.public(kind).cluster_name
        item = await self._cluster.backend.get(f"{authorities.PREFIX}{kind}/{name}")
        value = storing.decode(item)
        assert isinstance(value, Mapping)
        return value

    async def cluster_name(self) -> ClusterName:
        return self._cluster.configuration.name

    async def configuration(self) -> ClusterConfig:
        return self._cluster.configuration.general

    async def nodes(self) -> tuple[Server, ...]:
        """All nodes; whether they are there is not known while nobody listens to them."""
        return self._cluster.inventory.all("node")

    async def proxies(self) -> tuple[Server, ...]:
        """All proxies, likewise."""
        return self._cluster.inventory.all("proxy")

    async def tokens(self) -> tuple[JoinToken, ...]:
        return await self._cluster.tokens.all()

    async def sign_user(
        self,
        user: str,
        logins: Sequence[str],
        ttl_s: float,
        public_ssh_key: str,
        *,
        public_tls_key: str = "",
        roles: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> UserCertificates:
        """Certificates for a person."""
        keys = public_ssh_key, public_tls_key
        request = UserRequest(user, tuple(logins), *keys, tuple(roles), ttl_s, tuple(addresses))
        signed = await sign_for(self._cluster, request, LOCAL_ADMIN)
        known = self._cluster.authorities
        return UserCertificates(signed.ssh, signed.tls, (known.public("user"), known.public("host")))

    async def sign_host(self, principals: Sequence[str], public_ssh_key: str, ttl_s: float | None = None) -> str:
        """A host's SSH certificate, as a line."""
        return self._cluster.certificates.sign_host(principals, public_ssh_key, ttl_s or 0.0, LOCAL_ADMIN)

    async def sign_emergency(
        self, name: str, logins: Sequence[str], addresses: Sequence[str], ttl_s: float, public_ssh_key: str
    ) -> str:
        """A certificate for emergencies, as a line."""
        request = EmergencyRequest(name, tuple(logins), tuple(addresses), public_ssh_key, ttl_s)
        return self._cluster.certificates.sign_emergency(request, LOCAL_ADMIN)

    async def close(self) -> None:
        self._events.close()
        await self._cluster.backend.close()


async def open_offline(reactor: Reactor, settings: Settings) -> OfflineAuth:
    """The cluster that lies at the path of the settings.

    :raises StorageInUse: the service runs, and has to be asked instead.
    :raises StartError: there is no cluster yet; the first start of the service founds it.
    """
    database = database_of(settings)
    if not database.exists():
        raise StartError(
            f"There is no cluster on this host, since {database} does not exist: the first start of the auth service"
            " makes it."
        )
    host_uuid = IdentityStore(settings.teleport.data_dir, os.urandom).host_uuid()
    clocks = Clocks(reactor, time.time, time.monotonic)
    backend = await SQLiteBackend.open(cast(ThreadedReactor, reactor), database)
    try:
        events = EventLog(events_of(settings, host_uuid), reactor)
        founding = founding_of(settings, clocks.wall())
        emit = LogWriter(events, host_uuid, settings.teleport.nodename)
        cluster = await open_cluster(clocks, backend, founding, emit)
    except BaseException:
        await backend.close()
        raise
    return OfflineAuth(cluster, events)
