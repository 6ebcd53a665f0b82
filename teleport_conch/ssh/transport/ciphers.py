"""What keeps packets secret and whole: AES-GCM, ChaCha20-Poly1305, and AES-CTR beside HMAC with SHA-2.

A :class:`Sealer` and an :class:`Opener` serve one direction between two key exchanges. Both count on being called once
for each packet, in order. Sources: RFC 4253 section 6, RFC 4344 section 4 (CTR), RFC 5647 as amended by OpenSSH's
PROTOCOL (GCM), PROTOCOL.chacha20poly1305, PROTOCOL section 1.5 (encrypt-then-MAC), RFC 6668 (HMAC with SHA-2). CBC,
3DES, MD5 and SHA-1 are left out.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol

from attrs import frozen
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from teleport_conch.ssh.transport.violation import ProtocolViolation

MAC_ERROR = 5
LENGTH_BYTES = 4
AES_BLOCK_BYTES = 16
TAG_BYTES = 16

_ONE_CHACHA_BLOCK = bytes(64)
_COUNTER_START = bytes(8)


class PacketAltered(ProtocolViolation):
    """A packet that does not carry the right tag: somebody changed it, or it was sealed with other keys."""

    reason: ClassVar[int] = MAC_ERROR

    def __init__(self) -> None:
        super().__init__("a packet was altered on its way")


class Sealer(Protocol):
    """Seals the packets that are sent.

    :ivar block: what packets are padded to a multiple of, in bytes.
    :ivar counted: how many bytes of the length field count towards that multiple: all 4, or none.
    """

    block: int
    counted: int

    def seal(self, sequence: int, length: bytes, body: bytes) -> bytes:
        """What goes on the wire for ``body`` (padding length, payload, padding), which is ``length`` bytes long."""


class Opener(Protocol):
    """Opens the packets that arrive.

    :ivar head: how many bytes have to be there before the length of a packet is known.
    :ivar tag: how many bytes follow those that the length counts.
    """

    block: int
    counted: int
    head: int
    tag: int

    def length(self, sequence: int, head: bytes) -> int:
        """The packet length that ``head`` begins with. Nothing vouches for it yet."""

    def open(self, sequence: int, head: bytes, rest: memoryview) -> bytes:
        """The body of a packet (padding length, payload, padding). ``rest`` is what follows the head, tag included.

        :raises PacketAltered: the tag is not the right one.
        """


class Plain:
    """The packets before there are keys."""

    block = 8
    counted = LENGTH_BYTES
    head = LENGTH_BYTES
    tag = 0

    def seal(self, sequence: int, length: bytes, body: bytes) -> bytes:
        return length + body

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, head: bytes, rest: memoryview) -> bytes:
        return bytes(rest)


class _GCM:
    """AES-GCM: the length is not encrypted, but under the tag; the nonce counts packets from the initial vector on."""

    block = AES_BLOCK_BYTES
    counted = 0
    head = LENGTH_BYTES
    tag = TAG_BYTES

    def __init__(self, keys: Keys) -> None:
        self._aead = AESGCM(keys.key)
        self._fixed, self._count = keys.iv[:4], int.from_bytes(keys.iv[4:12], "big")

    def _nonce(self) -> bytes:
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) & 0xFFFF_FFFF_FFFF_FFFF
        return nonce

    def seal(self, sequence: int, length: bytes, body: bytes) -> bytes:
        return length + self._aead.encrypt(self._nonce(), body, length)

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, head: bytes, rest: memoryview) -> bytes:
        try:
            return self._aead.decrypt(self._nonce(), rest, head)
        except InvalidTag:
            raise PacketAltered from None


class _ChaCha:
    """ChaCha20-Poly1305 as OpenSSH has it: one key for lengths, one for the rest, the sequence number as nonce."""

    block = 8
    counted = 0
    head = LENGTH_BYTES
    tag = TAG_BYTES

    def __init__(self, keys: Keys) -> None:
        self._body, self._length = (
            Primitive(algorithms.ChaCha20(key, bytes(16)), None).encryptor() for key in (keys.key[:32], keys.key[32:])
        )

    def _begin(self, sequence: int) -> Poly1305:
        """Sets the cipher to the second block of a packet's stream; the first is the key of its tag."""
        self._body.reset_nonce(_COUNTER_START + sequence.to_bytes(8, "big"))
        return Poly1305(self._body.update(_ONE_CHACHA_BLOCK)[:32])

    def seal(self, sequence: int, length: bytes, body: bytes) -> bytes:
        self._length.reset_nonce(_COUNTER_START + sequence.to_bytes(8, "big"))
        head, tag = self._length.update(length), self._begin(sequence)
        sealed = self._body.update(body)
        tag.update(head)
        tag.update(sealed)
        return b"".join((head, sealed, tag.finalize()))

    def length(self, sequence: int, head: bytes) -> int:
        self._length.reset_nonce(_COUNTER_START + sequence.to_bytes(8, "big"))
        return int.from_bytes(self._length.update(head), "big")

    def open(self, sequence: int, head: bytes, rest: memoryview) -> bytes:
        tag, sealed = self._begin(sequence), rest[:-TAG_BYTES]
        tag.update(head)
        tag.update(sealed)
        try:
            tag.verify(bytes(rest[-TAG_BYTES:]))
        except InvalidSignature:
            raise PacketAltered from None
        return self._body.update(sealed)


class _HMAC:
    """The tag of a packet beside a cipher that makes none."""

    def __init__(self, mac: MAC, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=mac.digest)
        self.size = self._keyed.digest_size

    def tag(self, sequence: int, head: bytes, rest: bytes | memoryview) -> bytes:
        tagging = self._keyed.copy()
        tagging.update(sequence.to_bytes(4, "big") + head)
        tagging.update(rest)
        return tagging.digest()


class _CTRThenMAC:
    """AES-CTR with the tag over what is encrypted; the length is in the open."""

    block = AES_BLOCK_BYTES
    counted = 0
    head = LENGTH_BYTES

    def __init__(self, keys: Keys) -> None:
        self._stream = _ctr(keys).encryptor()
        self._hmac = _HMAC(MACS[keys.mac], keys.mac_key)
        self.tag = self._hmac.size

    def seal(self, sequence: int, length: bytes, body: bytes) -> bytes:
        sealed = self._stream.update(body)
        return b"".join((length, sealed, self._hmac.tag(sequence, length, sealed)))

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, head: bytes, rest: memoryview) -> bytes:
        sealed = rest[: -self.tag]
        if not hmac.compare_digest(self._hmac.tag(sequence, head, sealed), rest[-self.tag :]):
            raise PacketAltered
        return self._stream.update(sealed)


class _CTRAndMAC:
    """AES-CTR with the tag over what is not encrypted: the form of RFC 4253, in which the length is a secret, too."""

    block = AES_BLOCK_BYTES
    counted = LENGTH_BYTES
    head = AES_BLOCK_BYTES

    def __init__(self, keys: Keys) -> None:
        self._stream = _ctr(keys).encryptor()
        self._hmac = _HMAC(MACS[keys.mac], keys.mac_key)
        self.tag = self._hmac.size
        self._first = b""

    def seal(self, sequence: int, length: bytes, body: bytes) -> bytes:
        tag = self._hmac.tag(sequence, length, body)
        return b"".join((self._stream.update(length), self._stream.update(body), tag))

    def length(self, sequence: int, head: bytes) -> int:
        self._first = self._stream.update(head)
        return int.from_bytes(self._first[:LENGTH_BYTES], "big")

    def open(self, sequence: int, head: bytes, rest: memoryview) -> bytes:
        body = self._first[LENGTH_BYTES:] + self._stream.update(rest[: -self.tag])
        if not hmac.compare_digest(self._hmac.tag(sequence, self._first[:LENGTH_BYTES], body), rest[-self.tag :]):
            raise PacketAltered
        return body


def _ctr(keys: Keys) -> Primitive[modes.CTR]:
    return Primitive(algorithms.AES(keys.key), modes.CTR(keys.iv))


@frozen
class Cipher:
    """How much key material a cipher takes, in bytes; ``family`` is GCM, CTR or ChaCha."""

    family: str
    key_bytes: int
    iv_bytes: int


@frozen
class MAC:
    """A hash, and whether the tag covers what is encrypted (``etm``)."""

    digest: str
    key_bytes: int
    encrypt_then_mac: bool


CIPHERS: Mapping[bytes, Cipher] = MappingProxyType(
    {
        b"chacha20-poly1305@openssh.com": Cipher("ChaCha", 64, 0),
        b"aes256-gcm@openssh.com": Cipher("GCM", 32, 12),
        b"aes128-gcm@openssh.com": Cipher("GCM", 16, 12),
        b"aes256-ctr": Cipher("CTR", 32, 16),
        b"aes192-ctr": Cipher("CTR", 24, 16),
        b"aes128-ctr": Cipher("CTR", 16, 16),
    }
)
"""Every cipher of ours by its name on the wire, most wanted first."""

MACS: Mapping[bytes, MAC] = MappingProxyType(
    {
        b"hmac-sha2-256-etm@openssh.com": MAC("sha256", 32, True),
        b"hmac-sha2-512-etm@openssh.com": MAC("sha512", 64, True),
        b"hmac-sha2-256": MAC("sha256", 32, False),
        b"hmac-sha2-512": MAC("sha512", 64, False),
    }
)
"""The same for MACs, which are used beside CTR."""


@frozen
class Keys:
    """What one direction is sealed with between two key exchanges. ``mac`` is empty for a cipher that needs none."""

    cipher: bytes
    mac: bytes
    iv: bytes
    key: bytes
    mac_key: bytes

    def _engine(self) -> _GCM | _ChaCha | _CTRThenMAC | _CTRAndMAC:
        family = CIPHERS[self.cipher].family
        if family == "GCM":
            return _GCM(self)
        if family == "ChaCha":
            return _ChaCha(self)
        return _CTRThenMAC(self) if MACS[self.mac].encrypt_then_mac else _CTRAndMAC(self)

    def sealer(self) -> Sealer:
        return self._engine()

    def opener(self) -> Opener:
        return self._engine()


def key_sizes(cipher: bytes, mac: bytes) -> tuple[int, int, int]:
    """How many bytes of initial vector, of cipher key and of MAC key have to be derived."""
    kind = CIPHERS[cipher]
    return kind.iv_bytes, kind.key_bytes, MACS[mac].key_bytes if mac else 0
