"""One port for browsers, for ``tsh``, and for whoever speaks to auth: the server name of TLS decides."""

from __future__ import annotations

import socket
import ssl
import stat
import time
from functools import cache

from teleport_conch.certs import keys
from teleport_conch.certs.serving import self_signed_pair
from teleport_conch.resources.joining import JoinRequest
from tests.interop.case import InteropTests
from tests.interop.cluster import Cluster, at
from tests.interop.programs import check, eventually, installed, run
from tests.interop.services import LOCALHOST, end, write_private
from tests.interop.web import ask

AUTH = "teleport.cluster.local"
PROXY = "proxy.teleport.cluster.local"


@cache
def cluster() -> Cluster:
    return Cluster().start("web1")


class WebPortCase(InteropTests):
    def setUp(self) -> None:
        self.cluster = cluster()
        self.port = self.cluster.web_port

    def authorities(self) -> str:
        """Of the cluster's hosts, as ``tctl`` exports them."""
        return self.cluster.tctl("auth", "export", "--type=tls").text


class NameTests(WebPortCase):
    def test_proxy(self) -> None:
        """Who asks for the proxy as such is shown a certificate of the cluster's, and can verify it."""
        answer = ask(self.port, "/webapi/ping", server_name=PROXY, authorities=self.authorities())
        self.assertEqual(answer.json()["cluster_name"], "interop.example")
        self.assertEqual(at(answer.json(), "auth", "second_factor"), "otp")

    def test_cacert(self) -> None:
        """What a pin is compared with."""
        found = ask(self.port, "/webapi/cacert").json()["items"]
        assert isinstance(found, list)
        self.assertIn(found[0].strip(), self.authorities())

    def test_auth(self) -> None:
        """Who asks for auth speaks with auth, and not with the proxy."""
        answer = ask(self.port, "/v1/ping", server_name=AUTH, authorities=self.authorities())
        self.assertEqual(answer.status, 200)
        self.assertIn("server_time", answer.json())
        self.assertEqual(ask(self.port, "/webapi/ping", server_name=AUTH).status, 404)

    def test_anything_else(self) -> None:
        """All others are shown the web certificate, which nobody vouches for until one is given."""
        for name in ("localhost", "nobody.example"):
            certificate = ask(self.port, "/webapi/ping", server_name=name).certificate
            self.assertEqual(certificate.issuer, certificate.subject)
        with self.assertRaises(ssl.SSLCertVerificationError):
            ask(self.port, "/webapi/ping", authorities=self.authorities())

    def test_own_pair(self) -> None:
        """The proxy's own pair is made once; its key is for the proxy alone, and the log warns."""
        key = self.cluster.proxy.data_dir / "webproxy_key.pem"
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertTrue((self.cluster.proxy.data_dir / "webproxy_cert.pem").exists())
        self.assertIn("The web certificate is self-signed, and browsers warn of it.", self.cluster.proxy.log)

    def test_plain_http(self) -> None:
        """Who forgets the s is told."""
        with socket.create_connection((LOCALHOST, self.port), 30) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = plain.makefile("rb").read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "))
        self.assertTrue(answer.endswith(b"This port speaks HTTPS. Begin the address with https://\n"))


class ThroughTests(WebPortCase):
    """What speaks to auth takes the proxy's web port in place of auth's."""

    def test_tctl(self) -> None:
        """With an identity file, from anywhere."""
        identity = self.cluster.folder / "remote-admin"
        self.cluster.tctl("auth", "sign", "--user=root2", "--logins=root", "--roles=admin", f"--out={identity}")
        words = ("-i", str(identity), f"--auth-server={LOCALHOST}:{self.port}", "nodes", "ls")
        self.assertIn("web1", check(run(installed("tctl"), *words)).text)

    def test_join(self) -> None:
        """A node joins, beats and watches, and never dials auth."""
        servers = {"auth_servers": [f"{LOCALHOST}:{self.port}"], "ca_pin": self.cluster.pin()}
        node = self.cluster.node("through-the-proxy", teleport=servers)
        self.addCleanup(end, node)
        node.start()
        self.cluster.becomes(node, "online")
        self.cluster.person("eve").ssh("through-the-proxy", "true")

    def test_client_address(self) -> None:
        """Auth sees the client's own address, which the proxy has signed."""
        tls_key, ssh_key = keys.generate_tls_key(), keys.generate_ssh_key()
        request = JoinRequest(
            host_uuid="11111111-2222-4333-8444-555555555555",
            node_name="stranger",
            role="Node",
            public_tls_key=keys.public_pem(tls_key.public_key()),
            public_ssh_key=keys.public_line(keys.public_blob(ssh_key.public_key())),
            token="a-token-that-nobody-has-made",
        )
        ask(
            self.port,
            "/v1/tokens/register",
            server_name=AUTH,
            authorities=self.authorities(),
            source="127.0.0.9",
            method="POST",
            body=request.to_json(),
        )
        event = self.cluster.event("node.join", lambda each: each["node_name"] == "stranger", "of the stranger")
        self.assertEqual(event["addr.remote"], "127.0.0.9")

    def test_auth_away(self) -> None:
        """While auth is away the client's connection is closed, and the log says why; then it works again."""
        cluster = Cluster().start()
        self.addCleanup(cluster.stop)
        cluster.auth.stop()
        with self.assertRaises(OSError):
            ask(cluster.web_port, "/v1/ping", server_name=AUTH)
        cluster.proxy.says("A client cannot be passed on to auth: Cannot connect to the auth server:")
        self.assertEqual(ask(cluster.web_port, "/webapi/ping").status, 200)
        cluster.auth.start()
        self.assertEqual(ask(cluster.web_port, "/v1/ping", server_name=AUTH).status, 200)


class SlowTests(WebPortCase):
    def test_105_slow_clients(self) -> None:
        """Two hundred that say nothing, or not all of it, keep nobody waiting."""
        silent = [socket.create_connection((LOCALHOST, self.port), 30) for _ in range(200)]
        for number, each in enumerate(silent):
            each.sendall(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
        begun = time.monotonic()
        self.assertEqual(ask(self.port, "/webapi/ping", source="127.0.0.7").status, 200)
        self.assertEqual(ask(self.port, "/webapi/ping").status, 200)
        self.assertLess(time.monotonic() - begun, 10)
        for each in silent:
            each.close()


class CertificateFileTests(InteropTests):
    """The files of the web certificate are followed."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.addCleanup(self.cluster.stop)
        self.certificate, self.key = self.cluster.folder / "fullchain.pem", self.cluster.folder / "privkey.pem"
        section = self.cluster.proxy.settings["proxy_service"]
        section |= {"https_cert_file": str(self.certificate), "https_key_file": str(self.key)}
        section["public_addr"] = f"proxy.example.com:{self.cluster.web_port}"

    def write(self, serial: int, certificate: bool = True) -> None:
        pair = self_signed_pair(["proxy.example.com"], serial, time.time())
        certificates, key = pair.pems()
        if certificate:
            self.certificate.write_text(certificates)
        write_private(self.key, key)

    def serial(self) -> int:
        authorities = self.certificate.read_text()
        answer = ask(self.cluster.web_port, "/webapi/ping", server_name="proxy.example.com", authorities=authorities)
        return answer.certificate.serial_number

    def test_followed(self) -> None:
        """A new pair is shown without a restart; a bad one is not, and the log says so."""
        self.write(1001)
        self.cluster.start()
        self.assertEqual(self.serial(), 1001)
        proxy, since = self.cluster.proxy, len(self.cluster.proxy.log)
        before = self.certificate.read_text()
        self.certificate.write_text("rubbish")
        proxy.says("The web certificate stays the old one: https_cert_file", since=since)
        self.certificate.write_text(before)
        eventually(lambda: self.serial() == 1001, "the old one goes on")
        since = len(proxy.log)
        self.write(1002)
        proxy.says("There is a new web certificate, valid until", since=since)
        self.assertEqual(self.serial(), 1002)

    def test_missing(self) -> None:
        """A start without the files fails with a sentence."""
        self.cluster.auth.start()
        proxy = self.cluster.proxy.launch()
        self.assertEqual(proxy.ended(), 1)
        self.assertIn(f"error: https_key_file {self.key} cannot be read: No such file or directory.", proxy.log)

    def test_key_for_everybody(self) -> None:
        """So does one with a key that anybody can read."""
        self.write(1003)
        self.key.chmod(0o644)
        self.cluster.auth.start()
        proxy = self.cluster.proxy.launch()
        self.assertEqual(proxy.ended(), 1)
        self.assertIn(f"error: Anybody on this host can read https_key_file {self.key}.", proxy.log)

    def test_not_a_pair(self) -> None:
        """And one with files that do not belong together."""
        self.write(1004)
        self.write(1005, certificate=False)
        self.cluster.auth.start()
        proxy = self.cluster.proxy.launch()
        self.assertEqual(proxy.ended(), 1)
        self.assertIn("cannot be used: its first certificate is not for the key.", proxy.log)
