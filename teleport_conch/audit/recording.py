"""What a recorded session looks like on disk and on its way: slices of records, each of which names the one before.

A recording is its slices one behind the other, numbered from 0. A slice holds records (a start, output, sizes of the
terminal, an end), and the SHA-256 of the slice before it, so that nothing in the middle can be changed, left out or put
in unseen. Whoever knows the digest of the last slice knows that of all. ``docs/protocol/recordings.rst`` has the bytes.
"""

from __future__ import annotations

import enum
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from attrs import field, frozen

from teleport_conch.errors import BadParameter

MAX_SLICE_RAW = 256 << 10
"""Bytes of the records of one slice, before they are compressed."""
MAX_SLICE_RECORDS = 4096
"""Each of them takes whoever reads it its time, however small it is."""
MAX_SLICE_BYTES = MAX_SLICE_RAW + (1 << 10)
"""Bytes of one slice as it is kept and sent."""
MAX_SLICES = 1 << 20
MAX_RECORDING_BYTES = 1 << 30
"""Bytes of all slices of one recording; a session whose recording would be longer ends."""
MAX_JSON_BYTES = 16 << 10
"""Bytes of a record that is JSON."""

DIGEST_BYTES = 32
NO_DIGEST = bytes(DIGEST_BYTES)
"""What the first slice has in place of the digest of the one before."""

_MAGIC = b"tcrec\x00\x00\x01"
_HEADER = struct.Struct(f">8sII{DIGEST_BYTES}sB")
HEADER_BYTES = _HEADER.size
_RECORD = struct.Struct(">BQI")
RECORD_BYTES = _RECORD.size
"""What a record takes beside its data."""
_LAST = 1


class Kind(enum.Enum):
    """What a record tells; its value is the byte that stands for it."""

    START = ord("s")
    OUTPUT = ord("o")
    RESIZE = ord("r")
    END = ord("e")


@frozen
class Record:
    """Something that happened in the session.

    :param at_us: microseconds since the session began, on a clock that nobody sets.
    :param data: the bytes that the terminal showed; of every other kind a JSON object.
    """

    kind: Kind
    at_us: int
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, kind: Kind, at_us: int, fields: Mapping[str, object]) -> Record:
        """A record that is JSON."""
        return cls(kind, at_us, json.dumps(fields, separators=(",", ":")).encode())

    @property
    def size(self) -> int:
        """The bytes that it takes in a slice, before it is compressed."""
        return RECORD_BYTES + len(self.data)

    def fields(self) -> Mapping[str, object]:
        """The JSON object of a record that is not output. Raises :class:`BadParameter` where it is none."""
        try:
            found = json.loads(self.data) if len(self.data) <= MAX_JSON_BYTES else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise BadParameter(f"A record of a recording ({self.kind.name.lower()}) cannot be read.")
        return found


@frozen
class Header:
    """What is known of a slice without looking at its records.

    :ivar length: of the whole slice in bytes, header included.
    """

    index: int
    length: int
    previous: bytes
    last: bool


@frozen
class Slice:
    """Some records of a recording, in order.

    :param previous: the digest of the slice before.
    :param last: whether the recording ends with it.
    """

    index: int
    previous: bytes
    records: tuple[Record, ...]
    last: bool = False

    def encode(self) -> bytes:
        """The slice as it is kept and sent."""
        raw = b"".join(_RECORD.pack(each.kind.value, each.at_us, len(each.data)) + each.data for each in self.records)
        if len(raw) > MAX_SLICE_RAW or len(self.records) > MAX_SLICE_RECORDS:
            raise ValueError(f"{len(self.records)} records of {len(raw)} bytes do not fit into a slice")
        packed = zlib.compress(raw, 1)
        length = HEADER_BYTES + len(packed)
        return _HEADER.pack(_MAGIC, self.index, length, self.previous, _LAST if self.last else 0) + packed

    @classmethod
    def decode(cls, encoded: bytes) -> Slice:
        """Raises :class:`BadParameter` for what is no slice, or not one slice alone."""
        header = read_header(encoded)
        if len(encoded) != header.length:
            raise BadParameter(f"A slice of a recording has {len(encoded)} bytes, where {header.length} are due.")
        records = tuple(_records(header.index, _inflated(header.index, encoded[HEADER_BYTES:])))
        return cls(header.index, header.previous, records, header.last)


def read_header(encoded: bytes) -> Header:
    """What the first :data:`HEADER_BYTES` of a slice say. Raises :class:`BadParameter` for what is none."""
    if len(encoded) < HEADER_BYTES:
        raise BadParameter("This is not a slice of a recording: it is too short.")
    magic, index, length, previous, flags = _HEADER.unpack_from(encoded)
    if magic != _MAGIC:
        raise BadParameter("This is not a slice of a recording, or it is one of another version.")
    if index >= MAX_SLICES or not HEADER_BYTES < length <= MAX_SLICE_BYTES or flags not in (0, _LAST):
        raise BadParameter(f"Slice {index} of the recording is beyond the bounds of slices.")
    return Header(index, length, previous, flags == _LAST)


def digest(encoded: bytes) -> bytes:
    """What the next slice names this one by."""
    return sha256(encoded).digest()


def _inflated(index: int, packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(packed, MAX_SLICE_RAW + 1)
    except zlib.error:
        raw = b""
    if len(raw) > MAX_SLICE_RAW or not stream.eof or stream.unused_data:
        raise BadParameter(f"Slice {index} of the recording cannot be unpacked, or holds more than slices may.")
    return raw


def _records(index: int, raw: bytes) -> Iterator[Record]:
    at = count = 0
    while at < len(raw):
        count += 1
        if count > MAX_SLICE_RECORDS:
            raise BadParameter(f"Slice {index} of the recording has more than {MAX_SLICE_RECORDS} records.")
        if len(raw) - at < RECORD_BYTES:
            raise BadParameter(f"Slice {index} of the recording ends in the middle of a record.")
        kind, at_us, length = _RECORD.unpack_from(raw, at)
        at += RECORD_BYTES
        if kind not in _KINDS or length > len(raw) - at:
            raise BadParameter(f"Slice {index} of the recording has a record that cannot be read.")
        yield Record(_KINDS[kind], at_us, raw[at : at + length])
        at += length


_KINDS = {kind.value: kind for kind in Kind}


class Chain:
    """Checks slices while they come, in order: each has to follow the one before it.

    :ivar due: the index of the slice that is due.
    :ivar head: the digest of the last one.
    :ivar over: whether the last one said that it is.
    """

    def __init__(self, due: int = 0, head: bytes = NO_DIGEST, over: bool = False) -> None:
        self.due = due
        self.head = head
        self.over = over

    def check(self, header: Header) -> None:
        """Raises :class:`BadParameter` for a slice that does not follow."""
        if self.over:
            raise BadParameter(f"The recording has ended; slice {header.index} comes after its end.")
        if header.index != self.due:
            raise BadParameter(f"Slice {self.due} of the recording is due, and this is slice {header.index}.")
        if header.previous != self.head:
            raise BadParameter(
                f"Slice {header.index} does not follow the one before it: the recording was changed, or a part of it"
                " is missing."
            )

    def add(self, encoded: bytes) -> Header:
        """Checks a slice, after which the next one is due. Raises :class:`BadParameter`."""
        header = read_header(encoded)
        self.check(header)
        self.due, self.head, self.over = header.index + 1, digest(encoded), header.last
        return header


class Reading:
    """Takes a recording in pieces of any size, and gives its slices, each of them checked.

    :ivar chain: what is known of the recording so far.
    """

    def __init__(self) -> None:
        self.chain = Chain()
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[Slice]:
        """The slices that ``piece`` completes. Raises :class:`BadParameter` at the first one that is wrong."""
        self._buffer += piece
        while len(self._buffer) >= HEADER_BYTES:
            length = read_header(bytes(self._buffer[:HEADER_BYTES])).length
            if len(self._buffer) < length:
                return
            encoded = bytes(self._buffer[:length])
            del self._buffer[:length]
            self.chain.add(encoded)
            yield Slice.decode(encoded)

    @property
    def rest(self) -> int:
        """How many bytes of a slice that is not whole there are."""
        return len(self._buffer)


def read(pieces: Iterable[bytes]) -> Iterator[Slice]:
    """The slices of a whole recording. Raises :class:`BadParameter` where it is broken, or torn at its end."""
    reading = Reading()
    for piece in pieces:
        yield from reading.feed(piece)
    if reading.rest:
        raise BadParameter(f"The recording is torn in the middle of slice {reading.chain.due}.")
