"""The engine at both ends of a connection: a server of ours and a client of ours, with memory in place of TCP."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.signatures import Signature, verify
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.transport.algorithms import ED25519
from teleport_conch.ssh.transport.base import Transport
from teleport_conch.ssh.transport.client_exchange import ClientExchange
from teleport_conch.ssh.transport.exchange import KeyExchange, Offer
from teleport_conch.ssh.transport.hostkeys import HostKeys
from tests.ssh.in_memory import MemoryTCP, offer_everything, sample_host_keys
from tests.ssh.logins import SamplePolicy, ed25519_client

OFFER = Offer((ED25519,))


class OurClient(Transport):
    """A client of the engine, as far as its transport goes; it takes down what it gets.

    :ivar wait: what the check of the host key waits for.
    """

    isClient = True
    ourVersionString = b"SSH-2.0-Ours"

    def __init__(self, clock: IReactorTime, offer: Offer = OFFER) -> None:
        super().__init__()
        self.clock = clock
        self.offer = offer
        self.wait: Deferred[None] | None = None
        self.secure = 0
        self.checked: list[bytes] = []
        self.got: list[tuple[int, bytes]] = []
        self.errors: list[tuple[int, bytes]] = []

    def make_exchange(self) -> KeyExchange:
        return ClientExchange(self, self.offer, self.check)

    async def check(self, algorithm: bytes, blob: bytes, signature: bytes, exchange_hash: bytes) -> None:
        key = SSHCertificate.parse(blob).public_key if b"-cert-" in algorithm else blob
        verify(public_key.parse(key), Signature.parse(signature), exchange_hash)
        self.checked.append(blob)
        if self.wait is not None:
            await self.wait

    def connectionSecure(self) -> None:
        self.secure += 1

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.errors.append((reasonCode, description))

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """What is for services is taken down; a login that succeeded is taken note of."""
        if messageNum == 6 or (messageNum >= 50 and self._exchange.may_receive):
            self.got.append((messageNum, payload))
            if messageNum == 52:
                self.authenticated()
        else:
            super().dispatchMessage(messageNum, payload)

    def exchange_keys(self) -> None:
        """Begins an exchange."""
        self._exchange.begin()


class Ends:
    """A server and a client of ours; nothing moves before :meth:`pump`."""

    def __init__(self, offer: Offer = OFFER, host_keys: HostKeys | None = None) -> None:
        self.clock = Clock()
        self.policy = SamplePolicy()
        keys = sample_host_keys() if host_keys is None else host_keys
        self.factory = ServerFactory(self.clock, self.policy, keys)
        self.server = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 50000))
        self.client = OurClient(self.clock, offer)
        offer_everything(self.server)
        self.server_tcp, self.client_tcp = MemoryTCP(), MemoryTCP()
        self.server.makeConnection(self.server_tcp)
        self.client.makeConnection(self.client_tcp)

    def pump(self) -> None:
        """Moves bytes until both sides are quiet; who does not read gets none."""
        while self._move(self.client_tcp, self.server_tcp, self.server.dataReceived) or self._move(
            self.server_tcp, self.client_tcp, self.client.dataReceived
        ):
            pass

    def _move(self, source: MemoryTCP, target: MemoryTCP, receive: Callable[[bytes], None]) -> bool:
        if not source.written or not target.reading:
            return False
        receive(source.take())
        return True

    def send(self, number: int, payload: bytes = b"") -> None:
        """The client says this, and the server has its turn."""
        self.client.sendPacket(number, payload)
        self.pump()

    def begin_authentication(self) -> None:
        self.pump()
        self.send(5, wire.string(b"ssh-userauth"))

    def log_in(self) -> None:
        """All of it, up to the connection service."""
        self.begin_authentication()
        assert self.client.sessionID
        self.send(50, ed25519_client().request(session_id=self.client.sessionID))
        assert (52, b"") in self.client.got, (self.client.got, self.client.errors)

    def lose(self) -> None:
        """The TCP connection ends."""
        for end in (self.server, self.client):
            end.connectionLost(Failure(ConnectionDone()))
