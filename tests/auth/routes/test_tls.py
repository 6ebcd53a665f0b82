"""The API over real TLS on loopback: certificates of every kind, and connections that mean no good."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.cluster import Cluster
from teleport_conch.auth.events import Events
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.opening import Founding, open_cluster
from teleport_conch.auth.recordings.files import Files
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.auth.routes.api import open_gate, site_of
from teleport_conch.auth.routes.tls import ServerTLS
from teleport_conch.auth.state import storing
from teleport_conch.auth.state.authorities import path
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.tls import certificate_pem
from teleport_conch.https.limits import HANDSHAKE_S
from teleport_conch.https.tls import BoundedTLSFactory
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.joining import JoinRequest
from teleport_conch.starting import Reactor, port_number
from teleport_conch.storage.memory import MemoryBackend
from tests.auth.fixture import ADDRESS, AUTH, CLUSTER, NOW, SSH_KEY, WEB1, Log, Recorder, entropy, here

REACTOR = cast(Reactor, reactor)
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module does not name."""
KEY = keys.generate_tls_key()
PUBLIC = keys.public_pem(KEY.public_key())


class TLSTestCase(TestCase):
    """A server on loopback whose time stands still, and clients in threads."""

    timeout = 20
    per_address = 20

    async def _open(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.wall = NOW
        clocks = Clocks(self.clock, lambda: self.wall, self.clock.seconds)
        self.backend = MemoryBackend(self.clock)
        founding = Founding(CLUSTER, ClusterConfig())
        self.cluster: Cluster = await open_cluster(clocks, self.backend, founding, Recorder(), entropy())
        events = Events(Log(), here)  # type: ignore[arg-type]  # in memory
        files, host_of = Files(Path(self.mktemp())), self.cluster.sessions.host_of
        recordings = Recordings.of(clocks, files, self.backend, here, Recorder(), host_of)
        self.gate = open_gate(self.cluster, events, recordings, Recorder(), "0.1.0")
        self.tls = ServerTLS(clocks, self.cluster.authorities, AUTH, ["127.0.0.1", "auth.example.org"])
        site = site_of(self.cluster, self.gate)
        self.factory = BoundedTLSFactory(self.tls, site, REACTOR, 1000, self.per_address)
        self.listening = REACTOR.listenTCP(0, self.factory, interface="127.0.0.1")  # type: ignore[arg-type]  # it wraps
        self.port = port_number(self.listening)

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        await self._open()

    async def tearDown(self) -> None:  # type: ignore[override]  # likewise
        for protocol in tuple(self.factory.protocols):
            protocol.abortConnection()
        await maybeDeferred(self.listening.stopListening)
        while self.factory.protocols:
            await deferLater(REACTOR, 0.005)

    # Clients.

    def context(self, certificate: str = "", key: keys.PrivateKey = KEY) -> ssl.SSLContext:
        """A client that verifies the server, and shows a certificate."""
        context = ssl.create_default_context(cadata="".join(self.cluster.authorities.public("host").tls_certificates))
        context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)  # the test's time is not this machine's
        if certificate:
            path = self.folder / "client.pem"
            path.write_text(keys.private_pem(key) + certificate)
            context.load_cert_chain(path)
        return context

    def connect(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            return context.wrap_socket(raw, server_hostname="teleport.cluster.local", session=session)
        except OSError:
            raw.close()
            raise

    async def open_wire(self, certificate: str, key: keys.PrivateKey = KEY) -> ssl.SSLSocket:
        """A connection with a certificate, or without one."""
        wire: ssl.SSLSocket = await deferToThread(self.connect, self.context(certificate, key))
        return wire

    async def get(self, wire: ssl.SSLSocket, path: str) -> tuple[int, str, object]:
        """Ask over a connection that is open: status, code and seconds of the answer."""

        def asked() -> tuple[int, str, object]:
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return answer_on(wire)

        answer: tuple[int, str, object] = await deferToThread(asked)
        return answer

    async def ask(
        self, certificate: str, path: str = "/v1/configuration", key: keys.PrivateKey = KEY
    ) -> tuple[int, str, object]:
        """The same over a connection of its own."""
        wire = await self.open_wire(certificate, key)
        try:
            return await self.get(wire, path)
        finally:
            wire.close()

    # Certificates.

    async def node(self) -> str:
        """A host that joined."""
        secret, _ = await self.cluster.tokens.create(roles=("node",), ttl_s=600.0, created_by="alice")
        request = JoinRequest(WEB1, "web1", "Node", PUBLIC, SSH_KEY, secret)
        return (await self.cluster.joining.register(request, ADDRESS)).tls_certificate

    def user(self, now: float = NOW, authority: Authority | None = None) -> str:
        signed = (authority or self.cluster.authorities.user).sign_user_tls(
            KEY.public_key(), name="alice", logins=("root",), roles=("admin",), traits={}, ttl_s=3600.0, now=now
        )
        return certificate_pem(signed)


def answer_on(wire: ssl.SSLSocket) -> tuple[int, str, object]:
    """Status, code and seconds of one answer."""
    answer = http.client.HTTPResponse(wire)
    answer.begin()
    error = json.loads(answer.read()).get("error", {})
    return answer.status, error.get("code", ""), error.get("seconds")


class CertificateTests(TLSTestCase):
    async def test_nobody(self) -> None:
        """Without a certificate there is the time, and little else."""
        self.assertEqual((await self.ask("", "/v1/ping"))[0], 200)
        self.assertEqual(await self.ask(""), (401, "UNAUTHENTICATED", None))

    async def test_believed(self) -> None:
        """A host that joined, and a person."""
        self.assertEqual((await self.ask(await self.node()))[0], 200)
        self.assertEqual((await self.ask(self.user(), "/v1/tokens"))[0], 200)

    async def test_refused(self) -> None:
        """The handshake takes any certificate, and the answer says what is wrong with it; ping answers all the same."""
        stranger = Authority.generate("user", CLUSTER, NOW)
        for certificate, code, seconds in (
            (self.user(NOW - 7200), "CERT_EXPIRED", 3599.0),
            (self.user(NOW + 412 + 300), "CERT_NOT_YET_VALID", 412),
            (self.user(authority=stranger), "CERT_CA_UNKNOWN", None),
        ):
            self.assertEqual(await self.ask(certificate), (401, code, seconds))
            self.assertEqual((await self.ask(certificate, "/v1/ping"))[0], 200)

    async def test_an_authoritys_own(self) -> None:
        """Who has the key of an authority is not thereby a caller."""
        pair = self.cluster.authorities.user.tls_keys[0]
        self.assertEqual((await self.ask(certificate_pem(pair.certificate), key=pair.private_key))[1], "CERT_TYPE")

    async def test_barred(self) -> None:
        """A host that was removed, over a connection that was open before."""
        certificate = await self.node()
        wire = await self.open_wire(certificate)
        self.assertEqual((await self.get(wire, "/v1/configuration"))[0], 200)
        await self.cluster.inventory.remove(HostKey("node", WEB1), "alice")
        self.assertEqual((await self.get(wire, "/v1/configuration"))[1], "HOST_BARRED")
        wire.close()

    async def test_judged_again_when_it_ends(self) -> None:
        """A connection outlives no certificate."""
        wire = await self.open_wire(self.user())
        self.assertEqual((await self.get(wire, "/v1/tokens"))[0], 200)
        self.wall += 3601
        self.assertEqual((await self.get(wire, "/v1/tokens"))[1], "CERT_EXPIRED")
        wire.close()

    async def test_judged_again_by_other_authorities(self) -> None:
        """Nor the authority that signed it."""
        wire = await self.open_wire(self.user())
        self.assertEqual((await self.get(wire, "/v1/tokens"))[0], 200)
        other = Authority.generate("user", CLUSTER, NOW)
        await self.backend.put(path("user", CLUSTER), storing.encode(other.to_json(with_secrets=True)))
        await self.cluster.authorities.reload()
        self.assertEqual((await self.get(wire, "/v1/tokens"))[1], "CERT_CA_UNKNOWN")
        wire.close()

    async def test_no_resumption(self) -> None:
        """Every connection is a new handshake, in which the key is proved again."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(self.user())
            context.minimum_version = context.maximum_version = version
            first = await deferToThread(self.connect, context)
            await self.get(first, "/v1/ping")
            session = first.session
            first.close()
            second = await deferToThread(self.connect, context, session)
            self.assertEqual((await self.get(second, "/v1/tokens"))[0], 200)
            self.assertFalse(second.session_reused)
            second.close()


class ServerTests(TLSTestCase):
    async def shown(self) -> x509.Certificate:
        """What the server shows."""
        wire = await self.open_wire("")
        data = wire.getpeercert(binary_form=True)
        wire.close()
        assert data is not None
        return x509.load_der_x509_certificate(data)

    async def test_names(self) -> None:
        """The name that clients verify, and those under which they dial."""
        names = (await self.shown()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertIn("teleport.cluster.local", names.get_values_for_type(x509.DNSName))
        self.assertIn("auth.example.org", names.get_values_for_type(x509.DNSName))
        self.assertIn("127.0.0.1", [str(ip) for ip in names.get_values_for_type(x509.IPAddress)])

    async def test_renewed(self) -> None:
        """At half-life there is a new certificate, without a restart."""
        first = await self.shown()
        self.tls.renew_if_due()
        self.assertEqual((await self.shown()).serial_number, first.serial_number)
        self.wall += 15 * 86_400
        self.tls.renew_if_due()
        second = await self.shown()
        self.assertNotEqual(second.serial_number, first.serial_number)
        self.assertEqual(second.not_valid_after_utc - first.not_valid_after_utc, timedelta(days=15))

    async def test_old_versions(self) -> None:
        """TLS 1.1 is refused."""
        context = self.context()
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises(OSError):
            await deferToThread(self.connect, context)


class AbuseTests(TLSTestCase):
    """Threat 98, before and in TLS."""

    per_address = 3

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    async def open_count(self, count: int) -> None:
        while len(self.factory.protocols) != count:
            await deferLater(REACTOR, 0.005)

    async def test_98_silent_handshake(self) -> None:
        """Who connects and says nothing, or not all of it, is cut after ten seconds."""
        silent, half = self.raw(), self.raw()
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        await self.open_count(2)
        self.clock.advance(HANDSHAKE_S - 1)
        await deferLater(REACTOR, 0.02)
        await self.open_count(2)
        self.clock.advance(1)
        await self.open_count(0)
        silent.close()
        half.close()

    async def test_98_too_many(self) -> None:
        """One address has so many connections; the next one is closed at once, and a free place can be taken again."""
        wires = [await self.open_wire("") for _ in range(3)]
        fourth = self.raw()
        self.assertEqual(await deferToThread(fourth.recv, 1), b"")
        fourth.close()
        wires.pop().close()
        await self.open_count(2)
        wires.append(await self.open_wire(""))
        self.assertEqual((await self.get(wires[-1], "/v1/ping"))[0], 200)
        for wire in wires:
            wire.close()
        await self.open_count(0)
        self.assertEqual((self.factory.places.taken, dict(self.factory.places.by_address)), (0, {}))

    async def test_98_large_body(self) -> None:
        """A hundred megabytes are refused while they come, with an answer that the client can read."""
        wire = await self.open_wire("")

        def send() -> tuple[int, str, object]:
            wire.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n" + b"x" * 100_000)
            return answer_on(wire)

        self.assertEqual((await deferToThread(send))[:2], (413, "TOO_LARGE"))
        wire.close()

    async def test_105_slow_client(self) -> None:
        """One that is slow in TLS keeps nobody waiting."""
        slow = self.raw()
        slow.sendall(b"\x16")
        self.assertEqual((await self.ask("", "/v1/ping"))[0], 200)
        slow.close()

    async def test_plain_http(self) -> None:
        """What is no TLS is closed."""
        plain = self.raw()
        plain.sendall(b"GET /v1/ping HTTP/1.1\r\n\r\n")
        await self.open_count(0)
        plain.close()
