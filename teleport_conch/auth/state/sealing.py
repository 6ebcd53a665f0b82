"""A file that only its passphrase opens, however large: scrypt, then AES-256-GCM chunk by chunk.

    8 bytes    ``TPCBACK1``; the last byte is the version of this format
    16 bytes   salt of scrypt (N=2**15, r=8, p=1)
    4 bytes    beginning of the nonces, random
    chunks     each: 4 bytes, the length of what follows, big-endian; then the sealed chunk with its tag of 16 bytes

The nonce of a chunk is that beginning, then its number in 7 bytes, then 1 for the last chunk and 0 for the others. All
that comes before the chunks is authenticated with each of them. So no chunk can be changed, moved, repeated or left
out, and a file that was cut short is noticed, wherever it was cut.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from teleport_conch.errors import BadParameter

MAGIC = b"TPCBACK1"
SALT_BYTES = 16
PREFIX_BYTES = 4
HEAD_BYTES = len(MAGIC) + SALT_BYTES + PREFIX_BYTES
CHUNK_BYTES = 1 << 20
TAG_BYTES = 16
MIN_PASSPHRASE_CHARS = 12
_COST = 1 << 15
_LENGTH = struct.Struct(">I")


def check_passphrase(passphrase: str) -> None:
    """:raises BadParameter: whoever has the file could find it by trying."""
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise BadParameter(f"The passphrase of a backup has at least {MIN_PASSPHRASE_CHARS} characters.")


def _key(passphrase: str, head: bytes) -> AESGCM:
    derive = Scrypt(salt=head[len(MAGIC) : len(MAGIC) + SALT_BYTES], length=32, n=_COST, r=8, p=1)
    return AESGCM(derive.derive(passphrase.encode("utf-8", "surrogateescape")))


def _nonce(head: bytes, number: int, last: bool) -> bytes:
    return head[-PREFIX_BYTES:] + number.to_bytes(7, "big") + bytes([last])


class Sealer:
    """Seals what is written to it, into ``target``; :meth:`close` makes it whole, and does not close ``target``.

    :param random: so many random bytes.
    :raises BadParameter: the passphrase is too short.
    """

    def __init__(self, target: BinaryIO, passphrase: str, random: Callable[[int], bytes]) -> None:
        check_passphrase(passphrase)
        self._target = target
        self._head = MAGIC + random(SALT_BYTES) + random(PREFIX_BYTES)
        self._key = _key(passphrase, self._head)
        self._buffer = bytearray()
        self._number = 0
        target.write(self._head)

    def write(self, data: bytes) -> int:
        self._buffer += data
        while len(self._buffer) > CHUNK_BYTES:  # never the last one: what is left is not empty
            self._seal(bytes(self._buffer[:CHUNK_BYTES]), last=False)
            del self._buffer[:CHUNK_BYTES]
        return len(data)

    def close(self) -> None:
        self._seal(bytes(self._buffer), last=True)

    def _seal(self, chunk: bytes, last: bool) -> None:
        sealed = self._key.encrypt(_nonce(self._head, self._number, last), chunk, self._head)
        self._target.write(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class Unsealer:
    """Reads what was sealed. Only once :meth:`read` has answered nothing is it certain that nothing is missing.

    :raises BadParameter: ``source`` is something else, or of a newer format. :meth:`read` raises it for a passphrase
        that is wrong, and for damage.
    """

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        self._source = source
        self._head = source.read(HEAD_BYTES)
        if len(self._head) < HEAD_BYTES or not self._head.startswith(MAGIC[:-1]):
            raise BadParameter("This is not a backup of an auth server.")
        if not self._head.startswith(MAGIC):
            raise BadParameter("The backup was made by a newer version of this program; use that one.")
        self._key = _key(passphrase, self._head)
        self._buffer = bytearray()
        self._number = 0
        self._next = self._sealed_chunk()
        if self._next is None:
            raise BadParameter("The backup is damaged, or a part of it is missing.")

    def read(self, count: int) -> bytes:
        """``count`` bytes, fewer only at the end."""
        while len(self._buffer) < count and self._next is not None:
            self._unseal()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _unseal(self) -> None:
        sealed, self._next = self._next, self._sealed_chunk()
        assert sealed is not None
        try:
            self._buffer += self._key.decrypt(_nonce(self._head, self._number, self._next is None), sealed, self._head)
        except InvalidTag:
            if self._number == 0:
                raise BadParameter("The passphrase is wrong, or the backup is damaged.") from None
            raise BadParameter("The backup is damaged, or a part of it is missing.") from None
        self._number += 1

    def _sealed_chunk(self) -> bytes | None:
        """The next chunk as it lies in the file, None at its end."""
        length = self._source.read(_LENGTH.size)
        if not length:
            return None
        count = _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else 0
        sealed = self._source.read(count) if TAG_BYTES <= count <= CHUNK_BYTES + TAG_BYTES else b""
        if not sealed or len(sealed) != count:
            raise BadParameter("The backup is damaged, or a part of it is missing.")
        return sealed
