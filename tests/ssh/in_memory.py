"""A server of ours and Conch's own client with memory in place of TCP, and packets for clients that break the rules."""

from __future__ import annotations

import os
from functools import cache

from attrs import define, field
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.hostkeys import HostKeys, host_keys
from tests.certs import samples
from tests.ssh.logins import SamplePolicy, ed25519_client

CLIENT_ADDRESS = IPv4Address("TCP", "192.0.2.7", 50000)


@define
class MemoryTCP:
    """One end of a connection: what is written waits in ``written``."""

    written: bytearray = field(factory=bytearray)
    producer: object = None
    losing: bool = False
    aborted: bool = False
    options: set[str] = field(factory=set)
    bufferSize: int = 1 << 16
    SEND_LIMIT: int = 1 << 17
    reading: bool = True

    def write(self, data: bytes) -> None:
        self.written += data

    def loseConnection(self) -> None:
        self.losing = True

    def loseWriteConnection(self) -> None:
        self.losing = True
        self.options.add("shut")

    def abortConnection(self) -> None:
        self.aborted = True

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.options.add("no delay")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options.add("keep alive")

    def take(self) -> bytes:
        taken = bytes(self.written)
        self.written.clear()
        return taken


class MemoryClient(SSHClientTransport):
    """Conch's client, which trusts any host key and takes down what it gets."""

    supportedPublicKeys = [b"ssh-ed25519"]

    def __init__(self) -> None:
        self.secure = 0
        self.got: list[tuple[int, bytes]] = []
        self.errors: list[tuple[int, bytes]] = []
        self.unimplemented: list[int] = []

    def verifyHostKey(self, hostKey: bytes, fingerprint: str) -> Deferred[bool]:
        self.host_key = hostKey
        return succeed(True)

    def connectionSecure(self) -> None:
        self.secure += 1

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.errors.append((reasonCode, description))

    def receiveUnimplemented(self, seqnum: int) -> None:
        self.unimplemented.append(seqnum)

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        if messageNum >= 50 or messageNum == 6:
            self.got.append((messageNum, payload))
        else:
            super().dispatchMessage(messageNum, payload)


@cache
def sample_host_keys() -> HostKeys:
    return host_keys(keys.ssh_private_pem(samples.SSH_KEY), samples.host_certificate())


def offer_everything(server: ServerTransport) -> None:
    """Has a server offer all that the engine speaks, as Conch's client has no MAC of those that servers offer."""
    server.key_exchanges, server.macs = algorithms.KEY_EXCHANGES, algorithms.MACS


class Pair:
    """A server and a client that is connected to it; nothing moves before :meth:`pump`."""

    def __init__(
        self,
        client: MemoryClient | None = None,
        factory: ServerFactory | None = None,
        client_address: IAddress = CLIENT_ADDRESS,
    ) -> None:
        self.clock = Clock()
        self.policy = SamplePolicy()
        self.factory = factory or ServerFactory(self.clock, self.policy, sample_host_keys())
        self.server: ServerTransport = self.factory.buildProtocol(client_address)
        self.server_tcp, self.client_tcp = MemoryTCP(), MemoryTCP()
        self.client = client or MemoryClient()
        offer_everything(self.server)
        self.server.makeConnection(self.server_tcp)
        self.client.makeConnection(self.client_tcp)

    def pump(self) -> None:
        """Moves bytes until both sides are quiet."""
        while self.server_tcp.written or self.client_tcp.written:
            self.client.dataReceived(self.server_tcp.take())
            self.server.dataReceived(self.client_tcp.take())

    def send(self, number: int, payload: bytes = b"") -> None:
        """The client says this, and the server has its turn."""
        self.client.sendPacket(number, payload)
        self.pump()

    def lose(self) -> None:
        """The TCP connection ends."""
        self.server.connectionLost(Failure(ConnectionDone()))

    def begin_authentication(self) -> None:
        self.pump()
        self.send(5, wire.string(b"ssh-userauth"))

    def log_in(self) -> None:
        """All of it, up to the connection service."""
        self.begin_authentication()
        assert self.client.sessionID is not None
        self.send(50, ed25519_client().request(session_id=self.client.sessionID))
        assert (52, b"") in self.client.got, self.client.got


def plain_packet(number: int, payload: bytes = b"") -> bytes:
    """A message as it is sent before there are keys (RFC 4253, section 6)."""
    body = wire.byte(number) + payload
    padding = 8 - (len(body) + 5) % 8
    padding += 8 if padding < 4 else 0
    return wire.uint32(len(body) + padding + 1) + wire.byte(padding) + body + os.urandom(padding)
