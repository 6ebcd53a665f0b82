"""Which certificates are believed. The numbers in the names of tests are those of the project's list of attacks."""

from __future__ import annotations

import struct
from collections.abc import Collection

from attrs import evolve
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import errors, wire
from teleport_conch.certs import certificate as certificates
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.certificate import CertificateType, SSHCertificate, option
from teleport_conch.certs.trust import check_ssh_certificate
from tests.certs import samples
from tests.certs.samples import NOW

USER_KEYS = frozenset(samples.USER_CA.public().ssh_keys)
HOST_KEYS = frozenset(samples.HOST_CA.public().ssh_keys)
USER = samples.user_certificate()
HOST = samples.host_certificate()


def check_user(
    certificate: SSHCertificate,
    principal: str | None = "root",
    now: float = NOW,
    authorities: Collection[bytes] = USER_KEYS,
    source_address: str | None = "192.0.2.7",
) -> None:
    check_ssh_certificate(
        certificate,
        type=CertificateType.USER,
        authorities=authorities,
        now=now,
        principal=principal,
        source_address=source_address,
    )


def check_host(certificate: SSHCertificate, principal: str | None = "web1", now: float = NOW) -> None:
    check_ssh_certificate(
        certificate,
        type=CertificateType.HOST,
        authorities=HOST_KEYS,
        now=now,
        principal=principal,
        source_address=None,
    )


class Base(SynchronousTestCase):
    def refused(
        self, kind: type[errors.CertificateRefused], certificate: SSHCertificate, says: str, **asked: object
    ) -> errors.CertificateRefused:
        check = check_user if certificate.type is CertificateType.USER else check_host
        error = self.assertRaises(kind, check, certificate, **asked)
        assert isinstance(error, errors.CertificateRefused)
        self.assertIs(type(error), kind)
        self.assertIn(says, error.sentence)
        return error


class WhoTests(Base):
    def test_accepted(self) -> None:
        """A certificate of ours is believed for each of its principals, and where any will do."""
        for login in ("root", "alice", None):
            check_user(USER, login)
        for name in ("web1", "WEB1", "web1.demo.example", samples.HOST_UUID, "10.0.0.5", None):
            check_host(HOST, name)

    def test_40_no_principals(self) -> None:
        """Without principals a certificate is good for nobody, whoever asks."""
        for certificate in (samples.user_certificate(principals=()), samples.host_certificate(principals=())):
            for principal in ("root", "", None):
                self.refused(errors.CertificatePrincipal, certificate, "no principals", principal=principal)

    def test_41_principals_are_literal(self) -> None:
        """Neither wildcards, nor commas, nor zero bytes mean anything in a principal."""
        for strange in ("*", "ro*", "root,admin", "root\0", "roo?", "Root", " root"):
            certificate = samples.user_certificate(principals=(strange,))
            self.refused(errors.CertificatePrincipal, certificate, "is not for 'root'")

    def test_empty_name_is_no_principal(self) -> None:
        self.refused(
            errors.CertificatePrincipal, samples.user_certificate(principals=("",)), "is not for", principal=""
        )

    def test_hostile_name_in_a_refusal(self) -> None:
        """What a peer calls itself is shown short and escaped."""
        error = self.refused(errors.CertificatePrincipal, USER, "is not for", principal="\x1b]0;\n" + "x" * 1000)
        self.assertNotIn("\x1b", error.sentence)
        self.assertLess(len(error.sentence), 200)

    def test_42_types(self) -> None:
        """A host does not log in as a user, nor a user stand in for a host, whoever signed."""
        as_host = samples.user_certificate(type=CertificateType.HOST)
        error = self.assertRaises(errors.CertificateType, check_user, as_host)
        self.assertEqual(str(error), "A user certificate is due, and this is a host certificate.")
        error = self.assertRaises(
            errors.CertificateType, check_host, samples.host_certificate(type=CertificateType.USER)
        )
        self.assertEqual(str(error), "A host certificate is due, and this is a user certificate.")

    def test_42_wrong_authority_of_the_cluster(self) -> None:
        """The user authority's word counts for users only, and the host authority's for hosts."""
        self.refused(
            errors.CertificateAuthorityUnknown, samples.host_certificate(type=CertificateType.USER), "not trusted"
        )
        self.refused(
            errors.CertificateAuthorityUnknown, samples.user_certificate(type=CertificateType.HOST), "not trusted"
        )

    def test_43_unlisted_authority(self) -> None:
        """Nobody's certificate, that of another cluster, and one of a retired key are refused for that reason."""
        self.refused(errors.CertificateAuthorityUnknown, samples.ed25519_signature(USER), "'alice'")
        foreign = samples.OTHER_USER_CA.ssh_keys[0].sign(USER)
        self.refused(errors.CertificateAuthorityUnknown, foreign, "not trusted here")
        self.refused(errors.CertificateAuthorityUnknown, USER, "not trusted here", authorities=())

    def test_two_keys_are_trusted(self) -> None:
        """While keys rotate, certificates of both are believed, and the first one signs."""
        old, new = samples.USER_CA, Authority.generate("user", samples.CLUSTER, NOW)
        rotating = evolve(old, ssh_keys=new.ssh_keys + old.ssh_keys)
        fresh = rotating.sign_user_ssh(
            samples.SSH_BLOB, name="bob", logins=["root"], roles=[], traits={}, ttl_s=60, now=NOW
        )
        self.assertEqual(fresh.signature_key, new.ssh_keys[0].public_blob)
        for certificate in (USER, fresh):
            check_user(certificate, authorities=rotating.public().ssh_keys)

    def test_44_authority_is_a_certificate(self) -> None:
        """That is told from the declared type: nothing behind it is read, however deep it nests."""
        levels, length = list[bytes](), 0
        for _ in range(10_000):
            levels.append(wire.text("ssh-ed25519-cert-v01@openssh.com") + wire.uint32(length))
            length += len(levels[-1])
        nested = b"".join(reversed(levels))
        says = "'ssh-ed25519-cert-v01@openssh.com', which no authority may have"
        self.refused(errors.CertificateAlgorithm, evolve(USER, signature_key=nested), says, authorities=(nested,))
        blob = evolve(USER, signature_key=b"".join(reversed(levels[:1000]))).to_blob()
        self.assertIn(says, str(self.assertRaises(errors.CertificateAlgorithm, SSHCertificate.parse, blob)))


class WhenTests(Base):
    def test_45_edges(self) -> None:
        """The first second counts in, the last does not."""
        certificate = samples.user_certificate(valid_after=1000, valid_before=2000)
        check_user(certificate, now=1000)
        check_user(certificate, now=1999.999)
        early = self.refused(errors.CertificateNotYetValid, certificate, "compare the clocks", now=999.5)
        self.assertEqual(early.facts, {"seconds": 0.5})
        late = self.refused(errors.CertificateExpired, certificate, "expired 412 seconds ago", now=2412)
        self.assertEqual(late.facts, {"seconds": 412})
        self.refused(errors.CertificateExpired, certificate, "expired 0 seconds ago", now=2000)

    def test_45_windows_that_are_none(self) -> None:
        """Equal bounds, an end before the start, and times beyond all clocks hold at no time."""
        for start, end, now in ((1000, 1000, 1000), (2000, 1000, 1500), (2**64 - 2, 2**64 - 2, NOW)):
            certificate = samples.user_certificate(valid_after=start, valid_before=end)
            self.assertRaises(
                (errors.CertificateExpired, errors.CertificateNotYetValid), check_user, certificate, now=now
            )
        self.refused(errors.CertificateNotYetValid, samples.user_certificate(valid_after=2**64 - 1), "becomes valid in")

    def test_45_forever(self) -> None:
        for certificate in (
            samples.user_certificate(valid_before=2**64 - 1),
            samples.host_certificate(valid_before=2**64 - 1),
        ):
            self.refused(errors.CertificateMalformed, certificate, "never ends")

    def test_time_that_is_no_number(self) -> None:
        self.assertRaises(errors.CertificateNotYetValid, check_user, USER, now=float("nan"))

    def test_backdated(self) -> None:
        """A clock that is five minutes slow still believes, one that is slower does not."""
        check_user(USER, now=NOW - 300)
        self.refused(errors.CertificateNotYetValid, USER, "in 1 seconds", now=NOW - 301)


class OptionTests(Base):
    def limited(self, *options: tuple[str, bytes]) -> SSHCertificate:
        return samples.user_certificate(critical_options=options)

    def test_known_options(self) -> None:
        certificate = self.limited(option("force-command", "uptime"), option("verify-required"))
        check_user(certificate)
        self.assertEqual(certificate.critical_option("force-command"), "uptime")
        self.assertEqual(certificate.critical_option("verify-required"), "")
        self.assertIsNone(certificate.critical_option("source-address"))

    def test_46_unknown_critical_option(self) -> None:
        for name in ("permit-pty", "Force-Command", "force-command\0", "x@example.com", ""):
            self.refused(errors.CertificateCriticalOption, self.limited((name, b"")), "which is not known here")

    def test_46_malformed_critical_option(self) -> None:
        """A value without its wrapping, an empty one, one with more behind it, and a flag with a value."""
        for name, data in (
            ("force-command", b"uptime"),
            ("force-command", b""),
            ("force-command", wire.text("")),
            ("force-command", wire.text("uptime") + b"x"),
            ("force-command", wire.string(b"\xff")),
            ("force-command", wire.text("up\0time")),
            ("verify-required", wire.text("yes")),
        ):
            self.refused(
                errors.CertificateCriticalOption, self.limited((name, data)), f"option {name} of the certificate is"
            )

    def test_46_twice_or_out_of_order(self) -> None:
        """Options that are not sorted, or that repeat a name, are no certificate at all."""
        first, second = option("force-command", "a"), option("source-address", "::/0")
        for options in ((first, first), (second, first), (first, second, first)):
            for field in ("critical_options", "extensions"):
                blob = samples.user_certificate(**{field: options}).to_blob()
                error = self.assertRaises(errors.CertificateMalformed, SSHCertificate.parse, blob)
                self.assertIn("not in order, or one of them twice", str(error))

    def test_57_host_with_a_critical_option(self) -> None:
        """No critical option means anything for a host."""
        certificate = samples.host_certificate(critical_options=(option("force-command", "uptime"),))
        self.refused(errors.CertificateCriticalOption, certificate, "'force-command', which is not known here")
        self.refused(errors.CertificatePrincipal, HOST, "is not for 'web2'", principal="web2")

    def test_50_permissions_are_what_is_there(self) -> None:
        """A permission that a certificate does not name is absent, and never a default."""
        bare = samples.USER_CA.sign_user_ssh(
            samples.SSH_BLOB,
            name="alice",
            logins=["root"],
            roles=[],
            traits={},
            ttl_s=60,
            now=NOW,
            pty=False,
            port_forwarding=False,
            agent_forwarding=False,
        )
        check_user(bare)
        for name in ("permit-pty", "permit-port-forwarding", "permit-agent-forwarding"):
            self.assertEqual(USER.extension(name), "")
            self.assertIsNone(bare.extension(name))
        for name in ("permit-X11-forwarding", "permit-user-rc", "no-touch-required"):
            self.assertIsNone(USER.extension(name))

    def test_51_unknown_extension(self) -> None:
        """An extension that is not known is passed over, whatever it holds, and permits nothing."""
        certificate = samples.user_certificate(extensions=(("Permit-pty", b""), ("zz@example.com", b"\xff\0")))
        check_user(certificate)
        self.assertIsNone(certificate.extension("permit-pty"))
        error = self.assertRaises(errors.CertificateMalformed, certificate.extension, "zz@example.com")
        self.assertIn("The option zz@example.com of the certificate is malformed", str(error))

    def test_known_extension_malformed(self) -> None:
        for name, data in (("permit-pty", wire.text("no")), ("teleport-roles", b"{}"), ("teleport-roles", b"")):
            self.refused(errors.CertificateMalformed, samples.user_certificate(extensions=((name, data),)), name)


class SourceAddressTests(Base):
    def limited(self, networks: str) -> SSHCertificate:
        return samples.user_certificate(critical_options=(("source-address", wire.text(networks)),))

    def test_accepted(self) -> None:
        for networks, address in (
            ("192.0.2.7", "192.0.2.7"),
            ("10.0.0.0/8,192.0.2.0/24", "192.0.2.255"),
            ("0.0.0.0/0", "192.0.2.7"),
            ("192.0.2.0/24", "::ffff:192.0.2.7"),
            ("2001:db8::/32", "2001:db8::1"),
            ("fe80::/10", "fe80::1%eth0"),
        ):
            check_user(self.limited(networks), source_address=address)

    def test_47_other_address(self) -> None:
        for networks, address in (
            ("192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "192.0.3.1"),
            ("::/0", "192.0.2.7"),
            ("::/0", "::ffff:192.0.2.7"),
            ("0.0.0.0/0", "2001:db8::1"),
        ):
            self.refused(
                errors.CertificateSourceAddress, self.limited(networks), "may not be used from", source_address=address
            )

    def test_47_address_unknown(self) -> None:
        """A client behind a UNIX socket has no address, and nothing that is no address is one."""
        for address in (None, "", "localhost", "192.0.2.7:22", "0300.0.2.7"):
            self.refused(
                errors.CertificateSourceAddress, self.limited("192.0.2.7"), "is not known", source_address=address
            )

    def test_47_lists_that_are_none(self) -> None:
        """A list that OpenSSH would not read either limits nothing safely, so nobody gets in."""
        for networks in (
            *("192.0.2.0/33", "192.0.2.1/24", "192.0.2.0/255.255.255.0", "192.0.2.0/0.0.0.255", "192.0.2.0/"),
            *(",", "192.0.2.7,", " 192.0.2.7", "*", "example.com", "!192.0.2.8", "192.0.2.0/\u0662\u0664", "10"),
        ):
            self.refused(errors.CertificateCriticalOption, self.limited(networks), "no address or CIDR block")
        self.refused(errors.CertificateCriticalOption, self.limited(""), "malformed")
        self.refused(errors.CertificateCriticalOption, self.limited(",".join(["192.0.2.7"] * 257)), "more than 256")


class SignatureTests(Base):
    def test_every_kind_of_authority(self) -> None:
        """Ed25519, ECDSA on three curves, RSA with SHA-2, and security keys may be authorities."""
        signed = [samples.ecdsa_signature(USER, bits)[0] for bits in (256, 384, 521)]
        signed.append(samples.rsa_signature(USER, "rsa-sha2-256", hashes.SHA256()))
        signed.append(samples.rsa_signature(USER, "rsa-sha2-512", hashes.SHA512()))
        security_keys = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
        signed += [samples.security_key_signature(USER, kind, flags=0x05) for kind in security_keys]
        for certificate in signed:
            check_user(SSHCertificate.parse(certificate.to_blob()), authorities=(certificate.signature_key,))

    def test_52_sha1(self) -> None:
        """Whether it is called by its name or dressed up, SHA-1 is no signature."""
        honest = samples.rsa_signature(USER, "ssh-rsa", hashes.SHA1())  # noqa: S303 - what is refused here
        self.refused(
            errors.CertificateAlgorithm, honest, "'ssh-rsa' is not accepted", authorities=(honest.signature_key,)
        )
        dressed = samples.rsa_signature(USER, "rsa-sha2-512", hashes.SHA1())  # noqa: S303 - likewise
        self.refused(errors.CertificateSignature, dressed, "does not fit", authorities=(dressed.signature_key,))

    def test_algorithm_of_another_key(self) -> None:
        for algorithm in ("ecdsa-sha2-nistp256", "rsa-sha2-512", "ssh-ed25519-cert-v01@openssh.com", "none", ""):
            certificate = evolve(USER, signature=wire.text(algorithm) + wire.string(b"x" * 64))
            self.refused(errors.CertificateAlgorithm, certificate, "is not accepted from a key of the type ssh-ed25519")

    def test_short_rsa_authority(self) -> None:
        certificate = samples.rsa_signature(USER, "rsa-sha2-512", hashes.SHA512(), bits=1024)
        self.refused(
            errors.CertificateAlgorithm,
            certificate,
            "an RSA key of 1024 bits",
            authorities=(certificate.signature_key,),
        )

    def test_security_key_not_touched(self) -> None:
        certificate = samples.security_key_signature(USER, "sk-ssh-ed25519@openssh.com", flags=0x04)
        self.refused(
            errors.CertificateSignature, certificate, "was not touched", authorities=(certificate.signature_key,)
        )

    def test_52_malleated_ecdsa(self) -> None:
        """Numbers out of range, negative, or in a longer form are no second spelling of a signature."""
        certificate, r, s = samples.ecdsa_signature(USER, 256)
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        forms = [wire.mpint(r) + wire.mpint(other) for other in (s + order, s - order, -s, 0, order)]
        forms.append(wire.mpint(r) + wire.string(b"\0" + wire.mpint(s)[4:]))
        forms.append(wire.mpint(r) + wire.mpint(s) + b"\0")
        for body in forms:
            altered = evolve(certificate, signature=wire.text("ecdsa-sha2-nistp256") + wire.string(body))
            self.refused(errors.CertificateSignature, altered, "is wrong", authorities=(certificate.signature_key,))

    def test_trailing_bytes_in_signature(self) -> None:
        self.refused(errors.CertificateSignature, evolve(USER, signature=USER.signature + b"\0"), "1 bytes too many")

    def test_52_bit_flips(self) -> None:
        """A certificate with any byte changed is refused."""
        blob = USER.to_blob()
        for at in range(len(blob)):
            flipped = bytearray(blob)
            flipped[at] ^= 1 << at % 8
            with self.assertRaises(errors.CertificateRefused):
                check_user(SSHCertificate.parse(bytes(flipped)))

    def test_each_field_is_signed(self) -> None:
        for name, value in (
            ("nonce", b"x" * 32),
            ("public_key", keys.public_blob(keys.generate_ssh_key().public_key())),
            ("serial", 1),
            ("key_id", "bob"),
            ("principals", ("root",)),
            ("valid_after", 0),
            ("valid_before", 2**62),
            ("critical_options", (option("force-command", "x"),)),
            ("extensions", ()),
            ("reserved", b"x"),
        ):
            self.refused(errors.CertificateSignature, samples.changed(USER, **{name: value}), "is wrong")

    def test_55_key_without_certificate(self) -> None:
        """Neither the authority's own key nor the certified one is a certificate."""
        for blob in (samples.SSH_BLOB, next(iter(USER_KEYS))):
            error = self.assertRaises(errors.CertificateType, SSHCertificate.parse, blob)
            self.assertIn("'ssh-ed25519' is not a type of certificate", str(error))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_signature(self, signature: bytes) -> None:
        """Whatever stands where the signature is due, the answer is one of two refusals."""
        with self.assertRaises((errors.CertificateSignature, errors.CertificateAlgorithm)):
            certificates.verify_signature(evolve(USER, signature=signature))

    def test_type_is_told_first(self) -> None:
        """The checks have an order, so that the reason is the one that helps."""
        wrong = samples.host_certificate(principals=(), valid_before=0, critical_options=(("x", b""),))
        steps = (
            (errors.CertificateType, lambda: check_user(wrong)),
            (errors.CertificateAlgorithm, lambda: check_host(evolve(wrong, signature_key=struct.pack(">L", 0)))),
            (errors.CertificateAuthorityUnknown, lambda: check_host(samples.ed25519_signature(wrong))),
            (errors.CertificateSignature, lambda: check_host(evolve(wrong, serial=1))),
            (errors.CertificateExpired, lambda: check_host(wrong)),
            (errors.CertificatePrincipal, lambda: check_host(samples.resigned(wrong, valid_before=2**62))),
        )
        for kind, check in steps:
            self.assertRaises(kind, check)
