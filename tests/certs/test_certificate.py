"""Reading and writing SSH certificates."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import errors, wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import (
    MAX_CERTIFICATE_BYTES,
    CertificateType,
    SSHCertificate,
    certificate_kind,
    option,
)
from tests.certs import samples

_PLAIN = {
    "ssh-ed25519": samples.SSH_BLOB,
    "ecdsa-sha2-nistp256": keys.public_blob(samples.ecdsa_key(256).public_key()),
    "ecdsa-sha2-nistp384": keys.public_blob(samples.ecdsa_key(384).public_key()),
    "ecdsa-sha2-nistp521": keys.public_blob(samples.ecdsa_key(521).public_key()),
    "ssh-rsa": keys.public_blob(samples.rsa_key().public_key()),
    "sk-ssh-ed25519@openssh.com": (
        wire.text("sk-ssh-ed25519@openssh.com")
        + wire.string(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw())
        + wire.text("ssh:")
    ),
    "sk-ecdsa-sha2-nistp256@openssh.com": public_key.to_blob(
        "sk-ecdsa-sha2-nistp256@openssh.com",
        (*public_key.of_material(samples.ecdsa_key(256).public_key()).fields, b"ssh:"),
    ),
}

_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
_options = st.dictionaries(_names, st.binary(max_size=12), max_size=4).map(lambda found: tuple(sorted(found.items())))
_uint64 = st.integers(0, 2**64 - 1)


@st.composite
def _certificates(draw: st.DrawFn) -> SSHCertificate:
    plain = draw(st.sampled_from(sorted(_PLAIN)))
    return SSHCertificate(
        kind=certificate_kind(plain),
        nonce=draw(st.binary(max_size=40)),
        public_key=_PLAIN[plain],
        serial=draw(_uint64),
        type=draw(st.sampled_from(CertificateType)),
        key_id=draw(st.one_of(st.just(""), _names)),
        principals=tuple(draw(st.lists(_names, max_size=4))),
        valid_after=draw(_uint64),
        valid_before=draw(_uint64),
        critical_options=draw(_options),
        extensions=draw(_options),
        reserved=draw(st.binary(max_size=4)),
        signature_key=samples.SSH_BLOB,
        signature=draw(st.binary(max_size=100)),
    )


class CodecTests(SynchronousTestCase):
    def test_every_type_is_drawn(self) -> None:
        self.assertEqual(set(_PLAIN), public_key.KINDS)

    @settings(max_examples=100, deadline=None)
    @given(_certificates())
    def test_round_trip(self, certificate: SSHCertificate) -> None:
        """What is written is read again, as a blob and as a line."""
        self.assertEqual(SSHCertificate.parse(certificate.to_blob()), certificate)
        self.assertEqual(SSHCertificate.from_line(certificate.to_line("a comment")), certificate)

    @settings(max_examples=100, deadline=None)
    @given(_certificates(), st.data())
    def test_truncated(self, certificate: SSHCertificate, data: st.DataObject) -> None:
        """No part of a certificate is one."""
        blob = certificate.to_blob()
        cut = data.draw(st.integers(0, len(blob) - 1))
        with self.assertRaises((errors.CertificateMalformed, errors.CertificateType)):
            SSHCertificate.parse(blob[:cut])

    @settings(max_examples=200, deadline=None)
    @given(_certificates(), st.data())
    def test_altered(self, certificate: SSHCertificate, data: st.DataObject) -> None:
        """An altered certificate is refused, or is read as exactly what it now says."""
        blob = bytearray(certificate.to_blob())
        for at in data.draw(st.lists(st.integers(0, len(blob) - 1), min_size=1, max_size=3)):
            blob[at] ^= data.draw(st.integers(1, 255))
        try:
            read = SSHCertificate.parse(bytes(blob))
        except errors.CertificateRefused:
            return
        self.assertEqual(read.to_blob(), bytes(blob))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300))
    def test_anything(self, blob: bytes) -> None:
        """Bytes of any sort end in a refusal of ours."""
        with self.assertRaises((errors.CertificateMalformed, errors.CertificateType)):
            SSHCertificate.parse(blob)

    def refused(self, kind: type[errors.CertificateRefused], blob: bytes, says: str) -> None:
        self.assertIn(says, str(self.assertRaises(kind, SSHCertificate.parse, blob)))

    def test_trailing_bytes(self) -> None:
        self.refused(errors.CertificateMalformed, samples.user_certificate().to_blob() + b"\0", "1 bytes too many")

    def test_too_long(self) -> None:
        self.refused(errors.CertificateMalformed, bytes(MAX_CERTIFICATE_BYTES + 1), "65536 is the limit")

    def test_neither_user_nor_host(self) -> None:
        blob = samples.user_certificate().to_blob()
        at = blob.index(wire.uint32(1) + wire.text("alice"))
        for number in (0, 3, 2**32 - 1):
            altered = blob[:at] + wire.uint32(number) + blob[at + 4 :]
            self.refused(errors.CertificateType, altered, f"of type {number}: neither")

    def test_unsupported_types(self) -> None:
        for kind in ("ssh-dss-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com", "ssh-ed25519-cert-v00@x"):
            self.refused(errors.CertificateType, wire.text(kind) + bytes(100), f"{kind!r} is not a type")

    def test_names_that_could_be_misread(self) -> None:
        """Zero bytes and empty principals have no place in a certificate."""
        for changes, says in (
            ({"principals": ("root\0",)}, "a zero byte"),
            ({"principals": ("root", "")}, "an empty principal"),
            ({"key_id": "alice\0"}, "a zero byte"),
            ({"principals": tuple(f"u{number}" for number in range(257))}, "more than 256 principals"),
            ({"extensions": (("permit-pty\0", b""),)}, "a zero byte"),
        ):
            self.refused(errors.CertificateMalformed, samples.user_certificate(**changes).to_blob(), says)

    def test_text_that_is_not_utf8(self) -> None:
        blob = samples.user_certificate().to_blob().replace(wire.text("alice"), wire.string(b"alic\xe9"))
        self.refused(errors.CertificateMalformed, blob, "not UTF-8")

    def test_bad_subject_keys(self) -> None:
        """The key that is certified is looked at like any other."""
        short = wire.text("ssh-ed25519") + wire.string(b"x" * 31)
        self.refused(errors.CertificateMalformed, samples.user_certificate(public_key=short).to_blob(), "31 bytes")
        weak = samples.user_certificate(
            public_key=samples.rsa_blob(samples.rsa_key(1024)), kind="ssh-rsa-cert-v01@openssh.com"
        )
        self.refused(errors.CertificateType, weak.to_blob(), "an RSA key of 1024 bits")

    def test_lines(self) -> None:
        line = samples.user_certificate().to_line()
        kind, base64 = line.split()
        for text, says in (
            ("", "not one line"),
            (kind, "not one line"),
            (f"{kind}\n{base64}", "not one line"),
            (f"{line}\n{line}", "not one line"),
            (f"{kind} {base64[:-3]}*==", "not base64"),
            (f"{kind} {base64}é", "not base64"),
            (f"ssh-rsa-cert-v01@openssh.com {base64}", "the certificate in it is ssh-ed25519-cert-v01@openssh.com"),
            (line + " " + "x" * 2 * MAX_CERTIFICATE_BYTES, "131072 is the limit"),
        ):
            error = self.assertRaises(errors.CertificateMalformed, SSHCertificate.from_line, text)
            self.assertIn(says, str(error))
        self.assertEqual(SSHCertificate.from_line(f"  {line} two words\n").key_id, "alice")

    def test_options(self) -> None:
        """A flag has no data; a value is wrapped once more."""
        self.assertEqual(option("permit-pty"), ("permit-pty", b""))
        self.assertEqual(option("force-command", "ls"), ("force-command", b"\0\0\0\2ls"))

    def test_repr_is_short_of_secrets(self) -> None:
        """A nonce is of no use to a reader of logs."""
        self.assertNotIn("nonce", repr(samples.user_certificate()))
