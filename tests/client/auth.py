"""The real API of the auth service, over real TLS on loopback, in front of a cluster in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from attrs import define, field
from cryptography.x509 import Certificate
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.trial.unittest import TestCase

from teleport_conch.audit.log import EventLog
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.events import Events
from teleport_conch.auth.opening import Founding, open_cluster
from teleport_conch.auth.recordings.files import Files
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.routes.api import open_gate, site_of
from teleport_conch.auth.routes.entrance import entrance_to
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.routes.tls import ServerTLS
from teleport_conch.certs import keys, tls
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.api import AuthClient
from teleport_conch.client.joining import identity_of
from teleport_conch.client.tls import Identity, client_options
from teleport_conch.https.tls import BoundedTLSFactory
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.joining import JoinRequest
from teleport_conch.resources.token import JoinToken, token_digest
from teleport_conch.storage.memory import MemoryBackend
from tests.client.servers import the_reactor

CLUSTER = "example.com"
TOKEN = "a-static-token-of-the-tests"
SSH_KEY = keys.generate_ssh_key()
TLS_KEY = keys.generate_tls_key()


def _ignore(name: str, fields: Mapping[str, object], success: bool = True) -> bool:
    """An event that no test looks at."""
    return True


@define(eq=False)
class Auth:
    """An auth service that a test can stop and start again, on the same port and with the same state.

    :ivar ahead_s: how far its clock is ahead of the real one, in seconds.
    :ivar timers: whose time its waits follow.
    """

    test: TestCase
    general: ClusterConfig = field(factory=ClusterConfig)
    ahead_s: float = 0.0
    timers: IReactorTime = field(factory=the_reactor)
    cluster: Cluster = field(init=False)
    gate: Gate = field(init=False)
    _backend: MemoryBackend = field(init=False)
    _host_uuid: str = field(init=False, factory=lambda: str(uuid4()))
    _port: int = field(init=False, default=0)
    _listening: IListeningPort | None = field(init=False, default=None)
    _factory: BoundedTLSFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._backend = MemoryBackend(the_reactor())
        self.test.addCleanup(lambda: Deferred.fromCoroutine(self.stop()))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def pin(self) -> str:
        return self.cluster.authorities.pins()[0]

    def wall(self) -> float:
        return time.time() + self.ahead_s

    async def start(self) -> None:
        """Take calls, on the same port as before."""
        clocks = Clocks(self.timers, self.wall, self.timers.seconds)
        static = JoinToken(token_digest(TOKEN), ("Node", "Proxy"), "configuration", 0.0)
        founding = Founding(CLUSTER, self.general, (static,), allow_loopback=True)
        self.cluster = await open_cluster(clocks, self._backend, founding, _ignore)
        events = Events(EventLog(Path(self.test.mktemp()), the_reactor()), maybeDeferred)  # type: ignore[arg-type]
        self.test.addCleanup(events.close)
        files, host_of = Files(Path(self.test.mktemp())), self.cluster.sessions.host_of
        recordings = Recordings.of(clocks, files, self._backend, maybeDeferred, _ignore, host_of)  # type: ignore[arg-type]
        self.gate = open_gate(self.cluster, events, recordings, _ignore, "0.1.0")
        server_tls = ServerTLS(clocks, self.cluster.authorities, self._host_uuid, ["127.0.0.1"])
        site = site_of(self.cluster, self.gate)
        self._factory = BoundedTLSFactory(server_tls, site, self.timers, 1000, 1000)
        entrance = entrance_to(self._factory, self.cluster, self.timers)
        listening = the_reactor().listenTCP(self._port, entrance, interface="127.0.0.1")  # type: ignore[attr-defined]
        self._listening, self._port = listening, listening.getHost().port
        self.cluster.start()

    async def stop(self) -> None:
        """Be gone, without a word to those who are connected."""
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        await maybeDeferred(listening.stopListening)
        for protocol in list(self._factory.protocols):
            protocol.abortConnection()
        await self.cluster.stop()

    def forget_everything(self) -> None:
        """At the next start it is another cluster, at the same address."""
        self._backend = MemoryBackend(the_reactor())

    # Who calls.

    def client(self, identity: Identity | None = None) -> AuthClient:
        """A client that trusts this cluster."""
        trusted = self.cluster.authorities.public("host").tls_certificates
        client = AuthClient(the_reactor(), [self.address], client_options(identity, trusted))
        self.test.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def admin(self) -> AuthClient:
        """The administrator on auth's own host."""
        return self.client(self.identity("Admin"))

    def identity(self, role: str, host_uuid: str = "", node_name: str = "auth") -> HostIdentity:
        """One that auth would make for itself: it has no registration."""
        host, uuid = self.cluster.authorities.host, host_uuid or self._host_uuid
        ssh = host.sign_host_ssh(
            keys.public_blob(SSH_KEY.public_key()),
            host_uuid=uuid,
            node_name=node_name,
            cluster_name=CLUSTER,
            principals=(),
            role=role,
            ttl_s=3600.0,
            now=self.wall(),
        )
        return HostIdentity(
            host_uuid=uuid,
            node_name=node_name,
            cluster_name=CLUSTER,
            role=role,
            ssh_key=keys.ssh_private_pem(SSH_KEY),
            ssh_certificate=ssh.to_line(),
            tls_key=keys.private_pem(TLS_KEY),
            tls_certificate=tls.certificate_pem(self._host_certificate(role, uuid)),
            authorities=(self.cluster.authorities.public("user"), self.cluster.authorities.public("host")),
        )

    def _host_certificate(self, role: str, host_uuid: str) -> Certificate:
        return self.cluster.authorities.host.sign_host_tls(
            TLS_KEY.public_key(),
            host_uuid=host_uuid,
            cluster_name=CLUSTER,
            role=role,
            names=(),
            ttl_s=3600.0,
            now=self.wall(),
        )

    async def joined(self, role: str = "Node", node_name: str = "web1", host_uuid: str = "") -> HostIdentity:
        """The identity of a host that joined."""
        request = self.request(role, node_name, host_uuid)
        answer = await self.client().register(request)
        return identity_of(answer, request, keys.ssh_private_pem(SSH_KEY), keys.private_pem(TLS_KEY))

    def request(
        self, role: str = "Node", node_name: str = "web1", host_uuid: str = "", token: str = TOKEN
    ) -> JoinRequest:
        return JoinRequest(
            host_uuid=host_uuid or str(uuid4()),
            node_name=node_name,
            role=role,
            public_tls_key=keys.public_pem(TLS_KEY.public_key()),
            public_ssh_key=keys.public_line(keys.public_blob(SSH_KEY.public_key())),
            token=token,
        )
