"""Threats 40 to 47, 51, 52 and 55: certificates that must not open a door, each shown at one."""

from __future__ import annotations

from attrs import evolve
from cryptography.hazmat.primitives import hashes
from twisted.internet.task import Clock

from teleport_conch import wire
from teleport_conch.certs.certificate import SSHCertificate, option
from teleport_conch.node.door import NodeFactory
from teleport_conch.proxy_protocol import Believer
from tests.certs import samples
from tests.proxy.samples import header, host_authorities
from tests.ssh.in_memory import sample_host_keys
from tests.ssh.logins import ed25519_client, plain
from tests.threats.visitors import SUCCESS, Visitor, VisitorCase

NOW = int(samples.NOW)
PROXY = "10.0.0.9"
UNKNOWN_AUTHORITY = "The certificate of 'alice' is signed by an authority that is not trusted here."


class CertificateCase(VisitorCase):
    def shown(self, certificate: SSHCertificate, sentence: str, user: bytes = b"root") -> None:
        """A client with this certificate, and the key for it, is refused with this sentence."""
        visitor = self.visitor()
        self.assert_refused(visitor, visitor.log_in_as(ed25519_client(certificate), user), sentence)

    def assert_good(self, certificate: SSHCertificate) -> None:
        self.assertEqual(self.visitor().log_in_as(ed25519_client(certificate)), [(SUCCESS, b"")])


class T40NoPrincipals(CertificateCase):
    def test_refused(self) -> None:
        self.shown(
            samples.user_certificate(principals=()), "The certificate has no principals, so that it is good for nobody."
        )


class T41Wildcards(CertificateCase):
    def test_literal(self) -> None:
        for principal in ("*", "ro*", "root,admin", "ROOT", " root", "root ", "root\n"):
            self.shown(samples.user_certificate(principals=(principal,)), "The certificate is not for 'root'.")

    def test_nul(self) -> None:
        """A principal with a NUL byte, at which some would cut it, makes the certificate one that cannot be read."""
        visitor = self.visitor()
        said = visitor.log_in_as(ed25519_client(samples.user_certificate(principals=("root\0",))))
        self.assert_refused(visitor, said)


class T42AnotherType(CertificateCase):
    def test_host_as_user(self) -> None:
        self.shown(samples.host_certificate(), "A user certificate is due, and this is a host certificate.")

    def test_other_authority_of_the_cluster(self) -> None:
        self.shown(samples.HOST_CA.ssh_keys[0].sign(samples.user_certificate()), UNKNOWN_AUTHORITY)
        host_by_users = samples.USER_CA.ssh_keys[0].sign(samples.host_certificate())
        self.shown(host_by_users, "A user certificate is due, and this is a host certificate.")


class T43AnotherAuthority(CertificateCase):
    def test_another_cluster(self) -> None:
        self.shown(samples.OTHER_USER_CA.ssh_keys[0].sign(samples.user_certificate()), UNKNOWN_AUTHORITY)

    def test_unlisted(self) -> None:
        """Anybody can make an authority, also one of another kind of key. (A retired one: see threat 53.)"""
        self.shown(samples.ed25519_signature(samples.user_certificate()), UNKNOWN_AUTHORITY)
        self.shown(samples.ecdsa_signature(samples.user_certificate(), 256)[0], UNKNOWN_AUTHORITY)


class T44NestedAuthorities(CertificateCase):
    def test_refused(self) -> None:
        """It is told by its declared type, and nothing of the 10,000 levels is read."""
        nested = wire.text("ssh-ed25519-cert-v01@openssh.com") + b"\0\0\x10\0" * 10_000
        visitor = self.visitor()
        said = visitor.log_in_as(ed25519_client(evolve(samples.user_certificate(), signature_key=nested)))
        self.assert_refused(visitor, said)


class T45Times(CertificateCase):
    def test_edges(self) -> None:
        """From its first second on, and no longer in its last."""
        self.assert_good(samples.user_certificate(valid_after=NOW))
        self.assert_good(samples.user_certificate(valid_before=NOW + 1))
        expired = "The certificate expired 0 seconds ago; get a new one, or compare the clocks."
        self.shown(samples.user_certificate(valid_before=NOW), expired)
        early = "The certificate becomes valid in 1 seconds; compare the clocks of the two hosts."
        visitor = self.visitor()
        said = visitor.log_in_as(ed25519_client(samples.user_certificate(valid_after=NOW + 1)))
        self.assertIn(early[:40].encode(), said[0][1])
        self.assert_outside(visitor)

    def test_windows_without_a_moment(self) -> None:
        """One that begins when it ends, and one that ends before it begins."""
        expired = "The certificate expired {} seconds ago; get a new one, or compare the clocks."
        for after, before, sentence in ((NOW, NOW, expired.format(0)), (NOW + 60, NOW - 60, "")):
            certificate = samples.user_certificate(valid_after=after, valid_before=before)
            visitor = self.visitor()
            said = visitor.log_in_as(ed25519_client(certificate))
            self.assertIn(sentence.encode(), said[0][1])
            self.assert_outside(visitor)

    def test_no_end(self) -> None:
        never = samples.user_certificate(valid_before=(1 << 64) - 1)
        self.shown(never, "The certificate never ends; one that expires is due.")


class T46Options(CertificateCase):
    def test_unknown(self) -> None:
        certificate = samples.user_certificate(critical_options=(option("only-on-sundays"),))
        self.shown(certificate, "The certificate has the critical option 'only-on-sundays', which is not known here.")

    def test_twice_or_out_of_order(self) -> None:
        command, address = option("force-command", "date"), option("source-address", "192.0.2.7")
        for options in ((command, command), (address, command)):
            visitor = self.visitor()
            said = visitor.log_in_as(ed25519_client(samples.user_certificate(critical_options=options)))
            self.assert_refused(visitor, said)


class T47SourceAddress(CertificateCase):
    def limited(self, addresses: str) -> SSHCertificate:
        return samples.user_certificate(critical_options=(option("source-address", addresses),))

    def test_the_client(self) -> None:
        self.assert_good(self.limited("198.51.100.0/24,192.0.2.7"))
        self.shown(self.limited("198.51.100.0/24"), "The certificate may not be used from the address 192.0.2.7.")

    def test_lists_that_are_none(self) -> None:
        """Nothing, what is no network, one with bits behind its mask, and names."""
        for addresses in ("192.0.2.7/33", "", "192.0.2.7,", "192.0.2.0 /24", "*", "client.example.com"):
            visitor = self.visitor()
            said = visitor.log_in_as(ed25519_client(self.limited(addresses)))
            self.assertRegex(said[0][1], b"source[- ]address")
            self.assert_outside(visitor)

    def test_one_address_in_two_forms(self) -> None:
        """IPv4 in IPv6 is the IPv4 address that it is, on both sides."""
        visitor = self.visitor_from("::ffff:192.0.2.7")
        self.assertEqual(visitor.log_in_as(ed25519_client(self.limited("192.0.2.0/24"))), [(SUCCESS, b"")])
        visitor = self.visitor_from("::ffff:198.51.100.7")
        self.refused_elsewhere(visitor, "192.0.2.0/24")

    def test_no_address(self) -> None:
        """A client whose address is none, as behind a Unix socket, is nowhere."""
        self.refused_elsewhere(self.visitor_from(""), "0.0.0.0/0,::/0")

    def refused_elsewhere(self, visitor: Visitor, addresses: str) -> None:
        said = visitor.log_in_as(ed25519_client(self.limited(addresses)))
        self.assertRegex(said[0][1], b"The certificate may (not be used from|only be used from certain addresses)")
        self.assert_outside(visitor)

    def visitor_from(self, host: str) -> Visitor:
        visitor = Visitor(self.serve(), host)
        visitor.begin_authentication()
        visitor.client.got.clear()
        return visitor

    def test_not_the_proxy(self) -> None:
        """Behind a proxy it is the client's address that counts, as the proxy vouches for it."""
        for addresses, client, inside in (
            ("192.0.2.0/24", "192.0.2.7", True),
            ("192.0.2.0/24", "203.0.113.9", False),
            (PROXY, "203.0.113.9", False),
        ):
            self.serve()
            clock, believer = Clock(), Believer(samples.HOST_UUID, host_authorities)
            clock.rightNow = samples.NOW
            node = NodeFactory(clock, self.policy, sample_host_keys(), believer, proxied_only=True)
            visitor = Visitor(node, PROXY)
            visitor.server.dataReceived(header(client=(client, 50000)))
            visitor.begin_authentication()
            visitor.client.got.clear()
            answered = visitor.log_in_as(ed25519_client(self.limited(addresses)))
            self.assertEqual(answered[-1][0] == SUCCESS, inside, (addresses, client))


class T51UnknownExtension(CertificateCase):
    def test_ignored(self) -> None:
        """It neither opens nor shuts anything."""
        certificate = samples.user_certificate()
        extensions = tuple(sorted((*certificate.extensions, option("permit-everything"))))
        self.assert_good(samples.user_certificate(extensions=extensions))


class T52Forgeries(CertificateCase):
    def test_sha1(self) -> None:
        signed = samples.rsa_signature(samples.user_certificate(), "ssh-rsa", hashes.SHA1())  # noqa: S303
        self.shown(signed, UNKNOWN_AUTHORITY)

    def test_altered(self) -> None:
        """Whatever is changed in a certificate, it is not the authority's any more."""
        good = samples.user_certificate()
        for forged in (
            evolve(good, principals=("daemon", "root")),
            evolve(good, key_id="bob"),
            evolve(good, serial=good.serial ^ 1),
            evolve(good, valid_before=good.valid_before + 1),
            evolve(good, extensions=()),
            evolve(good, nonce=bytes(32)),
        ):
            self.shown(forged, "The certificate's signature is wrong: it does not fit the key.")

    def test_bits(self) -> None:
        """One bit of every seventh byte, so that each field has some."""
        good = samples.user_certificate()
        blob = good.to_blob()
        for at in range(0, len(blob), 7):
            flipped = bytearray(blob)
            flipped[at] ^= 1 << at % 8
            visitor = self.visitor()
            said = visitor.log_in_as(evolve(ed25519_client(good), plain=bytes(flipped)))
            self.assertNotIn(SUCCESS, [number for number, _ in said], at)
            self.assert_outside(visitor)


class T55NoCertificate(CertificateCase):
    def test_key_alone(self) -> None:
        """The key without its certificate, and the authority's own."""
        (authority,) = samples.USER_CA.public().ssh_keys
        for client in (plain(ed25519_client()), evolve(plain(ed25519_client()), plain=authority)):
            for signed in (False, True):
                visitor = self.visitor()
                payload = client.request(signed=signed, session_id=visitor.session_id)
                self.assert_refused(visitor, visitor.ask(payload))
                self.assertEqual(self.policy.checked, [])
