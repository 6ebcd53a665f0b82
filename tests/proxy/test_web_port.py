"""Who goes on with a connection to the web port, and how bytes pass on to auth and back."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import cast

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs.names import PROXY_SERVER_NAME, SERVER_NAME
from teleport_conch.certs.serving import self_signed_pair
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.errors import ConnectionProblem
from teleport_conch.https.client_hello import HelloRefused
from teleport_conch.https.limits import SAY_AGAIN_S
from teleport_conch.https.places import Places
from teleport_conch.https.tls import BoundedTLSFactory, BoundedTLSProtocol, server_context
from teleport_conch.proxy.passage import LINGER_S, ClientEnd, End, Passage
from teleport_conch.proxy.web_certificate import WebCertificate
from teleport_conch.proxy.web_port import WebPort, WebTLS, farewell
from tests.client.certificates import host_identity
from tests.https.hellos import hello
from tests.proxy.samples import header

PEER = IPv4Address("TCP", "192.0.2.7", 4000)
HEADER = b"[192.0.2.7:4000]"
PAIR = self_signed_pair(["proxy.example.com"], 7, 1_800_000_000.0)


class _Wire(StringTransport):
    """A transport of TCP."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nor here."""


class _Serving:
    """In the place of TLS: takes every connection, or none."""

    full = False

    def buildProtocol(self, addr: IAddress) -> BoundedTLSProtocol | None:
        if self.full:
            return None
        made = object.__new__(BoundedTLSProtocol)
        made.peer = addr
        return made


class _Passage(Passage):
    """One whose auth server is made by the test."""

    def begin_dialing(self) -> None:
        self.dialled: Deferred[End] = Deferred()

    async def dial(self) -> End:
        return await self.dialled


class PassageCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.places = Places(self.clock, 3, 2)
        self.passage = _Passage(self.clock, ("auth:3025",), lambda peer: HEADER, self.places)
        self.passage.begin_dialing()

    def client(self, start: bytes = b"hello") -> tuple[ClientEnd, _Wire]:
        end = self.passage.begin(PEER)
        assert end is not None
        wire = _Wire(peerAddress=PEER)
        end.makeConnection(wire)
        end.dataReceived(start)
        return end, wire

    def auth(self) -> tuple[End, _Wire]:
        """The auth server takes the connection."""
        end, wire = End(self.clock), _Wire()
        end.makeConnection(wire)
        self.passage.dialled.callback(end)
        return end, wire

    def both(self) -> tuple[ClientEnd, _Wire, End, _Wire]:
        client, client_wire = self.client()
        auth, auth_wire = self.auth()
        return client, client_wire, auth, auth_wire


class PassageTests(PassageCase):
    def test_passed_on(self) -> None:
        """The header first, then what the client had sent, then everything both ways."""
        client, client_wire = self.client(b"hel")
        client.dataReceived(b"lo")
        self.assertEqual(client_wire.producerState, "paused")
        auth, auth_wire = self.auth()
        self.assertEqual(auth_wire.value(), HEADER + b"hello")
        self.assertEqual(client_wire.producerState, "producing")
        client.dataReceived(b" there")
        auth.dataReceived(b"answer")
        self.assertEqual((auth_wire.value(), client_wire.value()), (HEADER + b"hello there", b"answer"))

    def test_pressure(self) -> None:
        """Who reads slowly makes the other side wait: each is the producer of the other."""
        _, client_wire, _, auth_wire = self.both()
        self.assertIs(client_wire.producer, auth_wire)
        self.assertIs(auth_wire.producer, client_wire)
        cast(_Wire, client_wire.producer).pauseProducing()
        self.assertEqual(auth_wire.producerState, "paused")

    def test_ends(self) -> None:
        """An end on one side ends the other, behind what was written; one that lingers is cut."""
        for number in range(2):
            self.passage.begin_dialing()
            client, client_wire, auth, auth_wire = self.both()
            first, second, wire = (client, auth, auth_wire) if number else (auth, client, client_wire)
            first.connectionLost(connectionDone)
            self.assertIs(wire.producer, None)
            self.assertTrue(wire.disconnecting)
            self.clock.advance(LINGER_S)
            self.assertTrue(wire.aborted)
            second.connectionLost(connectionDone)
        self.assertEqual((self.places.taken, self.clock.getDelayedCalls()), (0, []))

    def test_gone_meanwhile(self) -> None:
        """A client that leaves while auth is being dialled leaves nothing behind."""
        client, _ = self.client()
        client.connectionLost(connectionDone)
        self.assertEqual(self.places.taken, 0)
        self.assertTrue(self.passage.dialled.called)

    def test_no_auth(self) -> None:
        """Where no auth server takes it, the client's connection is cut, and the log says why, once a minute."""
        with capturedLogs() as logged:
            for _ in range(2):
                _, wire = self.client()
                self.passage.dialled.errback(Failure(ConnectionProblem("Nothing answers.")))
                self.assertTrue(wire.aborted)
                self.places.leave("192.0.2.7")
                self.passage.begin_dialing()
            self.assertEqual([each["why"] for each in logged], ["Nothing answers."])
            self.clock.advance(SAY_AGAIN_S)
            self.client()
            self.passage.dialled.errback(Failure(ConnectionProblem("Nothing answers.")))
            self.assertEqual(len(logged), 2)

    def test_bounded(self) -> None:
        """So many from one address, and no more; those that are there end with the passage."""
        wires = [self.client()[1] for _ in range(2)]
        self.assertIs(self.passage.begin(PEER), None)
        self.assertIsNot(self.passage.begin(IPv4Address("TCP", "192.0.2.8", 1)), None)
        self.passage.end()
        self.assertTrue(all(wire.aborted for wire in wires))


class ChoiceTests(PassageCase):
    def setUp(self) -> None:
        super().setUp()
        self.serving = _Serving()
        self.port = WebPort(cast(BoundedTLSFactory, self.serving), self.passage)

    def test_names(self) -> None:
        """Auth's name goes on; the proxy's, all others and none end here, with every byte that came."""
        for name, kind in ((SERVER_NAME, ClientEnd), (SERVER_NAME.upper(), ClientEnd)):
            chosen = self.port.choose(hello(name), PEER)
            assert chosen is not None
            self.assertIsInstance(chosen[0], kind)
            self.assertEqual(chosen[1], hello(name))
        for name in (PROXY_SERVER_NAME, "proxy.example.com", "", f"x.{SERVER_NAME}"):
            chosen = self.port.choose(hello(name), PEER)
            assert chosen is not None
            served = cast(BoundedTLSProtocol, chosen[0])
            self.assertEqual((served.server_name, chosen[1]), (name, hello(name)))

    def test_more(self) -> None:
        """Half a name decides nothing."""
        self.assertIs(self.port.choose(hello(SERVER_NAME)[:40], PEER), None)

    def test_full(self) -> None:
        self.serving.full = True
        self.assertEqual(self.port.choose(hello("a.example"), PEER), (None, hello("a.example")))

    def test_103_smuggled(self) -> None:
        """Nothing of a client's own comes to auth in front of TLS: no header, signed or not, and no other protocol."""
        for start in (
            header(node=SERVER_NAME),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"SSH-2.0-x\r\n",
            b"GET / HTTP/1.1",
        ):
            for data in (start, start + hello(SERVER_NAME)):
                self.assertRaises(HelloRefused, self.port.choose, data, PEER)

    def test_farewell(self) -> None:
        """Who speaks HTTP hears what to do, and nobody else hears anything."""
        self.assertTrue(farewell(b"GET / HTTP/1.1\r\n").startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        for start in (b"SSH-2.0-x", b"", b"GETTING", b"\x16\x03\x09"):
            self.assertEqual(farewell(start), b"")


class TLSTests(SynchronousTestCase):
    """Which certificate a client is shown."""

    def setUp(self) -> None:
        self.web = server_context(PAIR.chain, PAIR.key)
        holder = cast(WebCertificate, SimpleNamespace(context=self.web))
        self.tls = WebTLS(holder)

    def shown(self, name: str) -> x509.Certificate:
        """What a client that asks for this name gets to see, in memory."""
        protocol = object.__new__(BoundedTLSProtocol)
        protocol.server_name = name
        server = self.tls.serverConnectionForTLS(protocol)
        server.set_accept_state()
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_tlsext_host_name(name.encode())
        client.set_connect_state()
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(1 << 16))
        found = client.get_peer_certificate()
        assert found is not None
        return found.to_cryptography()

    def test_names(self) -> None:
        """The web certificate for all names but one, under which the host's own is shown once there is one."""
        self.assertEqual(self.shown(PROXY_SERVER_NAME), PAIR.chain[0])
        for _ in range(2):  # what was renewed is seen by the next connection
            identity = host_identity(role="Proxy")
            self.tls.use_identity(identity)
            self.assertEqual(self.shown(PROXY_SERVER_NAME), load_certificate_pem(identity.tls_certificate))
            self.assertEqual(self.shown("proxy.example.com"), PAIR.chain[0])
