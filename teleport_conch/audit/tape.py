"""A recording that is read piece by piece, and from its start again as often as somebody goes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import IO

from teleport_conch.audit.recording import Chain, Kind, Reading, Record
from teleport_conch.errors import BadParameter

PIECE_BYTES = 1 << 20
"""Bytes that are read at a time."""

Fetch = Callable[[int], Awaitable[bytes]]
"""Answers the next bytes of a recording, given how many there were before; none where there are no more."""


class Tape:
    """The records of a recording in order, each slice checked as it comes.

    :param fetch: where the recording comes from.
    :param kept: an empty file for what has come, where that is not to be fetched again.
    :ivar end: what the last record said, once it has been read.
    """

    def __init__(self, fetch: Fetch, kept: IO[bytes] | None = None) -> None:
        self._fetch, self._kept = fetch, kept
        self._fetched = 0
        self.rewind()

    def rewind(self) -> None:
        """The next record is the first one again."""
        self._reading = Reading()
        self._read = 0
        self._slices: Iterator[tuple[Record, ...]] = iter(())
        self._records: Iterator[Record] = iter(())
        self.end: Mapping[str, object] | None = None

    @property
    def chain(self) -> Chain:
        """What is known of the slices so far."""
        return self._reading.chain

    async def next(self) -> Record | None:
        """The next record; None where there is none, or none yet.

        :raises BadParameter: the recording is broken here, or torn.
        """
        while True:
            for record in self._records:
                self.end = record.fields() if record.kind is Kind.END else None
                return record
            for records in self._slices:
                self._records = iter(records)
                break
            else:
                if not await self._more():
                    return None

    async def rest(self) -> AsyncIterator[Record]:
        """All records that follow."""
        while (record := await self.next()) is not None:
            yield record

    async def _more(self) -> bool:
        piece = await self._piece()
        self._slices = (each.records for each in self._reading.feed(piece))
        if not piece and self._reading.rest:
            raise BadParameter(f"The recording is torn in the middle of slice {self.chain.due}.")
        return bool(piece)

    async def _piece(self) -> bytes:
        piece = self._again() or await self._fetch(self._read)
        if self._kept is not None and self._read == self._fetched:
            self._kept.write(piece)
            self._fetched += len(piece)
        self._read += len(piece)
        return piece

    def _again(self) -> bytes:
        """What has come before, of what is kept."""
        if self._kept is None:
            return b""
        self._kept.seek(self._read)
        return self._kept.read(min(PIECE_BYTES, self._fetched - self._read))
