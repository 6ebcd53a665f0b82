"""Makes slices of what happens in one session, as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import define, field

from teleport_conch.audit.recording import MAX_SLICE_RAW, MAX_SLICE_RECORDS, NO_DIGEST, Kind, Record, Slice, digest

PIECE_BYTES = 32 << 10
"""Output is recorded in pieces of at most so many bytes, so that slices can be filled."""


@define(eq=False)
class Slicing:
    """The records of a session that are in no slice yet, and where the next slice belongs.

    :ivar due: the index of the next slice.
    :ivar kept_bytes: of all slices before it.
    :ivar waiting_bytes: of the records that wait, as they take in a slice.
    """

    due: int = field(init=False, default=0)
    kept_bytes: int = field(init=False, default=0)
    waiting_bytes: int = field(init=False, default=0)
    _head: bytes = field(init=False, default=NO_DIGEST)
    _waiting: deque[Record] = field(init=False, factory=deque)

    def told(self, kind: Kind, at_us: int, fields: Mapping[str, object]) -> None:
        """A record that is JSON."""
        self._add(Record.of(kind, at_us, fields))

    def shown(self, at_us: int, data: bytes) -> None:
        """What the terminal showed."""
        for start in range(0, len(data), PIECE_BYTES):
            self._add(Record(Kind.OUTPUT, at_us, data[start : start + PIECE_BYTES]))

    def _add(self, record: Record) -> None:
        self._waiting.append(record)
        self.waiting_bytes += record.size

    def take(self) -> Slice:
        """The next slice, of as many of the oldest records as it can hold; the last one where the end is among them.

        It is to be encoded (in any thread), and handed to :meth:`made`, before the next one is taken.
        """
        records: list[Record] = []
        room = MAX_SLICE_RAW
        while self._waiting and self._waiting[0].size <= room and len(records) < MAX_SLICE_RECORDS:
            records.append(self._waiting.popleft())
            room -= records[-1].size
        self.waiting_bytes -= MAX_SLICE_RAW - room
        last = bool(records) and records[-1].kind is Kind.END
        return Slice(self.due, self._head, tuple(records), last)

    def made(self, encoded: bytes) -> None:
        """The slice that was taken last, as it is kept."""
        self.due += 1
        self.kept_bytes += len(encoded)
        self._head = digest(encoded)
