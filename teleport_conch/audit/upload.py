"""One recording on its way from a node to auth: its slices in order, whatever of them auth has already.

The newest slice that auth has taken stays in the spool until auth has taken the next one. So after a crash there is
always one to go on from: to send it again does no harm, and auth's answer says what is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import DeferredLock

from teleport_conch.audit.recording import MAX_SLICES, Kind, Record, Slice, digest, read_header
from teleport_conch.audit.upload_spool import UploadSpool
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    HostLocked,
    RecordingClosed,
    RecordingOrder,
    StorageError,
    TeleportError,
    TooLarge,
)

_FOR_GOOD = (BadParameter, AccessDenied, TooLarge, RecordingOrder, RecordingClosed)


class SliceClient(Protocol):
    """The part of auth's API that takes recordings."""

    async def send_slice(self, session_id: str, encoded: bytes) -> tuple[int, str]:
        """See :meth:`teleport_conch.client.recordings.Recordings.send_slice`."""


def is_for_good(error: TeleportError) -> bool:
    """Whether auth would refuse the same slice again, whenever it is sent."""
    return isinstance(error, _FOR_GOOD) and not isinstance(error, HostLocked)


@define(eq=False)
class Upload:
    """What is known of one recording that is not all at auth.

    :ivar whose: the person of the session; empty where that is not known any more.
    :ivar live: whether its session goes on, and makes more slices.
    :ivar broken_off: why there is no last slice though the session is over, as a sentence: one that says so is sent
        behind all others. Empty where there is one, or will be.
    :ivar refused: why auth will take nothing more of it; empty where it does.
    :ivar over: whether auth has all of it.
    """

    recording: str
    _spool: UploadSpool
    _client: Callable[[], SliceClient]
    live: bool = True
    broken_off: str = ""
    whose: str = ""
    refused: str = field(init=False, default="")
    over: bool = field(init=False, default=False)
    _due: int | None = field(init=False, default=None)
    _head: str = field(init=False, default="")
    _at_us: int = field(init=False, default=0)
    _turn: DeferredLock = field(init=False, factory=DeferredLock)

    async def catch_up(self, most: int = MAX_SLICES) -> bool:
        """Send what lies in the spool, and answer whether there may be more of it.

        :param most: slices that are sent, however many more there are or come meanwhile.
        :raises TeleportError: not all of it was taken; see :func:`is_for_good`.
        """
        async with self._turn:
            return await self._catch_up(most)

    async def deliver(self, encoded: bytes) -> None:
        """Send a slice that is not in the spool, behind those that are. Raises as :meth:`catch_up` does."""
        async with self._turn:
            await self._catch_up(MAX_SLICES)
            await self._take(encoded)

    async def _catch_up(self, most: int) -> bool:
        try:
            for _ in range(most):
                if self.over or (encoded := await self._next()) is None:
                    break
                await self._send(encoded)
            else:
                return True
        except RecordingClosed as refusal:
            # Auth has the last slice, and says so of all but that one. Perhaps it came from here, before a crash.
            await self._take(await self._final(refusal))
        ends = self._spool.ends(self.recording)
        if ends is not None and self.broken_off and not (self.over or self.live):
            await self._take(await self._closing(ends[1]))
        return False

    async def _next(self) -> bytes | None:
        """The oldest slice in the spool that auth does not have; where that is not known yet, the oldest of all."""
        ends = self._spool.ends(self.recording)
        if ends is None:
            return None
        index = ends[0] if self._due is None else self._due
        if index > ends[1]:
            return None
        if not self._spool.holds(self.recording, index):
            raise RecordingOrder(f"Auth lacks slice {index} of the recording, and it is not on this node any more.")
        encoded = await self._spool.read(self.recording, index)
        if not self._is_whole(index, encoded):
            await self._torn(index)
            return None
        return encoded

    async def _torn(self, index: int) -> None:
        """A cut of power leaves files without what was written into them last."""
        if self.live:
            raise StorageError(f"Slice {index} of the recording is damaged on the disk of this node.")
        await self._spool.cut(self.recording, index)
        self.broken_off = self.broken_off or "The end of the recording was lost on the disk of the node."

    def _is_whole(self, index: int, encoded: bytes) -> bool:
        try:
            header = read_header(encoded) if self.live else Slice.decode(encoded)
        except BadParameter:
            return False
        return header.index == index

    async def _take(self, encoded: bytes) -> None:
        """Send a slice that is nowhere else; auth has to take it."""
        await self._send(encoded)
        index = read_header(encoded).index
        if self._due != index + 1:
            raise RecordingOrder(f"Auth does not take slice {index} of the recording: slice {self._due} is due there.")

    async def _send(self, encoded: bytes) -> None:
        """Send a slice, or learn which one is due instead."""
        header = read_header(encoded)
        try:
            self._due, self._head = await self._client().send_slice(self.recording, encoded)
        except RecordingOrder as refusal:
            await self._other(header.index, encoded, refusal)
        if self._due == header.index + 1:
            if header.last:
                self.over = True
                await self._spool.remove(self.recording)
            elif (ends := self._spool.ends(self.recording)) is not None:
                await self._spool.drop(self.recording, min(header.index, ends[1]))

    async def _other(self, index: int, encoded: bytes, refusal: RecordingOrder) -> None:
        """Auth has more of the recording, or less. It is the same recording if it has what is here."""
        due, head = refusal.facts.get("next"), refusal.facts.get("head")
        if not isinstance(due, int) or not isinstance(head, str) or due == index:
            raise refusal
        if due == index + 1:
            ours: bytes | None = encoded
        elif self._spool.holds(self.recording, due - 1):
            ours = await self._spool.read(self.recording, due - 1)
        else:
            ours = None
        if ours is not None and digest(ours).hex() != head:
            raise refusal
        self._due, self._head = due, head
        at_us = refusal.facts.get("at_us")
        self._at_us = at_us if isinstance(at_us, int) else 0

    async def _closing(self, newest_index: int) -> bytes:
        """A last slice that says what is missing, behind what auth has."""
        newest = await self._spool.read(self.recording, newest_index)
        due, head = (newest_index + 1, digest(newest)) if self._due is None else (self._due, bytes.fromhex(self._head))
        end = {"exit": None, "complete": False, "reason": self.broken_off}
        at_us = max(Slice.decode(newest).records[-1].at_us, self._at_us)
        record = Record.of(Kind.END, at_us, end)
        return Slice(due, head, (record,), last=True).encode()

    async def _final(self, refusal: RecordingClosed) -> bytes:
        ends = self._spool.ends(self.recording)
        if ends is not None:
            newest = await self._spool.read(self.recording, ends[1])
            if self._is_whole(ends[1], newest) and read_header(newest).last:
                return newest
            if self._is_whole(ends[1], newest) and self.broken_off and not self.live:
                self._due = None
                return await self._closing(ends[1])
        raise refusal
