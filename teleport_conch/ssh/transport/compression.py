"""The compression ``zlib@openssh.com``: that of RFC 4253, section 6.2, from the login on (PROTOCOL.zlib), and bounded.

Before the login nothing is decompressed, as the code for that would be in everybody's reach. A packet that would become
longer than any packet may be is refused before it takes the memory.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

from teleport_conch.ssh.transport.violation import ProtocolViolation

COMPRESSION_ERROR = 6
NONE = b"none"
DELAYED = b"zlib@openssh.com"
LEVEL = 6


class CompressionRefused(ProtocolViolation):
    """Data that cannot be decompressed, or that would become too long."""

    reason: ClassVar[int] = COMPRESSION_ERROR


class Deflater:
    """Compresses the payloads of one direction; each can be decompressed as soon as it has arrived."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL)

    def deflate(self, payload: bytes) -> bytes:
        return self._stream.compress(payload) + self._stream.flush(zlib.Z_PARTIAL_FLUSH)


class Inflater:
    """Decompresses the payloads of one direction.

    :param max_bytes: the longest payload that is accepted.
    """

    def __init__(self, max_bytes: int) -> None:
        self._stream = zlib.decompressobj()
        self._max_bytes = max_bytes

    def inflate(self, data: bytes) -> bytes:
        """The payload. :raises CompressionRefused: there is none, or it is too long."""
        try:
            payload = self._stream.decompress(data, self._max_bytes + 1)
        except zlib.error:
            raise CompressionRefused("a packet cannot be decompressed") from None
        if len(payload) > self._max_bytes:
            raise CompressionRefused(f"a packet decompresses to more than {self._max_bytes} bytes")
        if not payload:
            raise CompressionRefused("a packet decompresses to nothing")
        return payload
