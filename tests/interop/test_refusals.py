"""Who is not let in, what they hear, and where it is written down."""

from __future__ import annotations

import json
import os
import socket
import time

from twisted.conch.ssh.keys import Key

from teleport_conch import proxy_protocol
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import HostIdentity
from tests.interop.case import InteropTests
from tests.interop.certificates import authority_key, foreign_key, signed, signed_by_cluster
from tests.interop.cluster import LOGIN
from tests.interop.person import Person
from tests.interop.programs import DEADLINE_S, Done
from tests.interop.services import LOCALHOST, Service, end
from tests.interop.shared import healthy


class CertificateTests(InteropTests):
    """Certificates that are no good, at the proxy and at the node."""

    def setUp(self) -> None:
        self.cluster = healthy()
        self.node = self.cluster.nodes["web1"]

    def direct(self, person: Person) -> Done:
        """``ssh`` to the node, past the proxy."""
        return person.ssh("-p", str(self.node.port), LOCALHOST, "echo in", config=person.config)

    def assert_refused(self, person: Person, done: Done, by: Service, reason: str) -> None:
        """The person hears why, the log says it, and so does an event."""
        self.assertEqual((done.text, done.code), ("", 255), done)
        self.assertIn(reason, done.complaint)
        by.says(reason)
        event = self.cluster.event(
            "auth",
            lambda each: each["user"] == person.key.name and each["server_id"] == by.host_uuid,
            f"{person.key.name} was refused by {by.name}",
        )
        self.assertEqual(event["code"], "T3007W")
        self.assertIn(reason, str(event["error"]))

    def assert_refused_everywhere(self, person: Person, reason: str) -> None:
        self.assert_refused(person, person.ssh("web1", "echo in"), self.cluster.proxy, reason)
        self.assert_refused(person, self.direct(person), self.node, reason)

    def test_good(self) -> None:
        """The same certificate as below, with nothing wrong."""
        person = signed_by_cluster(self.cluster, "good")
        self.assertEqual(person.ssh("web1", "echo in").text, "in\n")
        self.assertEqual(self.direct(person).text, "in\n")

    def test_expired(self) -> None:
        person = signed_by_cluster(self.cluster, "expired", "-V", "-2h:-1h")
        self.assert_refused_everywhere(person, "expired")

    def test_not_yet_valid(self) -> None:
        person = signed_by_cluster(self.cluster, "early", "-V", "+1h:+2h")
        self.assert_refused_everywhere(person, "becomes valid in")

    def test_foreign(self) -> None:
        person = signed(self.cluster, foreign_key(self.cluster.folder), "foreign")
        self.assert_refused_everywhere(person, "authority")

    def test_signed_by_the_host_authority(self) -> None:
        """The authority of hosts does not vouch for people."""
        person = signed(self.cluster, authority_key(self.cluster, "host"), "hosted")
        self.assert_refused_everywhere(person, "authority")

    def test_unknown_critical_option(self) -> None:
        person = signed_by_cluster(self.cluster, "critical", "-O", "critical:of-the-future=1")
        self.assert_refused_everywhere(person, "of-the-future")

    def test_other_source_address(self) -> None:
        """``source-address`` is compared with the client's own address, also behind the proxy."""
        person = signed_by_cluster(self.cluster, "elsewhere", "-O", "source-address=192.0.2.0/24")
        self.assert_refused_everywhere(person, "address")
        person = signed_by_cluster(self.cluster, "here", "-O", "source-address=127.0.0.2/32")
        config = person.jump_config.read_text()
        person.jump_config.write_text(config.replace("Host proxy\n", "Host proxy\n    BindAddress 127.0.0.2\n"))
        self.assertEqual(person.ssh("web1", "echo in").text, "in\n")

    def test_wrong_principal(self) -> None:
        """A certificate for one account opens no other; the proxy has no accounts, and leaves that to the node."""
        person = self.cluster.person("stranger", ["somebody-else"])
        done = person.ssh("-l", LOGIN, "web1", "echo in")
        self.assert_refused(person, done, self.node, LOGIN)

    def test_unknown_account(self) -> None:
        """A certificate for an account that the host does not have."""
        person = self.cluster.person("ghost", ["no-such-account"])
        self.assert_refused(person, person.ssh("web1", "echo in"), self.node, "no-such-account")

    def test_no_certificate(self) -> None:
        """A plain key is not accepted, even if it is one that a certificate was made for."""
        person = self.cluster.person("plain")
        person.certificate.unlink()
        for config, target in ((person.jump_config, "web1"), (person.config, f"ssh://{LOCALHOST}:{self.node.port}")):
            done = person.ssh(target, "echo in", config=config)
            self.assertEqual((done.text, done.code), ("", 255))
            self.assertIn("Permission denied (publickey)", done.complaint)

    def test_certificate_of_a_host(self) -> None:
        """A host's certificate is none for a person, whoever signed it."""
        person = signed(self.cluster, authority_key(self.cluster), "machine", "-h")
        done = person.ssh("web1", "echo in")
        self.assertEqual((done.text, done.code), ("", 255))
        # ssh itself does not offer such a certificate, other clients may: see the unit tests of trust.


class AddressTests(InteropTests):
    """Where a connection comes from, and who may say so."""

    def setUp(self) -> None:
        self.cluster = healthy()

    def node(self, name: str, **settings: object) -> Service:
        node = self.cluster.node(name, settings=settings).start()
        self.addCleanup(end, node)
        self.cluster.becomes(node, "online")
        return node

    def test_real_address(self) -> None:
        """The node sees the client's address through the proxy, and writes it down."""
        person = self.cluster.person("nearby")
        config = person.jump_config.read_text()
        person.jump_config.write_text(config.replace("Host proxy\n", "Host proxy\n    BindAddress 127.0.0.3\n"))
        seen = person.ssh("web1", "echo $SSH_CLIENT; echo $SSH_CONNECTION").text.splitlines()
        self.assertEqual([line.split()[0] for line in seen], ["127.0.0.3", "127.0.0.3"])
        event = self.cluster.event("session.start", lambda each: each["user"] == "nearby", "of this session")
        self.assertTrue(str(event["addr.remote"]).startswith("127.0.0.3:"), event)

    def test_proxied_only(self) -> None:
        """``proxied_only: yes`` refuses whoever did not come through the proxy."""
        node = self.node("guarded", proxied_only=True)
        person = self.cluster.person("alice")
        self.assertEqual(person.ssh("guarded", "echo in").text, "in\n")
        done = person.ssh("-p", str(node.port), LOCALHOST, "echo in", config=person.config)
        self.assertEqual((done.text, done.code), ("", 255))
        self.assertIn("This node takes connections through a proxy of its cluster only.", done.complaint)
        node.says("This node takes connections through a proxy of its cluster only.")

    def assert_header_refused(self, node: Service, header: bytes, reason: str) -> None:
        """Nothing that is sent behind the header counts."""
        with socket.create_connection((LOCALHOST, node.port), DEADLINE_S) as client:
            client.sendall(header + b"SSH-2.0-Forger\r\n")
            heard = b""
            while data := client.recv(65536):
                heard += data
        self.assertIn(reason.encode(), heard)
        node.says(reason)

    def header(self, signer: Service, role: str, node: Service, now: float) -> bytes:
        """A header that says "the client is 10.9.8.7", signed by a host of the cluster."""
        path = signer.data_dir / "identities" / f"{role}.json"
        identity = HostIdentity.from_json(json.loads(path.read_text()))
        key = Key.fromString(identity.ssh_key.encode())
        certificate = SSHCertificate.from_line(identity.ssh_certificate)
        client, server = ("10.9.8.7", 1234), (LOCALHOST, node.port)
        return proxy_protocol.encode(client, server, node.host_uuid, certificate, key.sign, now, os.urandom(16))

    def test_forged_header(self) -> None:
        """Only a proxy of the cluster may say where a connection comes from; each of its headers is good once."""
        node, proxy = self.cluster.nodes["web1"], self.cluster.proxy
        unsigned = bytes.fromhex("0d0a0d0a000d0a515549540a2111000c") + bytes((10, 9, 8, 7, 127, 0, 0, 1)) + bytes(4)
        self.assert_header_refused(node, unsigned, "A PROXY header was refused")
        by_a_node = self.header(node, "node", node, time.time())
        self.assert_header_refused(node, by_a_node, "it is signed by a host that is no proxy")
        old = self.header(proxy, "proxy", node, time.time() - 3600)
        self.assert_header_refused(node, old, "compare the clocks")
        for_another = self.header(proxy, "proxy", self.node("another"), time.time())
        self.assert_header_refused(node, for_another, "it is meant for another server")
        good = self.header(proxy, "proxy", node, time.time())
        self.assert_header_refused(node, good[:-1] + bytes([good[-1] ^ 1]), "A PROXY header was refused")
        self.assertTrue(self.greeted(node, good))
        self.assert_header_refused(node, good, "it was used before")

    def greeted(self, node: Service, header: bytes) -> bool:
        """Whether a key exchange begins behind the header."""
        with socket.create_connection((LOCALHOST, node.port), DEADLINE_S) as client:
            client.sendall(header + b"SSH-2.0-Client\r\n")
            heard = b""
            while b"curve25519-sha256" not in heard:
                data = client.recv(65536)
                if not data:
                    return False
                heard += data
        return True

    def test_proxy_takes_no_header(self) -> None:
        """A client that puts a header in front of what it says to the proxy is not listened to."""
        with socket.create_connection((LOCALHOST, self.cluster.proxy_port), DEADLINE_S) as client:
            client.sendall(b"PROXY TCP4 10.9.8.7 127.0.0.1 1234 22\r\nSSH-2.0-Forger\r\n" + bytes(64))
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        self.assertNotIn("10.9.8.7", self.cluster.proxy.log)
