"""Key exchange: published vectors, both roles against each other, and public values that no honest peer sends."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.transport import SSHTransportBase
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.transport import kex
from teleport_conch.ssh.transport.kex import METHODS, CurveHalf, HybridHalf, KexRefused, X25519Half

# RFC 5903, sections 8.1 to 8.3: the initiator's number, the responder's, and the abscissa that they share.
CURVES: list[tuple[ec.EllipticCurve, str, str, str]] = [
    (
        ec.SECP256R1(),
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
    (
        ec.SECP384R1(),
        "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194",
        "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd55a7448fc",
        "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746",
    ),
    (
        ec.SECP521R1(),
        (
            "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777f5957b26"
            "39bab072462f68c27a57382d4a52"
        ),
        (
            "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a3163e4c2f869cca7"
            "458aa4a4effc311f5cb151685eb9"
        ),
        (
            "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06b3c715a3"
            "a8cc3151f2bee417996d19f3ddea"
        ),
    ),
]

# RFC 7748, section 6.1: Bob's number, his public value, Alice's public value, and the secret.
X25519 = [
    bytes.fromhex(line)
    for line in (
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    )
]

SMALL_ORDER = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]

METHOD = METHODS[b"curve25519-sha256"]


class VectorTests(SynchronousTestCase):
    def test_x25519(self) -> None:
        """The secret of the RFC's example, as the number that enters the hash (RFC 8731, section 3.1)."""
        private, public, peer, secret = X25519
        half = X25519Half(X25519PrivateKey.from_private_bytes(private))
        self.assertEqual(half.public, public)
        self.assertEqual(half.finish(peer), wire.string(secret))

    def test_curves(self) -> None:
        """The secrets of the RFC's examples on NIST's curves."""
        for curve, ours, theirs, secret in CURVES:
            half, peer = (CurveHalf(ec.derive_private_key(int(each, 16), curve)) for each in (ours, theirs))
            self.assertEqual(half.finish(peer.public), wire.mpint(int(secret, 16)))
            self.assertEqual(peer.finish(half.public), wire.mpint(int(secret, 16)))

    def test_a_high_first_bit_is_no_sign(self) -> None:
        """A secret whose first bit is set gets a zero byte in front, as every positive number does."""
        curve, ours, theirs, secret = CURVES[0]
        half, peer = (CurveHalf(ec.derive_private_key(int(each, 16), curve)) for each in (ours, theirs))
        self.assertEqual(half.finish(peer.public), wire.string(b"\0" + bytes.fromhex(secret)))


class MethodTests(SynchronousTestCase):
    def test_names_and_order(self) -> None:
        """What is offered, most wanted first, and nothing with SHA-1 or over a finite field."""
        offered = [
            b"mlkem768x25519-sha256",
            b"curve25519-sha256",
            b"curve25519-sha256@libssh.org",
            b"ecdh-sha2-nistp256",
            b"ecdh-sha2-nistp384",
            b"ecdh-sha2-nistp521",
        ]
        self.assertEqual(list(METHODS), offered if kex.HAS_MLKEM else offered[1:])

    def test_both_sides_agree(self) -> None:
        """Client and server come to the same secret, which no third exchange shares."""
        for method in METHODS.values():
            half = method.start()
            public, secret = method.respond(half.public)
            self.assertEqual(half.finish(public), secret, method.name)
            self.assertNotEqual(method.respond(half.public)[1], secret, method.name)

    def test_hybrid_secret(self) -> None:
        """The hybrid secret is a string, the hash of both secrets; the server's value is as long as its draft says."""
        if not kex.HAS_MLKEM:
            return
        half = HybridHalf.new()
        public, secret = METHODS[b"mlkem768x25519-sha256"].respond(half.public)
        self.assertEqual((len(half.public), len(public), len(secret)), (1216, 1120, 36))
        both = half.lattice.decapsulate(public[:1088]) + half.curve.agree(public[1088:])
        self.assertEqual(secret, wire.string(hashlib.sha256(both).digest()))


class T16PublicValues(SynchronousTestCase):
    """Threat 16: public values that lead to a known secret, or to none, end the exchange with a sentence."""

    def assert_refused(self, name: bytes, value: bytes, sentence: str) -> None:
        """In both roles, where both take a value of this form."""
        if name not in METHODS:
            return
        method = METHODS[name]
        for role in (method.respond, method.start().finish):
            error = self.assertRaises(KexRefused, role, value)
            self.assertEqual((error.reason, str(error)), (3, sentence))

    def test_small_order(self) -> None:
        """Points of small order make a secret of zeros."""
        for point in SMALL_ORDER:
            self.assert_refused(b"curve25519-sha256", point, "an X25519 value of small order")

    def test_off_the_curve(self) -> None:
        """A point beside its curve is refused, and so is a number beyond the field."""
        for name, size in ((b"ecdh-sha2-nistp256", 32), (b"ecdh-sha2-nistp384", 48), (b"ecdh-sha2-nistp521", 66)):
            curve = {32: "secp256r1", 48: "secp384r1", 66: "secp521r1"}[size]
            for point in (b"\4" + b"\1" * 2 * size, b"\4" + bytes(2 * size), b"\4" + b"\xff" * 2 * size):
                self.assert_refused(name, point, f"a point that is not on {curve}")

    def test_other_forms(self) -> None:
        """The point at infinity, and compressed and hybrid forms, are not taken."""
        key = CurveHalf(ec.generate_private_key(ec.SECP256R1()))
        sentence = "a point of secp256r1 of {} bytes, where 65 are due"
        for value in (b"", b"\0", b"\2" + key.public[1:33]):
            self.assert_refused(b"ecdh-sha2-nistp256", value, sentence.format(len(value)))
        hybrid = bytes([6 + key.public[-1] % 2]) + key.public[1:]
        self.assert_refused(b"ecdh-sha2-nistp256", hybrid, "a point that is not on secp256r1")

    def test_lengths(self) -> None:
        """A value of another length is refused before it is looked at."""
        sentence = "an X25519 value of {} bytes, where 32 are due"
        for size in (0, 31, 33, 1 << 16):
            self.assert_refused(b"curve25519-sha256", bytes(size), sentence.format(size))

    def test_hybrid(self) -> None:
        """Both parts of a hybrid value are checked: length, range, and order."""
        if not kex.HAS_MLKEM:
            return
        method, half = METHODS[b"mlkem768x25519-sha256"], HybridHalf.new()
        lattice, curve = half.public[:1184], half.public[1184:]
        for value, sentence in (
            (lattice, "a request of 1184 bytes, where 1216 are due"),
            (half.public + b"\0", "a request of 1217 bytes, where 1216 are due"),
            (b"\xff" * 1184 + curve, "an ML-KEM key whose numbers are out of range"),
            (lattice + bytes(32), "an X25519 value of small order"),
        ):
            self.assertEqual(str(self.assertRaises(KexRefused, method.respond, value)), sentence)
        reply, _ = method.respond(half.public)
        for value, sentence in (
            (reply[:-1], "a reply of 1119 bytes, where 1120 are due"),
            (reply[:1088] + bytes(32), "an X25519 value of small order"),
        ):
            self.assertEqual(str(self.assertRaises(KexRefused, half.finish, value)), sentence)

    @settings(max_examples=30)
    @given(st.sampled_from(sorted(METHODS)), st.binary(max_size=200))
    def test_any_bytes(self, name: bytes, value: bytes) -> None:
        """Whatever arrives, there is a secret or one kind of refusal."""
        for role in (METHODS[name].respond, METHODS[name].start().finish):
            try:
                role(value)
            except KexRefused:
                continue


class HashTests(SynchronousTestCase):
    def test_exchange_hash(self) -> None:
        """The fields in the order of the RFC, each with its length, then the secret as it is."""
        said = (b"SSH-2.0-a", b"SSH-2.0-b", b"\x14c", b"\x14s", b"host key", b"client", b"server")
        hashed = kex.Transcript(METHOD.name, *said, wire.mpint(255)).digest
        whole = b"".join(wire.string(each) for each in said) + b"\0\0\0\2\0\xff"
        self.assertEqual(hashed, hashlib.sha256(whole).digest())

    def test_keys(self) -> None:
        """Each key has its letter, and a longer one begins like a shorter one."""
        secret = wire.mpint(7)
        first = hashlib.sha256(secret + b"hash" + b"A" + b"session").digest()
        second = hashlib.sha256(secret + b"hash" + first).digest()
        third = hashlib.sha256(secret + b"hash" + first + second).digest()
        self.assertEqual(kex.derive(METHOD, secret, b"hash", b"session", b"A", 80), (first + second + third)[:80])
        self.assertEqual(kex.derive(METHOD, secret, b"hash", b"session", b"A", 12), first[:12])

    def test_keys_are_those_of_conch(self) -> None:
        """The same keys as another implementation's, as far as it makes them."""
        theirs = SSHTransportBase()
        theirs.kexAlg, theirs.sessionID = METHOD.name, b"session"
        for letter in (b"A", b"D", b"F"):
            made = theirs._getKey(letter, wire.mpint(99), b"hash")
            self.assertEqual(kex.derive(METHOD, wire.mpint(99), b"hash", b"session", letter, len(made)), made)
