"""Auth as far as it takes recordings, in memory; and recordings to be sent there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred

from teleport_conch.audit.recording import NO_DIGEST, Kind, Record, Slice, digest, read_header
from teleport_conch.errors import BadParameter, RecordingClosed, RecordingOrder, TeleportError

_Answer = TypeVar("_Answer")

SIDS = tuple(f"{digit}0000000-0000-4000-8000-000000000000" for digit in "abcdef0123")
END = {"exit": "0", "complete": True, "reason": ""}


def at_once(work: Callable[[], _Answer]) -> Deferred[_Answer]:
    """In no thread at all."""
    return maybeDeferred(work)


def slices_of(*texts: bytes, last: bool = True) -> list[bytes]:
    """The slices of a session that showed ``texts``, with one of its own for each, and for the start and the end."""
    made: list[bytes] = []
    records = [Record.of(Kind.START, 0, {}), *(Record(Kind.OUTPUT, at, text) for at, text in enumerate(texts))]
    if last:
        records.append(Record.of(Kind.END, len(texts), END))
    for index, record in enumerate(records):
        previous = digest(made[-1]) if made else NO_DIGEST
        made.append(Slice(index, previous, (record,), record.kind is Kind.END).encode())
    return made


@define
class SampleAuth:
    """What auth has of each recording; and what is wrong with it, asked before each slice.

    :ivar silent: answers to nothing as long as it is set; the calls wait in ``waiting``.
    :ivar deaf: takes slices, and its answers are lost.
    """

    kept: dict[str, list[bytes]] = field(factory=dict)
    asked: list[tuple[str, int]] = field(factory=list)
    problem: Callable[[str, int], TeleportError | None] = lambda sid, index: None
    silent: bool = False
    waiting: list[Deferred[None]] = field(factory=list)
    lost_answers: TeleportError | None = None

    async def send_slice(self, session_id: str, encoded: bytes) -> tuple[int, str]:
        index = read_header(encoded).index
        self.asked.append((session_id, index))
        if self.silent:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        problem = self.problem(session_id, index)
        if problem is not None:
            raise problem
        answer = self._take(session_id, encoded)
        if self.lost_answers is not None:
            raise self.lost_answers
        return answer

    def _take(self, session_id: str, encoded: bytes) -> tuple[int, str]:
        header, kept = read_header(encoded), self.kept.setdefault(session_id, [])
        due, head = len(kept), digest(kept[-1]) if kept else NO_DIGEST
        if kept and encoded == kept[-1]:
            return due, head.hex()
        if kept and read_header(kept[-1]).last:
            raise RecordingClosed("The recording has its last slice.")
        at_us = Slice.decode(kept[-1]).records[-1].at_us if kept else 0
        if (header.index, header.previous) != (due, head):
            sentence = f"Slice {due} is due, and not {header.index}."
            raise RecordingOrder(sentence, next=due, head=head.hex(), at_us=at_us)
        if Slice.decode(encoded).records[0].at_us < at_us:
            raise BadParameter("It runs back in time.")
        kept.append(encoded)
        return due + 1, digest(encoded).hex()

    def is_complete(self, session_id: str) -> bool:
        """Whether the recording has an end that says that nothing is missing."""
        return self.end(session_id).get("complete") is True

    def end(self, session_id: str) -> dict[str, object]:
        """What the end of a recording says; nothing where there is none."""
        record = Slice.decode(self.kept[session_id][-1]).records[-1]
        return dict(record.fields()) if record.kind is Kind.END else {}

    def shown(self, session_id: str) -> bytes:
        """The output of a recording."""
        records = (record for each in self.kept.get(session_id, ()) for record in Slice.decode(each).records)
        return b"".join(record.data for record in records if record.kind is Kind.OUTPUT)
