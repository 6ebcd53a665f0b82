"""Ciphers: what is sealed can be opened, by nobody else, and only as it was."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.transport.ciphers import CIPHERS, MACS, Keys, Opener, PacketAltered, Plain, key_sizes
from teleport_conch.ssh.transport.negotiation import AUTHENTICATING_CIPHERS
from tests.ssh.sealing import combinations, some_keys


def opened(opener: Opener, sequence: int, sealed: bytes) -> bytes:
    head = sealed[: opener.head]
    length = opener.length(sequence, head)
    if length != len(sealed) - 4 - opener.tag:
        raise PacketAltered  # as a reader would find out when it waits for, or refuses, another number of bytes
    return opener.open(sequence, head, memoryview(sealed)[opener.head :])


class KeyTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        """What has to be derived: initial vector, key, and key of the MAC."""
        self.assertEqual(key_sizes(b"chacha20-poly1305@openssh.com", b""), (0, 64, 0))
        self.assertEqual(key_sizes(b"aes128-gcm@openssh.com", b""), (12, 16, 0))
        self.assertEqual(key_sizes(b"aes256-gcm@openssh.com", b""), (12, 32, 0))
        self.assertEqual(key_sizes(b"aes192-ctr", b"hmac-sha2-512-etm@openssh.com"), (16, 24, 64))

    def test_which(self) -> None:
        """Nothing old, and the same idea as the negotiation's of which ciphers need no MAC."""
        for name in (*CIPHERS, *MACS):
            self.assertFalse(any(old in name for old in (b"cbc", b"3des", b"md5", b"sha1", b"arcfour")), name)
        self.assertEqual({name for name, kind in CIPHERS.items() if kind.family != "CTR"}, AUTHENTICATING_CIPHERS)


class RoundTripTests(SynchronousTestCase):
    def test_in_order(self) -> None:
        """Packet after packet, of every size, with numbers that begin anew at 2**32."""
        for cipher, mac in combinations():
            sealer, opener = some_keys(cipher, mac).sealer(), some_keys(cipher, mac).opener()
            self.assertEqual((sealer.block, sealer.counted), (opener.block, opener.counted))
            for number in range(12):
                sequence = (0xFFFF_FFFA + number) & 0xFFFF_FFFF
                body = bytes((number,)) * (sealer.block * (1 + number * 40) - sealer.counted)
                sealed = sealer.seal(sequence, len(body).to_bytes(4, "big"), body)
                self.assertEqual(len(sealed), 4 + len(body) + opener.tag)
                self.assertEqual(opened(opener, sequence, sealed), body)

    def test_not_in_order(self) -> None:
        """A packet that was left out, or that comes again, is noticed at the next."""
        for cipher, mac in combinations():
            sealer, opener = some_keys(cipher, mac).sealer(), some_keys(cipher, mac).opener()
            body = bytes(sealer.block * 4 - sealer.counted)
            packets = [sealer.seal(number, len(body).to_bytes(4, "big"), body) for number in range(3)]
            opened(opener, 0, packets[0])
            self.assertRaises(PacketAltered, opened, opener, 1, packets[2])

    def test_other_keys(self) -> None:
        """What was sealed with other keys cannot be opened."""
        for cipher, mac in combinations():
            sealer, opener = some_keys(cipher, mac).sealer(), some_keys(cipher, mac, 2).opener()
            body = bytes(sealer.block * 4 - sealer.counted)
            sealed = sealer.seal(0, len(body).to_bytes(4, "big"), body)
            problem = self.assertRaises(PacketAltered, opened, opener, 0, sealed)
            self.assertEqual((str(problem), problem.reason), ("a packet was altered on its way", 5))

    def test_every_bit(self) -> None:
        """T10: any flipped bit is refused, in the length, in what is encrypted, and in the tag."""
        for cipher, mac in combinations():
            body = bytes(range(32 - some_keys(cipher, mac).sealer().counted))
            sealed = some_keys(cipher, mac).sealer().seal(3, len(body).to_bytes(4, "big"), body)
            for bit in range(len(sealed) * 8):
                altered = bytearray(sealed)
                altered[bit // 8] ^= 1 << bit % 8
                self.assertRaises(PacketAltered, opened, some_keys(cipher, mac).opener(), 3, bytes(altered))

    @given(st.sampled_from(sorted(combinations())), st.binary(max_size=300), st.integers(0, 2**32 - 1))
    @settings(deadline=None, max_examples=60)
    def test_any(self, combination: tuple[bytes, bytes], payload: bytes, sequence: int) -> None:
        """Any content, at any number, but it is not seen in what is sealed."""
        sealer, opener = some_keys(*combination).sealer(), some_keys(*combination).opener()
        body = payload + bytes(-(len(payload) + sealer.counted) % sealer.block)
        if len(body) + sealer.counted < 16:
            body += bytes(sealer.block * 2)
        sealed = sealer.seal(sequence, len(body).to_bytes(4, "big"), body)
        self.assertEqual(opened(opener, sequence, sealed), body)
        self.assertNotIn(body, sealed)


class FormatTests(SynchronousTestCase):
    """The forms on the wire, put together from their descriptions."""

    def test_gcm(self) -> None:
        """RFC 5647, section 7: the length is associated data, and the last 64 bits of the nonce count packets."""
        keys = Keys(b"aes128-gcm@openssh.com", b"", b"\1\2\3\4" + b"\xff" * 8, bytes(range(16)), b"")
        sealer, body, length = keys.sealer(), bytes(16), (16).to_bytes(4, "big")
        for nonce in (keys.iv, b"\1\2\3\4" + bytes(8), b"\1\2\3\4" + bytes(7) + b"\1"):
            expected = length + AESGCM(keys.key).encrypt(nonce, body, length)
            self.assertEqual(sealer.seal(0, length, body), expected)

    def test_chacha(self) -> None:
        """PROTOCOL.chacha20poly1305: the second key is for the length, the first block is the key of the tag."""
        keys = some_keys(b"chacha20-poly1305@openssh.com", b"")
        body, length = bytes(range(24)), (24).to_bytes(4, "big")
        nonce = bytes(8) + (77).to_bytes(8, "big")
        head = Cipher(algorithms.ChaCha20(keys.key[32:], nonce), None).encryptor().update(length)
        stream = Cipher(algorithms.ChaCha20(keys.key[:32], nonce), None).encryptor().update(bytes(64) + body)
        tag = Poly1305.generate_tag(stream[:32], head + stream[64:])
        self.assertEqual(keys.sealer().seal(77, length, body), head + stream[64:] + tag)

    def test_plain(self) -> None:
        """Before there are keys nothing is hidden."""
        plain = Plain()
        self.assertEqual(plain.seal(0, b"\0\0\0\x0c", b"body of pack"), b"\0\0\0\x0cbody of pack")
        self.assertEqual(plain.open(0, b"\0\0\0\x0c", memoryview(b"body of pack")), b"body of pack")
