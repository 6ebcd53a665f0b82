"""Packets (RFC 4253, section 6): bytes from the wire become messages, and messages become bytes for the wire.

A :class:`PacketReader` looks at each byte once: packets are opened where they lie in what was read, and only one that
is spread over several reads is put together in a buffer. It answers one message at a time, so that the keys can be
changed between two of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from teleport_conch.ssh.transport.ciphers import LENGTH_BYTES, Opener, Plain, Sealer
from teleport_conch.ssh.transport.compression import Deflater, Inflater
from teleport_conch.ssh.transport.violation import ProtocolViolation

MAX_PACKET_BYTES = 256 << 10
"""The longest packet that is read, and the longest payload that one decompresses to."""
MAX_PLAIN_PACKET_BYTES = 35_000
"""The longest packet that is read before there are keys: what RFC 4253, section 6.1, demands, and not more."""
MIN_PADDING_BYTES = 4
MIN_PACKET_BYTES = 1 + 1 + MIN_PADDING_BYTES
SEQUENCE_MASK = 0xFFFF_FFFF

_PADDING_BYTES_AT_ONCE = 512

Message = tuple[int, bytes]
"""A message's number, and what follows the number in the payload."""


class PacketRefused(ProtocolViolation):
    """A packet whose length or padding is not what it may be."""


class PacketReader:
    """The packets that arrive.

    :ivar sequence: the number of the packet that is read next.
    :ivar opened_bytes: how much was opened with the present keys.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.opened_bytes = 0
        self._opener: Opener = Plain()
        self._max_bytes = MAX_PLAIN_PACKET_BYTES
        self._inflater: Inflater | None = None
        self._data = memoryview(b"")
        self._at = 0
        self._partial = bytearray()
        self._head = b""
        self._due = 0
        """How many bytes belong behind ``_head``; 0 while that is not known."""

    def feed(self, data: bytes) -> None:
        """Bytes from the wire, which :meth:`next` makes messages of."""
        left = self._data[self._at :]
        self._data = memoryview(bytes(left) + data if left else data)
        self._at = 0

    def next(self) -> Message | None:
        """The next message, or None when the rest of it has not arrived.

        :raises ProtocolViolation: there will be none any more; nothing that follows can be read.
        """
        opener = self._opener
        if not self._due:
            head = self._pull(opener.head)
            if head is None:
                return None
            self._head = bytes(head)
            self._due = self._rest(opener.length(self.sequence, self._head))
        rest = self._pull(self._due)
        if rest is None:
            return None
        self.opened_bytes += len(rest)
        self._due = 0
        body = opener.open(self.sequence, self._head, rest)
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK
        return self._message(body)

    def _pull(self, count: int) -> memoryview | None:
        """The next ``count`` bytes; where not all of them are there, what there is moves to ``_partial``."""
        start, end = self._at, self._at + count
        if not self._partial:
            if end <= len(self._data):
                self._at = end
                return self._data[start:end]
        else:
            end -= len(self._partial)
        self._partial += self._data[start:end]
        self._at = min(end, len(self._data))
        if len(self._partial) < count:
            self._data, self._at = memoryview(b""), 0
            return None
        whole, self._partial = self._partial, bytearray()
        return memoryview(whole)

    def _rest(self, length: int) -> int:
        """How many bytes follow the head of a packet of this length. Refuses a length before memory is taken for it."""
        opener = self._opener
        if not MIN_PACKET_BYTES <= length <= self._max_bytes:
            raise PacketRefused(f"a packet of {length} bytes, where {MIN_PACKET_BYTES} to {self._max_bytes} may be")
        if (length + opener.counted) % opener.block:
            raise PacketRefused(f"a packet of {length} bytes, which is no multiple of {opener.block}")
        return LENGTH_BYTES + length - opener.head + opener.tag

    def _message(self, body: bytes) -> Message:
        padding = body[0]
        end = len(body) - padding
        if padding < MIN_PADDING_BYTES or end < 2:
            raise PacketRefused(f"a padding of {padding} bytes in a packet of {len(body)}")
        if self._inflater is None:
            return body[1], body[2:end]
        payload = self._inflater.inflate(body[1:end])
        return payload[0], payload[1:]

    def switch(self, opener: Opener, compressed: bool, from_zero: bool) -> None:
        """Takes new keys for what follows the message that was answered last.

        :param from_zero: whether the packets are counted anew, as strict key exchange demands.
        """
        self._opener = opener
        self._max_bytes = MAX_PACKET_BYTES
        self.opened_bytes = 0
        self._inflater = Inflater(MAX_PACKET_BYTES) if compressed else None
        if from_zero:
            self.sequence = 0

    def inflate(self) -> None:
        """Decompresses from the next packet on."""
        self._inflater = Inflater(MAX_PACKET_BYTES)


class PacketWriter:
    """The packets that are sent.

    :param random: makes so many random bytes, for the padding.
    :ivar sequence: the number of the packet that is sent next.
    :ivar sealed_bytes: how much was sealed with the present keys.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self.sequence = 0
        self.sealed_bytes = 0
        self._sealer: Sealer = Plain()
        self._deflater: Deflater | None = None
        self._random = random
        self._pool = b""

    def pack(self, number: int, *parts: bytes | memoryview) -> bytes:
        """One message as a packet for the wire. ``parts`` make up what follows its number."""
        if self._deflater is not None:
            number, parts = self._deflated(b"".join((number.to_bytes(1, "big"), *parts)))
        sealer, size = self._sealer, 2 + sum(map(len, parts))
        padding = sealer.block - (size + sealer.counted) % sealer.block
        if padding < MIN_PADDING_BYTES:
            padding += sealer.block
        body = b"".join((bytes((padding, number)), *parts, self._padding(padding)))
        sealed = sealer.seal(self.sequence, len(body).to_bytes(LENGTH_BYTES, "big"), body)
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK
        self.sealed_bytes += len(sealed)
        return sealed

    def _deflated(self, payload: bytes) -> tuple[int, tuple[bytes]]:
        assert self._deflater is not None
        deflated = self._deflater.deflate(payload)
        return deflated[0], (deflated[1:],)

    def _padding(self, count: int) -> bytes:
        """Random bytes, drawn from the system for several packets at once."""
        if len(self._pool) < count:
            self._pool = self._random(_PADDING_BYTES_AT_ONCE)
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

    def switch(self, sealer: Sealer, compressed: bool, from_zero: bool) -> None:
        """Takes new keys for what is sent from now on; see :meth:`PacketReader.switch`."""
        self._sealer = sealer
        self.sealed_bytes = 0
        self._deflater = Deflater() if compressed else None
        if from_zero:
            self.sequence = 0

    def deflate(self) -> None:
        """Compresses from the next packet on."""
        self._deflater = Deflater()
