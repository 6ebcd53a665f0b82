"""Threat 98: what comes before a request is one. No path is looked at, no token is read, no memory is filled."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL.crypto import FILETYPE_ASN1, X509, load_certificate
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from teleport_conch.auth import limits
from teleport_conch.auth.routes.calls import ANYBODY, Call
from teleport_conch.auth.routes.site import APIChannel, APISite
from teleport_conch.auth.rules.callers import Verdict
from teleport_conch.errors import CertificateMalformed
from teleport_conch.https.limits import DISCARDED_BYTES, DISCARDING_S, IDLE_S
from tests.auth.fixture import ClusterTestCase


class _Judge:
    """Takes every connection for one with the certificate that the test says."""

    def __init__(self, case: SiteTestCase) -> None:
        self._case = case

    def judge(self, certificate: object, before: Verdict | None) -> Verdict:
        return Verdict(self._case.peer, None, (), float("inf"))


class _Wire(StringTransport):
    """A transport that knows how it ended."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP."""


class _TLSWire(_Wire):
    """One over which the client showed a certificate."""

    def __init__(self, shown: bytes) -> None:
        super().__init__()
        self._shown = shown
        directlyProvides(self, ISSLTransport)

    def getPeerCertificate(self) -> X509:
        return load_certificate(FILETYPE_ASN1, self._shown)


class SiteTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = APISite(self.clocks, self.gate.resource(), _Judge(self))  # type: ignore[arg-type]
        self.connect()

    def connect(self) -> None:
        address = IPv4Address("TCP", "10.0.0.5", 4000)
        channel = self.site.buildProtocol(address)
        assert isinstance(channel, APIChannel)
        self.channel = channel
        self.wire = _Wire(peerAddress=address)
        self.channel.makeConnection(self.wire)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def answered(self) -> tuple[int, str]:
        """Status and code of what was answered last, 0 and nothing if nothing was."""
        head, _, body = self.wire.value().partition(b"\r\n\r\n")
        if not head:
            return 0, ""
        error = json.loads(body).get("error", {})
        return int(head.split()[1]), error.get("code", "")

    def sentence(self) -> str:
        body = json.loads(self.wire.value().partition(b"\r\n\r\n")[2])
        return str(body["error"]["message"])


def request(path: str, *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


class BodyTests(SiteTestCase):
    def test_98_declared(self) -> None:
        """A body that says it is too large is refused before any of it came, whatever the path."""
        for path in ("/v1/tokens/register", "/nowhere", "/"):
            self.connect()
            self.send(request(path, f"Content-Length: {100 << 20}"))
            self.assertEqual(self.answered(), (413, "TOO_LARGE"))
            self.assertEqual(self.sentence(), f"The body of the request is larger than {64 << 10} bytes.")
            self.assertTrue(self.wire.disconnecting)

    def test_98_chunked(self) -> None:
        """One that does not say so is refused when it gets there."""
        for path in ("/v1/tokens/register", "/nowhere"):
            self.connect()
            self.send(request(path, "Transfer-Encoding: chunked"))
            for _ in range(17):
                self.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            self.assertEqual(self.answered(), (413, "TOO_LARGE"))
            self.assertTrue(self.wire.disconnecting)

    def test_98_by_caller(self) -> None:
        """A megabyte for who has a certificate, 64 KiB for who has none; to the byte."""
        for peer, limit in ((None, limits.MAX_ANONYMOUS_BODY_BYTES), (self.admin(), limits.MAX_BODY_BYTES)):
            for size, status in ((limit, 400), (limit + 1, 413)):
                self.peer = peer
                self.connect()
                self.send(request("/v1/tokens/register", f"Content-Length: {size}") + b" " * size)
                self.assertEqual(self.answered()[0], status)

    def test_expectation(self) -> None:
        """A client that asks first is told to go on, or refused, not both."""
        self.send(request("/v1/ping", "Content-Length: 9999999", "Expect: 100-continue"))
        self.assertNotIn(b"100 Continue", self.wire.value())
        self.connect()
        self.send(request("/v1/tokens/register", "Content-Length: 2", "Expect: 100-continue"))
        self.assertEqual(self.wire.value(), b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_discarded(self) -> None:
        """What goes on coming after a refusal is thrown away, and when it is too much, the connection is cut."""
        self.send(request("/", f"Content-Length: {100 << 20}"))
        answered = self.wire.value()
        for _ in range(DISCARDED_BYTES >> 16):
            self.send(b"x" * (1 << 16))
        self.assertFalse(self.wire.aborted)
        self.send(b"x")
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.wire.value(), answered)

    def test_cut_after_a_refusal(self) -> None:
        """A client that does not close its side is cut."""
        self.send(request("/", f"Content-Length: {100 << 20}"))
        self.clock.advance(DISCARDING_S)
        self.assertTrue(self.wire.aborted)


class HeadTests(SiteTestCase):
    def test_98_many_headers(self) -> None:
        """A hundred headers, and not one more."""
        fill = [f"X-{number}: y" for number in range(99)]
        self.send(request("/v1/ping", *fill, method="GET"))
        self.assertEqual(self.answered()[0], 200)
        self.connect()
        self.send(request("/v1/ping", *fill, "X-Last: y", method="GET"))
        self.assertEqual(self.answered(), (413, "TOO_LARGE"))
        self.assertEqual(self.sentence(), "The head of a request has at most 16384 bytes in 100 headers.")

    def test_98_a_million_headers(self) -> None:
        """It is over long before."""
        self.send(b"GET / HTTP/1.1\r\n")
        for _ in range(1000):
            self.send(b"X: y\r\n" * 1000)
        self.assertEqual(self.answered(), (413, "TOO_LARGE"))
        self.assertTrue(self.wire.aborted)

    def test_98_long_lines(self) -> None:
        """A header, a path or a method that is too long, with or without its end."""
        for data in (
            request("/v1/ping", "X: " + "y" * 16384, method="GET"),
            request("/v1/ping?" + "y" * 16384, method="GET"),
            b"G" * 20000,
            b"GET /v1/ping HTTP/1.1\r\n" + b"X" * 20000,
            b"GET /v1/ping HTTP/1.1\r\nX: y\r\n" + b" y\r\n" * 5000,
        ):
            self.connect()
            self.send(data)
            self.assertEqual(self.answered(), (413, "TOO_LARGE"))

    def test_malformed(self) -> None:
        """What is no HTTP closes the connection."""
        for data in (b"\x16\x03\x01\r\n", b"GET\r\n", b"GET / HTTP/3.0\r\n", b"G\xffT / HTTP/1.1\r\n\r\n"):
            self.connect()
            self.send(data)
            self.assertTrue(self.wire.disconnecting, data)

    def test_unreadable(self) -> None:
        """What is no HTTP is answered once, whatever follows, and with nothing in the log."""
        for data in (
            request("/v1/ping", "Content-Length: " + "9" * 5000),
            request("/v1/ping", "Content-Length: 1", "Content-Length: 2"),
            request("/v1/ping", "Transfer-Encoding: chunked") + b"zz\r\n",
            b"GET\r\n\r\n",
            b"\r\n" * 100,
        ):
            self.connect()
            self.send(data)
            self.assertEqual(self.answered(), (400, "BAD_PARAMETER"), data[:40])
            self.assertEqual(self.sentence(), "The request cannot be read as HTTP.")

    def test_odd_paths(self) -> None:
        """Bytes that are no text are refused, with nothing in the log."""
        for path in (b"/v1/\xa0", b"/v1/%ff", b"/v1/ping?x=%ff"):
            self.connect()
            self.send(b"GET " + path + b" HTTP/1.1\r\n\r\n")
            self.assertEqual(self.answered(), (400, "BAD_PARAMETER"))
            self.assertEqual(self.sentence(), "The address of the request is not text in UTF-8.")

    def test_host_header(self) -> None:
        """What the client calls the server does not matter, nor does it reach the router."""
        for host in ("", "\xff", "a" * 300, "..", "[::1", "x:y:z"):
            self.connect()
            self.send(b"GET /v1/ping HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\n\r\n")
            self.assertEqual(self.answered()[0], 200)


class TimeTests(SiteTestCase):
    def test_98_a_byte_a_second(self) -> None:
        """The whole request has 15 seconds, however regularly its bytes come: head or body, any path."""
        slow = [
            request("/v1/ping", method="GET"),
            request("/v1/tokens/register", "Content-Length: 60000") + b"x" * 100,
            request("/nowhere", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 100,
        ]
        for data, already in zip(slow, (0, 70, 70), strict=True):
            self.connect()
            self.send(data[: already or 1])
            for position in range(14):
                self.clock.advance(1)
                self.send(data[(already or 1) + position :][:1])
                self.assertEqual(self.answered(), (0, ""))
            self.clock.advance(1)
            self.assertEqual(self.answered(), (504, "CONNECTION_PROBLEM"))
            self.assertEqual(self.sentence(), "The request did not arrive within 15 seconds.")
            self.assertTrue(self.wire.disconnecting)

    def test_each_request_has_its_own_time(self) -> None:
        """A connection may live long; only one request may not take long to arrive."""
        for _ in range(5):
            self.wire.clear()
            self.send(request("/v1/ping", method="GET")[:20])
            self.clock.advance(10)
            self.send(request("/v1/ping", method="GET")[20:])
            self.assertEqual(self.answered()[0], 200)

    def test_sent_ahead(self) -> None:
        """The beginning of a request that follows at once has its time, too."""
        whole = request("/v1/ping", method="GET")
        self.send(whole + whole[:-2])
        self.wire.clear()
        self.clock.advance(15)
        self.assertEqual(self.answered(), (504, "CONNECTION_PROBLEM"))

    def test_sent_while_another_waits(self) -> None:
        """So has one that began while the one before it was worked on."""
        work: Deferred[None] = Deferred()

        @self.gate.route("GET", "/v1/slow", ANYBODY)
        async def slow(call: Call) -> None:
            await work

        self.send(request("/v1/slow", method="GET") + request("/v1/ping", method="GET")[:-2])
        self.clock.advance(15)
        self.assertEqual(self.answered(), (0, ""))
        work.callback(None)
        self.assertEqual(self.answered()[0], 200)
        self.wire.clear()
        self.clock.advance(14)
        self.assertEqual(self.answered(), (0, ""))
        self.clock.advance(1)
        self.assertEqual(self.answered(), (504, "CONNECTION_PROBLEM"))

    def test_idle(self) -> None:
        """A connection on which nothing happens is closed after a minute, before the first request or after one."""
        for data in (b"", request("/v1/ping", method="GET")):
            self.connect()
            if data:
                self.send(data)
            self.clock.advance(IDLE_S - 1)
            self.assertFalse(self.wire.disconnecting)
            self.clock.advance(1)
            self.assertTrue(self.wire.disconnecting)

    def test_lost(self) -> None:
        """A connection that ends leaves no timer behind."""
        calls = len(self.clock.getDelayedCalls())
        for data in (b"", b"GET", request("/", "Content-Length: 999999")):
            self.connect()
            self.send(data)
            self.channel.connectionLost(Failure(ConnectionDone()))
        self.channel.setTimeout(None)
        self.assertLessEqual(len(self.clock.getDelayedCalls()), calls + 1)


class LogTests(SiteTestCase):
    def test_no_access_log(self) -> None:
        """The address of a request may hold a token, so it is written nowhere."""
        secret = self.token()
        self.peer = self.admin()
        self.site.startFactory()
        lines: list[object] = []
        self.patch(self.site, "_logFile", type("File", (), {"write": staticmethod(lines.append)}))
        self.send(request(f"/v1/tokens/{secret}", method="DELETE"))
        self.assertEqual(self.answered()[0], 200)
        self.assertEqual(lines, [])
        self.assertNotIn(secret, str(self.emitted.events))
        self.site.stopFactory()


class ShownTests(SiteTestCase):
    def test_unreadable(self) -> None:
        """A certificate that OpenSSL takes and nobody can read is refused, and is no failure of ours."""
        good = self.certificate().public_bytes(Encoding.DER)
        for there, instead in ((b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"), (b"\x17\x0d2", b"\x17\x0d:")):
            self.assertIn(there, good)
            self.channel = APIChannel()
            self.channel.site = self.site
            self.channel.transport = _TLSWire(good.replace(there, instead, 1))
            verdict = self.channel.verdict()
            self.assertIsInstance(verdict.refusal, CertificateMalformed)
            self.assertEqual(verdict.peer, None)
            self.assertEqual(self.channel.body_limit(), 64 << 10)
