"""Threats to the exchange of keys, in both roles, each on the whole transport: values and messages that are no such."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.client.connection import connect
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport import kex
from teleport_conch.ssh.transport.algorithms import KEY_EXCHANGES
from teleport_conch.ssh.transport.negotiation import EachWay, KexInit, Names
from tests.ssh.client_pair import Wire, client_options
from tests.ssh.in_memory import MemoryTCP, offer_everything, plain_packet, sample_host_keys
from tests.ssh.logins import SamplePolicy

VERSION = b"SSH-2.0-Test\r\n"
ED25519 = b"ssh-ed25519-cert-v01@openssh.com"
NONE: EachWay[Names] = EachWay((b"none",), (b"none",))
CIPHER: EachWay[Names] = EachWay((b"aes128-ctr",), (b"aes128-ctr",))
MAC: EachWay[Names] = EachWay((b"hmac-sha2-256",), (b"hmac-sha2-256",))


def offer(method: bytes) -> bytes:
    """The content of an offer of one method."""
    return KexInit(b"c" * 16, (method,), (ED25519,), CIPHER, MAC, NONE).to_payload()[1:]


def packets(data: bytes) -> list[tuple[int, bytes]]:
    """The messages behind a version, as they are sent before there are keys."""
    found = []
    data = data.partition(b"\r\n")[2]
    while data:
        length = int.from_bytes(data[:4], "big")
        payload = data[5 : 4 + length - data[4]]
        found.append((payload[0], payload[1:]))
        data = data[4 + length :]
    return found


class KeyExchangeThreats(SynchronousTestCase):
    """A server, or a client, whose peer the test plays."""

    def assert_ended(self, tcp: MemoryTCP, reason: int, sentence: str) -> None:
        """The last message is a goodbye with this reason, and the connection is closed."""
        number, content = packets(bytes(tcp.written))[-1]
        reader = wire.Reader(content)
        self.assertEqual((number, reader.uint32(), reader.text()), (1, reason, sentence))
        self.assertTrue(tcp.losing)

    def to_server(self, *messages: bytes) -> MemoryTCP:
        """What a server answers to these bytes."""
        self.policy = SamplePolicy()
        factory = ServerFactory(Clock(), self.policy, sample_host_keys())
        server, tcp = factory.buildProtocol(IPv4Address("TCP", "192.0.2.7", 50000)), MemoryTCP()
        offer_everything(server)
        server.makeConnection(tcp)
        server.dataReceived(VERSION + b"".join(messages))
        return tcp

    def to_client(self, *messages: bytes) -> str:
        """The sentence with which a client gives up a server that says this."""
        endpoint = Wire()
        dialled = Deferred.fromCoroutine(connect(Clock(), endpoint, client_options()))
        endpoint.client.dataReceived(VERSION + b"".join(messages))
        self.assertTrue(endpoint.tcp.losing)
        self.client_tcp = endpoint.tcp
        endpoint.lose()
        return str(self.failureResultOf(dialled, ConnectionProblem).value)


def reply(server_public: bytes, more: bytes = b"") -> bytes:
    """A server's message with this public value."""
    return plain_packet(31, wire.string(b"host key") + wire.string(server_public) + wire.string(b"signature") + more)


VALUES = (
    (b"curve25519-sha256", bytes(32), "an X25519 value of small order"),
    (b"curve25519-sha256@libssh.org", b"\1" + bytes(31), "an X25519 value of small order"),
    (b"curve25519-sha256", bytes(31), "an X25519 value of 31 bytes, where 32 are due"),
    (b"ecdh-sha2-nistp256", b"\4" + b"\1" * 64, "a point that is not on secp256r1"),
    (b"ecdh-sha2-nistp256", b"\0", "a point of secp256r1 of 1 bytes, where 65 are due"),
    (b"ecdh-sha2-nistp384", b"\4" + bytes(96), "a point that is not on secp384r1"),
    (b"ecdh-sha2-nistp521", b"\4" + b"\xff" * 132, "a point that is not on secp521r1"),
)


class T16PublicValues(KeyExchangeThreats):
    """Threat 16: public values of small order, off their curve, or of another length."""

    def test_server(self) -> None:
        """A server ends the connection with code 3, and signs nothing."""
        self.patch(ServerTransport, "key_exchanges", KEY_EXCHANGES)
        for method, value, sentence in VALUES:
            tcp = self.to_server(plain_packet(20, offer(method)), plain_packet(30, wire.string(value)))
            self.assertEqual([number for number, _ in packets(bytes(tcp.written))], [20, 1])
            self.assert_ended(tcp, 3, sentence)

    def test_client(self) -> None:
        """So does a client."""
        for method, value, sentence in VALUES:
            problem = self.to_client(plain_packet(20, offer(method)), reply(value))
            self.assertEqual(problem, f"[web1]:3022 does not speak SSH as it should: {sentence}.")
            self.assert_ended(self.client_tcp, 3, sentence)

    def test_hybrid(self) -> None:
        """ML-KEM: an impossible key, and a good one with a zero point beside it."""
        if not kex.HAS_MLKEM:
            return
        name = b"mlkem768x25519-sha256"
        good = kex.METHODS[name].start().public
        for value, sentence in (
            (b"\xff" * 1184 + good[1184:], "an ML-KEM key whose numbers are out of range"),
            (good[:1184] + bytes(32), "an X25519 value of small order"),
        ):
            tcp = self.to_server(plain_packet(20, offer(name)), plain_packet(30, wire.string(value)))
            self.assert_ended(tcp, 3, sentence)


class T18TrailingBytes(KeyExchangeThreats):
    """Threat 18: messages of the exchange that go on behind their end, or stop before it."""

    def test_offer(self) -> None:
        """An offer with a byte more, or one less, in either role."""
        good = offer(b"curve25519-sha256")
        for content in (good + b"\0", good[:-1]):
            self.assert_ended(self.to_server(plain_packet(20, content)), 2, "a message cannot be read")
            problem = self.to_client(plain_packet(20, content))
            self.assertTrue(problem.startswith("[web1]:3022 does not speak SSH as it should: "), problem)
            self.assert_ended(self.client_tcp, 2, "a message cannot be read")

    def test_public_values(self) -> None:
        """The two messages that hold the public values."""
        begin = plain_packet(20, offer(b"curve25519-sha256"))
        value = wire.string(kex.METHODS[b"curve25519-sha256"].start().public)
        for content in (value + b"\0", value[:-1], b""):
            self.assert_ended(self.to_server(begin, plain_packet(30, content)), 2, "a message cannot be read")
        self.to_client(begin, reply(value[4:], b"\0"))
        self.assert_ended(self.client_tcp, 2, "a message cannot be read")
