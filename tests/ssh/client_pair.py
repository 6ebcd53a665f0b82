"""Our client and our server with memory in place of TCP."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.ssh.client.auth import Credentials
from teleport_conch.ssh.client.connection import ClientConnection, connect
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.identities import KeyIdentity
from teleport_conch.ssh.client.known_hosts import KnownHosts, KnownHostsVerifier
from teleport_conch.ssh.client.transport import ClientOptions, ClientTransport
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.factory import ServerFactory
from tests.certs import samples
from tests.ssh.hosts import CA_BLOB, NOW, line
from tests.ssh.in_memory import MemoryTCP, sample_host_keys
from tests.ssh.logins import SamplePolicy

NAME = HostName("web1", 3022)
KNOWN = line("*", CA_BLOB, "@cert-authority")


class EchoChannel(Channel):
    """Runs any command: repeats the input until its end."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[bytes, bytes]] = []

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        self.requests.append((name, payload))
        return name != b"pty-req"

    def data_received(self, data: bytes) -> None:
        self.write(data)
        self.consumed(len(data))

    def eof_received(self) -> None:
        self.send_request(b"exit-status", wire.uint32(3))
        self.close()


@implementer(IStreamClientEndpoint)
@define
class Wire:
    """An endpoint whose other side is the test."""

    tcp: MemoryTCP = field(factory=MemoryTCP)
    protocol: ClientTransport | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        built = protocolFactory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 3022))
        self.protocol = cast(ClientTransport, built)
        self.protocol.makeConnection(self.tcp)
        return succeed(cast(IProtocol, built))

    @property
    def client(self) -> ClientTransport:
        assert self.protocol is not None
        return self.protocol

    def lose(self) -> None:
        """TCP ends."""
        self.client.connectionLost(Failure(ConnectionDone()))


def client_options(known: str = KNOWN, **credentials: object) -> ClientOptions:
    """Somebody with the certificate of the samples, who knows this of hosts."""
    who = Credentials("alice", [KeyIdentity.of(samples.SSH_KEY, samples.user_certificate())])
    # mypy knows the type of each field that evolve() is given by name, and of none in a dictionary.
    who = evolve(who, **credentials)  # type: ignore[arg-type]
    return ClientOptions(NAME, who, KnownHostsVerifier(KnownHosts.parse(known), lambda: NOW))


class ClientCase(SynchronousTestCase):
    """A client that connects to a server of ours; nothing moves before :meth:`pump`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.policy = SamplePolicy()
        self.factory = ServerFactory(self.clock, self.policy, sample_host_keys())

    def dial(self, options: ClientOptions | None = None) -> Deferred[ClientConnection]:
        """A client that begins to connect."""
        self.wire = Wire()
        dialled = Deferred.fromCoroutine(connect(self.clock, self.wire, options or client_options()))
        self.server_tcp = MemoryTCP()
        self.server = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 50000))
        self.server.makeConnection(self.server_tcp)
        return dialled

    def pump(self) -> None:
        """Moves bytes until both sides are quiet, or do not read."""
        while self.server_tcp.written or self.wire.tcp.written:
            if self.wire.tcp.reading:
                self.wire.client.dataReceived(self.server_tcp.take())
            elif not self.wire.tcp.written:
                return
            self.server.dataReceived(self.wire.tcp.take())

    def connected(self, options: ClientOptions | None = None) -> ClientConnection:
        """A client that is logged in."""
        dialled = self.dial(options)
        self.pump()
        return self.successResultOf(dialled)

    def serve(self, kind: bytes, make: Callable[[], Channel]) -> None:
        """What the server opens for a channel of a kind."""
        self.policy.owner.answers[kind] = make

    def problem_of(self, dialled: Deferred[ClientConnection], kind: type[Exception]) -> str:
        """The sentence with which a connection failed, once TCP is closed."""
        if self.wire.tcp.losing and not self.wire.tcp.aborted:
            self.assertNoResult(dialled)
            self.wire.lose()
        return str(self.failureResultOf(dialled, kind).value)

    def ending_of(self, client: ClientConnection) -> object:
        """What ended a connection."""
        waiting = Deferred.fromCoroutine(client.ended())
        self.assertNoResult(waiting)
        self.wire.lose()
        return self.successResultOf(waiting)
