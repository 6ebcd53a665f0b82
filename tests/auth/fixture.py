"""A cluster in memory, with a clock that stands still, and callers of every kind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping
from io import BytesIO
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from attrs import define, field, frozen
from cryptography.x509 import Certificate
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from twisted.web.server import Request

from teleport_conch.audit.event import build
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.events import Events
from teleport_conch.auth.hosts.hosts import Registration
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.hosts.token_digests import open_digests
from teleport_conch.auth.opening import Founding, open_cluster
from teleport_conch.auth.recordings.files import Files
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.routes.api import open_gate
from teleport_conch.auth.routes.gate import Gate
from teleport_conch.auth.rules.callers import Peer, peer_of
from teleport_conch.certs import keys
from teleport_conch.certs.tls import TLSIdentity, load_certificate_pem
from teleport_conch.errors import TeleportError
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.joining import Heartbeat, JoinAnswer, JoinRequest
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.server import Server
from teleport_conch.resources.token import JoinToken
from teleport_conch.storage.backend import IBackend
from teleport_conch.storage.memory import MemoryBackend

NOW = 1_800_000_000.0
CLUSTER = "example.com"
WEB1 = "11111111-1111-4111-8111-111111111111"
WEB2 = "22222222-2222-4222-8222-222222222222"
GATEWAY = "33333333-3333-4333-8333-333333333333"
AUTH = "99999999-9999-4999-8999-999999999999"
ADDRESS = "10.0.0.5"

SSH_KEY = keys.public_line(keys.public_blob(keys.generate_ssh_key().public_key()))
TLS_KEY = keys.public_pem(keys.generate_tls_key().public_key())

_T = TypeVar("_T")


def entropy() -> Callable[[int], bytes]:
    """Bytes that look random, and are the same in each run."""
    counter = 0

    def random(count: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_128(counter.to_bytes(8, "big")).digest(count)

    return random


@frozen
class Emitted:
    """One event, as a test looks at it."""

    name: str
    fields: Mapping[str, object]
    success: bool


@define
class Recorder:
    """Keeps events, once the catalogue has accepted them."""

    events: list[Emitted] = field(factory=list)
    full: bool = False

    def __call__(self, name: str, fields: Mapping[str, object], success: bool = True) -> bool:
        build(name, success, fields, NOW, str(UUID(int=len(self.events))))
        if not self.full:
            self.events.append(Emitted(name, dict(fields), success))
        return not self.full

    def named(self, name: str) -> list[Emitted]:
        return [event for event in self.events if event.name == name]


def clocks_of(clock: Clock) -> Clocks:
    return Clocks(clock, clock.seconds, clock.seconds)


def here(call: Callable[[], _T]) -> Deferred[_T]:
    """What a thread would do, at once."""
    try:
        return succeed(call())
    except TeleportError:
        failed: Deferred[_T] = Deferred()
        failed.errback()
        return failed


@frozen
class Answered:
    """An answer of the API."""

    status: int
    body: Mapping[str, object]
    headers: Headers
    data: bytes = b""

    @property
    def code(self) -> object:
        error = self.body.get("error")
        return error.get("code") if isinstance(error, Mapping) else None

    @property
    def sentence(self) -> str:
        error = self.body.get("error")
        return str(error.get("message")) if isinstance(error, Mapping) else ""

    @property
    def items(self) -> list[dict[str, object]]:
        found = self.body["items"]
        assert isinstance(found, list)
        return found


class ClusterTestCase(SynchronousTestCase):
    """Tests of a cluster whose parts are called as they are, or through the API without TLS."""

    allow_loopback = False
    static_tokens: tuple[JoinToken, ...] = ()
    general = ClusterConfig()
    preference = AuthPreference()
    given: frozenset[str] = frozenset()
    own_names: frozenset[str] = frozenset()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.clocks = clocks_of(self.clock)
        self.backend: IBackend = MemoryBackend(self.clock)
        self.emitted = Recorder()
        self.peer: Peer | None = None
        self._peers: dict[Request, Peer | None] = {}
        self.log = Log()
        self.records = Path(self.mktemp())
        self.open()

    def open(self) -> None:
        """Start the cluster, again if it was started before."""
        options = self.static_tokens, self.allow_loopback, self.preference, self.given, self.own_names
        founding = Founding(CLUSTER, self.general, *options)
        opening = open_cluster(self.clocks, self.backend, founding, self.emitted, entropy())
        self.cluster: Cluster = self.now(opening)
        self.cluster.feed.start()
        self.events = Events(self.log, here)  # type: ignore[arg-type]  # a log that keeps them in memory
        files, host_of = Files(self.records), self.cluster.sessions.host_of
        self.recordings = Recordings.of(self.clocks, files, self.backend, here, self.emitted, host_of)
        parts = self.cluster, self.events, self.recordings
        self.gate: Gate = open_gate(*parts, self.emitted, "0.1.0", self._peer_of)

    def _peer_of(self, request: Request) -> Peer | None:
        return self._peers.setdefault(request, self.peer)

    def now(self, coroutine: Coroutine[object, object, _T]) -> _T:
        """What a coroutine answers, which waits for nothing."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def refused(self, coroutine: Coroutine[object, object, object], kind: type[TeleportError]) -> TeleportError:
        """The error that a coroutine ends with."""
        failure = self.failureResultOf(Deferred.fromCoroutine(coroutine), kind)  # type: ignore[arg-type]
        reason = failure.value
        assert isinstance(reason, TeleportError)
        return reason

    # Hosts.

    def token(self, **options: object) -> str:
        """The secret of a new token."""
        usual: dict[str, object] = {"roles": ("node", "proxy"), "ttl_s": 1800.0, "created_by": "alice"}
        secret, _ = self.now(self.cluster.tokens.create(**{**usual, **options}))  # type: ignore[arg-type]
        return secret

    def token_id(self, secret: str) -> str:
        """What lists and events call the token with a secret."""
        return self.digest(secret)[:12]

    def digest(self, secret: str) -> str:
        """What is kept of a token."""
        return self.now(open_digests(self.backend, entropy())).of(secret)

    def request(
        self,
        uuid: str = WEB1,
        name: str = "web1",
        role: str = "Node",
        *,
        token: str = "",
        principals: tuple[str, ...] = (),
        dns_names: tuple[str, ...] = (),
        ssh_key: str = SSH_KEY,
        tls_key: str = TLS_KEY,
    ) -> JoinRequest:
        """What a host sends; with a token that is good for everything, if none is given."""
        return JoinRequest(uuid, name, role, tls_key, ssh_key, token or self.token(), principals, dns_names)

    def register(self, request: JoinRequest, address: str = ADDRESS) -> JoinAnswer:
        """A host that is let in."""
        return self.now(self.cluster.joining.register(request, address))

    def join(self, uuid: str = WEB1, name: str = "web1", role: str = "Node", address: str = ADDRESS) -> JoinAnswer:
        """A host that joined with a token that is good for everything."""
        return self.register(self.request(uuid, name, role), address)

    def host(self, answer: JoinAnswer) -> Peer:
        """Who calls with the certificate of an answer."""
        certificate = load_certificate_pem(answer.tls_certificate)
        from teleport_conch.certs.trust import check_tls_certificate

        identity = check_tls_certificate(certificate, self.cluster.authorities.trusted, self.clock.seconds())
        return self.peer_of(identity)

    def peer_of(self, identity: TLSIdentity) -> Peer:
        """Who calls, with the roles of this moment."""
        return peer_of(identity, self.cluster.directory, self.clock.seconds())

    def registration(self, uuid: str = WEB1, kind: str = "node") -> Registration:
        """A host's, which joined."""
        found = self.cluster.hosts.get(HostKey(kind, uuid))
        assert found is not None
        return found

    def beat(
        self, uuid: str = WEB1, name: str = "web1", kind: str = "node", instance: str = "one", address: str = ADDRESS
    ) -> None:
        """A host says that it is there."""
        self.now(
            self.cluster.inventory.beat(self.registration(uuid, kind), heartbeat(uuid, name, kind, instance), address)
        )

    # Callers.

    def admin(self) -> Peer:
        return self.peer_of(TLSIdentity("host", AUTH, CLUSTER, ("Admin",), 1, NOW + 3600))

    def user(self, *roles: str) -> Peer:
        return self.peer_of(
            TLSIdentity("user", "alice", CLUSTER, roles or ("access",), 2, NOW + 3600, ("root",), not_before=NOW)
        )

    def certificate(self, name: str = "alice", *roles: str) -> Certificate:
        """A person's TLS certificate, as it is shown in the handshake."""
        return self.cluster.authorities.user.sign_user_tls(
            keys.load_public_pem(TLS_KEY),
            name=name,
            logins=("root",),
            roles=roles or ("access",),
            traits={},
            ttl_s=3600,
            now=self.clock.seconds(),
        )

    def call(self, peer: Peer | None, method: str, path: str, body: object = None) -> Answered:
        """Call the API as ``peer``."""
        self.peer = peer
        agent = RequestTraversalAgent(self.gate.resource())
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        producer = None if body is None else FileBodyProducer(BytesIO(data), cooperator=AtOnce())
        asked = agent.request(method.encode(), b"https://teleport.cluster.local" + path.encode(), None, producer)
        agent.flush()
        response: IResponse = self.successResultOf(asked)
        text = self.successResultOf(readBody(response))
        is_json = response.headers.getRawHeaders("content-type") == ["application/json"]
        return Answered(response.code, json.loads(text) if is_json else {}, response.headers, text)


class AtOnce:
    """A cooperator that does everything at once."""

    def cooperate(self, iterator: object) -> _Task:
        for _ in iterator:  # type: ignore[attr-defined]
            pass
        return _Task()


class _Task:
    def whenDone(self) -> Deferred[None]:
        return succeed(None)

    def stop(self) -> None:
        """It is over."""


@define
class Log:
    """A log in memory."""

    kept: list[Mapping[str, object]] = field(factory=list)
    searches: list[tuple[float, float, tuple[str, ...], int]] = field(factory=list)

    def append(self, events: list[Mapping[str, object]]) -> int:
        self.kept += events
        return len(events)

    def search(self, start: float, end: float, names: list[str], limit: int) -> list[Mapping[str, object]]:
        self.searches.append((start, end, tuple(names), limit))
        return self.kept[-limit:]

    def check_room(self, free_bytes: int, share: float) -> None:
        """Memory has room."""

    def close(self) -> None:
        """Nothing is open."""


def heartbeat(
    uuid: str = WEB1, name: str = "web1", kind: str = "node", instance: str = "one", **record: object
) -> Heartbeat:
    usual: dict[str, object] = {"addr": f"{ADDRESS}:3022", "labels": {"env": "prod"}, "version": "0.1.0"}
    return Heartbeat(instance, Server(kind=kind, name=uuid, hostname=name, **{**usual, **record}))  # type: ignore[arg-type]


class Storage:
    """A storage whose writes are another's; everything else is as it is."""

    def __init__(self, backend: IBackend, put: Callable[..., object]) -> None:
        self._backend = backend
        self.put = put

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)
