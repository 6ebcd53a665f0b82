"""Threat 103 at auth: a client's address is believed from proxies of the cluster, once, and from nobody else."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs

from teleport_conch import proxy_protocol
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.routes.calls import ANYBODY, Call
from teleport_conch.auth.routes.entrance import entrance_to
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.names import SERVER_NAME
from teleport_conch.https.limits import SAY_AGAIN_S
from teleport_conch.proxy_protocol import MAX_AGE_S
from teleport_conch.resources.joining import JoinRequest
from teleport_conch.starting import port_number
from tests.auth.fixture import ADDRESS, CLUSTER, NOW
from tests.auth.routes.test_tls import PUBLIC, REACTOR, TLSTestCase
from tests.proxy.samples import PROXY_UUID, sign_with

CLIENT = ("203.0.113.9", 4242)
KEY = ed25519.Ed25519PrivateKey.generate()


class EntranceTests(TLSTestCase):
    """A server on loopback behind its entrance, and a proxy that has joined."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        await maybeDeferred(self.listening.stopListening)
        self.entrance = entrance_to(self.factory, self.cluster, self.clock)
        self.listening = REACTOR.listenTCP(0, self.entrance, interface="127.0.0.1")
        self.port = port_number(self.listening)
        self.addCleanup(self.entrance.end)

        @self.gate.route("GET", "/v1/test/address", ANYBODY)
        async def address(call: Call) -> Mapping[str, object]:
            return {"address": call.address}

        secret, _ = await self.cluster.tokens.create(roles=("proxy",), ttl_s=600.0, created_by="alice")
        line = keys.public_line(keys.public_blob(KEY.public_key()))
        request = JoinRequest(PROXY_UUID, "proxy1", "Proxy", PUBLIC, line, secret)
        joined = await self.cluster.joining.register(request, ADDRESS)
        self.certificate = SSHCertificate.from_line(joined.ssh_certificate)

    def header(
        self,
        client: proxy_protocol.Address = CLIENT,
        node: str = SERVER_NAME,
        certificate: SSHCertificate | None = None,
        key: ed25519.Ed25519PrivateKey = KEY,
        now: float = NOW,
    ) -> bytes:
        """A header that auth believes, or one that differs in what is given."""
        nonce = keys.public_blob(ed25519.Ed25519PrivateKey.generate().public_key())[-16:]
        certificate = certificate or self.certificate
        return proxy_protocol.encode(client, ("127.0.0.1", 3025), node, certificate, sign_with(key), now, nonce)

    def host(self, role: str, authority: Authority | None = None) -> SSHCertificate:
        """The certificate of a host over the proxy's key."""
        return (authority or self.cluster.authorities.host).sign_host_ssh(
            keys.public_blob(KEY.public_key()),
            host_uuid=PROXY_UUID,
            node_name="proxy1",
            cluster_name=CLUSTER,
            principals=(),
            role=role,
            ttl_s=3600.0,
            now=NOW,
        )

    def seen(self, *sent: bytes) -> Deferred[str]:
        """The address that the API sees behind what was sent first; empty where the connection was closed."""
        return deferToThread(self._seen, sent)

    def _seen(self, sent: tuple[bytes, ...]) -> str:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in sent:
                raw.sendall(part)
            with self.context().wrap_socket(raw, server_hostname=SERVER_NAME) as wire:
                wire.sendall(b"GET /v1/test/address HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = http.client.HTTPResponse(wire)
                answer.begin()
                return str(json.loads(answer.read())["address"])
        except OSError:
            return ""
        finally:
            raw.close()

    # What is believed.

    async def test_straight(self) -> None:
        """Who comes without a header is who it is."""
        self.assertEqual(await self.seen(), "127.0.0.1")

    async def test_through_a_proxy(self) -> None:
        """The client that the proxy names is the client, in limits, events and whatever else asks."""
        self.assertEqual(await self.seen(self.header()), "203.0.113.9")
        self.assertEqual(await self.seen(self.header(("2001:db8::7", 4242))), "2001:db8::7")

    async def test_in_pieces(self) -> None:
        """However slowly the header comes."""
        header = self.header()
        self.assertEqual(await self.seen(header[:5], header[5:40], header[40:]), "203.0.113.9")

    async def test_limits_of_the_client(self) -> None:
        """Connections are counted by the address that the proxy names: one client does not use up another's."""
        self.factory.places._per_address = 1
        first = await deferToThread(self._open_behind, self.header())
        self.assertEqual(dict(self.factory.places.by_address), {"203.0.113.9": 1})
        self.assertEqual(await self.seen(self.header()), "")
        self.assertEqual(await self.seen(self.header(("203.0.113.10", 1))), "203.0.113.10")
        first.close()

    def _open_behind(self, sent: bytes) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        raw.sendall(sent)
        return self.context().wrap_socket(raw, server_hostname=SERVER_NAME)

    # What is refused.

    async def refused(self, header: bytes, why: str) -> None:
        self.clock.advance(SAY_AGAIN_S)
        with capturedLogs() as logged:
            self.assertEqual(await self.seen(header), "")
        said = [event["why"] for event in logged if event["log_level"] is LogLevel.warn]
        self.assertEqual(said, [f"A PROXY header was refused: {why}."])

    async def test_103_not_a_proxy(self) -> None:
        """A node has a host certificate, too, and auth's own identities have one; a stranger's authority signs any."""
        for role in ("Node", "Admin", "Auth"):
            header = self.header(certificate=self.host(role))
            await self.refused(header, "it is signed by a host that is no proxy")
        stranger = self.host("Proxy", Authority.generate("host", CLUSTER, NOW))
        why = f"The certificate of '{PROXY_UUID}.{CLUSTER}' is signed by an authority that is not trusted here"
        await self.refused(self.header(certificate=stranger), why)

    async def test_103_forged(self) -> None:
        """Without the key of the certificate; with another address than the one that was signed."""
        await self.refused(self.header(key=ed25519.Ed25519PrivateKey.generate()), "it does not fit the key")
        changed = bytearray(self.header())
        changed[16] ^= 1
        await self.refused(bytes(changed), "it does not fit the key")

    async def test_103_replayed(self) -> None:
        """One that was used, one that is old or early, and one that was meant for a node."""
        used = self.header()
        self.assertEqual(await self.seen(used), "203.0.113.9")
        await self.refused(used, "it was used before")
        for seconds, which in ((-MAX_AGE_S - 1, "behind"), (MAX_AGE_S + 1, "ahead of")):
            header = self.header(now=NOW + seconds)
            await self.refused(header, f"its time is 61 s {which} ours; compare the clocks")
        await self.refused(self.header(node=PROXY_UUID), "it is meant for another server")

    async def test_103_removed(self) -> None:
        """A proxy that was removed says nothing any more, though its certificate is good for weeks."""
        await self.cluster.inventory.remove(HostKey("proxy", PROXY_UUID), "alice")
        await self.refused(self.header(), "the proxy that signed it was removed from the cluster")

    async def test_103_version_1(self) -> None:
        """The PROXY protocol's first version, which nobody signs, is no TLS."""
        self.assertEqual(await self.seen(b"PROXY TCP4 10.9.8.7 10.0.0.5 1 22\r\n"), "")
