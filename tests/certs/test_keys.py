"""Keys: their types and bounds, PEM, lines, fingerprints and pins."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys, public_key
from teleport_conch.errors import BadParameter, PinMalformed, PinMismatch
from tests.certs import samples

_MATERIALS: tuple[public_key.Material, ...] = (
    samples.SSH_KEY.public_key(),
    samples.ecdsa_key(256).public_key(),
    samples.ecdsa_key(384).public_key(),
    samples.ecdsa_key(521).public_key(),
    samples.rsa_key().public_key(),
)


class BlobTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """A blob is read as the key that it was made of, and is what cryptography writes too."""
        for material in _MATERIALS:
            blob = keys.public_blob(material)
            self.assertEqual(public_key.parse(blob).material, material)
            form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            self.assertEqual(keys.public_line(blob).encode(), material.public_bytes(*form))

    def refused(self, blob: bytes, says: str) -> wire.WireError:
        error = self.assertRaises(wire.WireError, public_key.parse, blob)
        self.assertIn(says, str(error))
        assert isinstance(error, wire.WireError)
        return error

    def test_25_types_do_not_mix(self) -> None:
        """A type says of which curve and which length its key is."""
        point = public_key.of_material(samples.ecdsa_key(384).public_key()).fields[1]
        write = public_key.to_blob
        self.refused(write("ecdsa-sha2-nistp256", (b"nistp384", point)), "whose curve is another one")
        self.refused(write("ecdsa-sha2-nistp256", (b"nistp256", point)), "not an uncompressed point")
        self.refused(write("ssh-ed25519", (point,)), "97 bytes, where 32 are due")
        self.refused(write("ssh-ed25519", (b"\1\0\1", b"\0" + b"\xff" * 256)), "bytes too many")

    def test_points(self) -> None:
        """Points beside the curve, at infinity, or in a compressed form are refused."""
        write = public_key.to_blob
        for point, says in (
            (b"\4" + b"\1" * 64, "not a point of nistp256"),
            (b"\0", "not an uncompressed point"),
            (b"\2" + b"\1" * 32, "not an uncompressed point"),
            (b"\2" + b"\1" * 64, "not an uncompressed point"),
            (b"", "not an uncompressed point"),
        ):
            self.refused(write("ecdsa-sha2-nistp256", (b"nistp256", point)), says)

    def test_26_lengths_of_rsa(self) -> None:
        """Too short and too long moduli are refused by their length, before anything is computed."""
        for bits, says in ((512, "of 512 bits"), (2047, "of 2047 bits"), (16385, "16385"), (131072, "more than 16384")):
            blob = wire.text("ssh-rsa") + wire.mpint(65537) + wire.mpint((1 << bits) - 1)
            error = self.refused(blob, says if bits < 131072 else "is the limit")
            self.assertEqual(isinstance(error, public_key.KeyNotSupported), bits < 131072)

    def test_numbers_of_rsa(self) -> None:
        modulus = (1 << 2048) - 1
        for exponent, n, says in (
            (65537, -modulus, "numbers that are not"),
            (65537, modulus - 1, "numbers that are not"),
            (1, modulus, "numbers that are not"),
            (-3, modulus, "numbers that are not"),
            (65536, modulus, "numbers that are not"),
            (modulus, modulus, "an exponent as long"),
        ):
            self.refused(wire.text("ssh-rsa") + wire.mpint(exponent) + wire.mpint(n), says)
        padded = wire.string(b"\0\1\0\1")
        self.refused(wire.text("ssh-rsa") + padded + wire.mpint(modulus), "superfluous leading bytes")

    def test_27_trailing_bytes(self) -> None:
        for material in _MATERIALS:
            self.refused(keys.public_blob(material) + b"\0", "1 bytes too many")

    def test_unknown_types(self) -> None:
        for kind in ("ssh-dss", "ssh-ed25519-cert-v01@openssh.com", "ssh-ed448", ""):
            error = self.refused(wire.text(kind) + bytes(40), f"of the type {kind!r}")
            self.assertIsInstance(error, public_key.KeyNotSupported)

    def test_other_materials(self) -> None:
        """Keys that SSH has no form for, or that are too weak, have no blob."""
        for material in (samples.rsa_key(1024).public_key(), ec.generate_private_key(ec.SECP256K1()).public_key()):
            error = self.assertRaises(BadParameter, keys.public_blob, material)
            self.assertIn("This public key is not accepted", str(error))
        self.assertRaises(
            public_key.KeyNotSupported, public_key.of_material, ed448.Ed448PrivateKey.generate().public_key()
        )

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(_MATERIALS), st.data())
    def test_truncated(self, material: public_key.Material, data: st.DataObject) -> None:
        blob = keys.public_blob(material)
        with self.assertRaises(wire.WireError):
            public_key.parse(blob[: data.draw(st.integers(0, len(blob) - 1))])


class LineTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        line = keys.public_line(samples.SSH_BLOB, "alice@laptop at home")
        self.assertTrue(line.endswith(" alice@laptop at home"))
        self.assertEqual(keys.blob_of_line(line + "\n"), samples.SSH_BLOB)

    def test_58_lines_that_are_no_key(self) -> None:
        """Options, certificates, other types, several lines: none of them is taken for a bare key."""
        kind, base64_ = keys.public_line(samples.SSH_BLOB).split()
        for line, says in (
            ("", "not one line"),
            (base64_, "not one line"),
            (f"restrict {base64_}", "begins with 'restrict'"),
            (f"restrict {kind} {base64_}", "not base64"),
            (f"ssh-rsa {base64_}", "another type than its key's"),
            (samples.user_certificate().to_line(), "begins with 'ssh-ed25519-cert-v01@openssh.com'"),
            (f"{kind} {base64_}\n{kind} {base64_}", "not one line"),
            (f"{kind} {base64_}AAAA", "bytes too many"),
            (f"{kind} {base64_} {'x' * 20000}", "16384 is the limit"),
        ):
            self.assertIn(says, str(self.assertRaises(BadParameter, keys.blob_of_line, line)))


class PrivateKeyTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """Both forms are read again."""
        for key in (samples.SSH_KEY, samples.TLS_KEY, samples.rsa_key()):
            for text in (keys.private_pem(key), keys.ssh_private_pem(key)):
                self.assertEqual(
                    keys.public_blob(keys.load_private_pem(text).public_key()), keys.public_blob(key.public_key())
                )

    def test_what_is_made(self) -> None:
        self.assertIn("BEGIN OPENSSH PRIVATE KEY", keys.ssh_private_pem(samples.SSH_KEY))
        self.assertIn("BEGIN PRIVATE KEY", keys.private_pem(samples.TLS_KEY))
        self.assertEqual(samples.TLS_KEY.curve.name, "secp256r1")

    def test_refused(self) -> None:
        secret = serialization.BestAvailableEncryption(b"secret")
        forms = serialization.PrivateFormat
        pem = serialization.Encoding.PEM
        locked = samples.TLS_KEY.private_bytes(pem, forms.PKCS8, secret).decode()
        goldilocks = (
            ed448.Ed448PrivateKey.generate().private_bytes(pem, forms.PKCS8, serialization.NoEncryption()).decode()
        )
        for text, says in (
            ("", "not a private key"),
            (keys.private_pem(samples.TLS_KEY)[:100], "not a private key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "not a private key"),
            (locked, "has a passphrase"),
            (goldilocks, "has to be Ed25519, ECDSA or RSA"),
            ("x" * 40000, "32768 is the limit"),
        ):
            self.assertIn(says, str(self.assertRaises(BadParameter, keys.load_private_pem, text)))

    def test_public_pem(self) -> None:
        for material in _MATERIALS:
            self.assertEqual(keys.load_public_pem(keys.public_pem(material)), material)
        for text, says in (
            ("", "not a public key"),
            (keys.public_pem(samples.rsa_key(1024).public_key()), "an RSA key of 1024 bits"),
            ("x" * 20000, "16384 is the limit"),
        ):
            self.assertIn(says, str(self.assertRaises(BadParameter, keys.load_public_pem, text)))


class PinTests(SynchronousTestCase):
    certificate = samples.HOST_CA.tls_keys[0].certificate
    others = (samples.USER_CA.tls_keys[0].certificate,)

    def test_pin(self) -> None:
        """SHA-256 over the DER of SubjectPublicKeyInfo, as ``openssl`` computes it."""
        der = base64.b64decode(
            "".join(keys.public_pem(samples.HOST_CA.tls_keys[0].private_key.public_key()).split("\n")[1:-2])
        )
        self.assertEqual(keys.ca_pin(self.certificate), "sha256:" + hashlib.sha256(der).hexdigest())

    def test_check(self) -> None:
        pin = keys.ca_pin(self.certificate)
        for text in (pin, f" {pin}\n", "sha256:" + pin[7:].upper()):
            self.assertEqual(keys.check_pin(text, (*self.others, self.certificate)), self.certificate)

    def test_96_mismatch(self) -> None:
        for certificates in (self.others, ()):
            error = self.assertRaises(PinMismatch, keys.check_pin, keys.ca_pin(self.certificate), certificates)
            self.assertIn("the authority was rotated since", str(error))
            self.assertIn("tctl status", str(error))

    def test_96_malformed(self) -> None:
        for pin, says in (
            ("", "the form sha256:<hash>"),
            ("abcdef", "the form sha256:<hash>"),
            ("sha1:" + "0" * 40, "begins with 'sha1'"),
            ("SHA256:" + "0" * 64, "begins with 'SHA256'"),
            ("sha256:" + "0" * 63, "64 hexadecimal digits"),
            ("sha256:" + "0" * 63 + "g", "64 hexadecimal digits"),
            ("sha256:" + "\u0660" * 64, "64 hexadecimal digits"),
            ("sha256:", "64 hexadecimal digits"),
        ):
            self.assertIn(says, str(self.assertRaises(PinMalformed, keys.check_pin, pin, self.others)))
