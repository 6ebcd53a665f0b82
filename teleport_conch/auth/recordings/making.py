"""How recordings come to auth: nodes hand in their slices, one after the other.

What counts is what is in the files; memory and storage hold copies of it. A slice is acknowledged when it is on the
disk. Of each recording one thing at a time is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from teleport_conch.audit.recording import NO_DIGEST
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import (
    MAX_RECORDINGS_PER_HOST,
    RECORDING_SILENT_S,
    RECORDINGS_REMEMBERED,
    SLICES_IN_PROGRESS,
    SLICES_OF_A_HOST_IN_PROGRESS,
    SLICES_OF_A_RECORDING_WAITING,
)
from teleport_conch.auth.recordings.disk import Disk
from teleport_conch.auth.recordings.files import OnDisk
from teleport_conch.auth.recordings.index import Index
from teleport_conch.auth.recordings.made import Made, Next, about, nobodys
from teleport_conch.auth.recordings.slices import Piece, check_session_id, end_of, ended, piece_of, recording_of
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    DiskLow,
    LimitExceeded,
    RecordingClosed,
    StorageCorrupt,
    StorageError,
    TeleportError,
)
from teleport_conch.https.throttle import InProgress, Reports
from teleport_conch.resources.recording import Recording, RecordingState

HostOf = Callable[[str], Awaitable[str | None]]
"""The UUID of the host that says that a session runs on it; None where none does."""


@define(eq=False)
class Making:
    """All recordings that are being made.

    :ivar _host_of: where a session runs, so that no host takes another's id.
    """

    _clocks: Clocks
    _disk: Disk
    _index: Index
    _emit: Emit
    _host_of: HostOf
    _made: dict[str, Made] = field(init=False, factory=dict)
    _others: dict[str, Made] = field(init=False, factory=dict)
    """Some of those that are not being made, and that somebody has asked for."""
    _of_host: Counter[str] = field(init=False, factory=Counter)
    _turns: dict[str, DeferredLock] = field(init=False, factory=dict)
    _low: bool = field(init=False, default=False)
    _progress: InProgress = field(init=False, factory=lambda: InProgress(SLICES_IN_PROGRESS, "slices of recordings"))
    _progress_of: dict[str, InProgress] = field(init=False, factory=dict)
    _reports: Reports = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._reports = Reports.of(self._clocks.monotonic)

    # What nodes hand in.

    async def take(self, session_id: str, encoded: bytes, host_uuid: str, address: str) -> Next:
        """Keep the next slice of a session of the host; once this returns it is on the disk. The last one that was kept
        may come again, as its sender may not have heard the answer.

        :param address: of the host.
        :raises TeleportError: it is refused, which is an event.
        """
        try:
            check_session_id(session_id)
            with self._busy_with(host_uuid).one(), self._progress.one():
                async with self.turn(session_id):
                    return await self._take(session_id, encoded, host_uuid)
        except TeleportError as reason:
            self._refused(session_id, host_uuid, address, reason)
            raise

    def _busy_with(self, host_uuid: str) -> InProgress:
        """What is in progress of one host, so that none takes the places of all others."""
        what = "slices of this host's recordings"
        return self._progress_of.setdefault(host_uuid, InProgress(SLICES_OF_A_HOST_IN_PROGRESS, what))

    @asynccontextmanager
    async def turn(self, session_id: str) -> AsyncIterator[None]:
        """Alone with one recording.

        :raises LimitExceeded: too many wait for it.
        """
        turn = self._turns.setdefault(session_id, DeferredLock())
        if len(turn.waiting) >= SLICES_OF_A_RECORDING_WAITING:
            raise LimitExceeded("Too much waits for this recording; try again in a few seconds.")
        await turn.acquire()
        try:
            yield
        finally:
            turn.release()
            if not turn.locked:
                self._turns.pop(session_id, None)

    async def _take(self, session_id: str, encoded: bytes, host_uuid: str) -> Next:
        piece = await self._disk.run(lambda files: piece_of(encoded))
        made = await self._known(session_id) or Made(nobodys(session_id), NO_DIGEST, 0, 0.0)
        if made.recording.server_id not in ("", host_uuid):
            raise AccessDenied("The recording is another host's.")
        again = made.head == piece.digest and made.recording.slices == piece.header.index + 1
        if not again:
            made.check(piece)
            await self._add(made, piece, host_uuid)
        return Next(made.recording.slices, made.head)

    async def _known(self, session_id: str) -> Made | None:
        try:
            return await self.find(session_id)
        except StorageCorrupt as reason:
            raise RecordingClosed(reason.sentence) from reason

    async def _add(self, made: Made, piece: Piece, host_uuid: str) -> None:
        """Keep a slice that follows; of a recording that nothing was heard of for long, too."""
        recording = made.recording
        if not recording.slices:
            made.recording = await self._begin(recording.id, piece, host_uuid)
        elif recording.state is not RecordingState.RECORDING:
            again = evolve(recording, state=RecordingState.RECORDING, reason="", ended_at=None)
            await self._index.begin(again)
            made.recording = again
        size = recording.size
        try:
            await self._disk.run(lambda files: files.append(recording.id, size, piece.encoded))
        except StorageError:
            self.forget(recording.id)  # what is on the disk now is looked up when it is needed
            raise
        self._low = False
        made.add(piece, self._clocks.monotonic())
        self._remember(made)
        if piece.end is not None:
            await self._finish_if_possible(made)

    async def _begin(self, session_id: str, piece: Piece, host_uuid: str) -> Recording:
        """A recording that is new. It is listed before its file is made, so that no file is left unlisted."""
        recording = recording_of(piece.start)
        recording = evolve(recording, created_at=min(recording.created_at, self._clocks.wall()))
        if recording.id != session_id:
            raise BadParameter("The recording is of another session than the address of the call says.")
        if recording.server_id != host_uuid or await self._host_of(session_id) not in (None, host_uuid):
            raise AccessDenied("A session is recorded by the host on which it runs.")
        if self._of_host[host_uuid] >= MAX_RECORDINGS_PER_HOST:
            raise LimitExceeded(f"A host makes at most {MAX_RECORDINGS_PER_HOST} recordings at one time.")
        await self._disk.run(lambda files: files.check_room(len(piece.encoded)))
        await self._index.begin(recording)
        return recording

    # What is known of them.

    def of(self, session_id: str) -> Recording | None:
        """One that is being made, and was looked at since the start."""
        made = self._made.get(session_id)
        return None if made is None else made.recording

    async def find(self, session_id: str) -> Made | None:
        """One by its file. Whoever calls has its :meth:`turn`. What a crash left undone about it is done.

        :raises StorageCorrupt: it is damaged. :raises StorageError: it cannot be read.
        """
        made = self._made.get(session_id) or self._others.get(session_id)
        if made is None:
            found = await self._disk.run(lambda files: files.find(session_id))
            if found is None:
                return None
            made = await self._read(found)
            self._remember(made)
        if made.end is not None and made.recording.state is RecordingState.RECORDING:
            await self._finish_if_possible(made)
        return made

    async def _read(self, found: OnDisk) -> Made:
        """What a file says, with what the list knows of it. A file that is not in the list is put there."""
        told = recording_of(found.first.start)
        listed = await self._index.find(told.id)
        recording = listed or evolve(told, created_at=min(told.created_at, self._clocks.wall()))
        slices, head = found.last.header.index + 1, found.last.digest
        recording = evolve(recording, size=found.size, slices=slices, head=head.hex())
        if listed is None:
            await self._index.begin(recording)
        silent_s = max(0.0, self._clocks.wall() - found.changed_at)
        return Made(recording, head, found.last.at_us, self._clocks.monotonic() - silent_s, found.last.end)

    # How they end.

    async def _finish_if_possible(self, made: Made) -> None:
        """What was taken is on the disk, and that is what the node hears; the list follows at the next look."""
        try:
            await self._finish(made)
        except StorageError as reason:
            self._log.error("The end of a recording could not be listed: {reason}", reason=reason.sentence)

    async def _finish(self, made: Made) -> None:
        assert made.end is not None
        recording = ended(made.recording, end_of(made.end), made.ended_at(self._clocks.wall()))
        await self._index.finish(recording)
        made.recording = recording
        self.forget(recording.id)
        what = {"sha256": recording.head, "bytes": recording.size, "reason": recording.reason or None}
        self._emit("session.upload", {**about(recording), **what, "url": f"recordings/{recording.id}"})

    async def look(self) -> None:
        """Go through all that are listed as being made: end what has ended, and give up what is silent for long."""
        for session_id in await self._index.open_ids():
            try:
                async with self.turn(session_id):
                    await self._look_at(session_id)
            except (StorageError, LimitExceeded) as reason:
                self._log.error("The recording {id} is looked at later: {why}", id=session_id, why=reason.sentence)

    async def _look_at(self, session_id: str) -> None:
        try:
            made = await self.find(session_id)
        except StorageCorrupt as reason:
            listed = await self._index.find(session_id)
            await self._give_up(listed, reason.sentence)
            return
        if made is None:
            await self._index.drop(session_id)
        elif made.recording.state is not RecordingState.RECORDING:
            await self._index.finish(made.recording)
        elif await self._is_silent(made):
            recording = evolve(made.recording, ended_at=made.ended_at(self._clocks.wall()))
            await self._give_up(recording, f"Nothing came of it for {RECORDING_SILENT_S / 3600:g} hours.")

    async def _is_silent(self, made: Made) -> bool:
        silent = self._clocks.monotonic() - made.heard_at >= RECORDING_SILENT_S
        return silent and await self._host_of(made.recording.id) is None

    async def _give_up(self, recording: Recording | None, why: str) -> None:
        if recording is None:
            return
        recording = evolve(recording, state=RecordingState.INCOMPLETE, reason=why[:300])
        await self._index.finish(recording)
        self.forget(recording.id)
        self._emit("session.recording.incomplete", {**about(recording), "reason": recording.reason})

    def _remember(self, made: Made) -> None:
        """A file that is read through is not read again for the next call, whatever became of the recording."""
        recording = made.recording
        if recording.state is not RecordingState.RECORDING:
            self._others[recording.id] = made
            if len(self._others) > RECORDINGS_REMEMBERED:
                del self._others[next(iter(self._others))]
        elif recording.id not in self._made:
            self._others.pop(recording.id, None)
            self._made[recording.id] = made
            self._of_host[recording.server_id] += 1

    def forget(self, session_id: str) -> None:
        """What is known of a recording is to be looked up in its file."""
        self._others.pop(session_id, None)
        made = self._made.pop(session_id, None)
        if made is not None:
            self._of_host[made.recording.server_id] -= 1
            self._of_host += Counter()  # without those that are none

    def _refused(self, session_id: str, host_uuid: str, address: str, reason: TeleportError) -> None:
        if isinstance(reason, DiskLow):
            if self._low:
                return  # nodes go on trying, and were told
            self._low = True
            self._log.error("{reason}", reason=reason.sentence)
        elif isinstance(reason, StorageError) or not self._reports.allow(address):
            return
        fields = {"sid": session_id, "node_id": host_uuid, "error": reason.sentence, "error_code": reason.code}
        self._emit("session.recording.refused", {**fields, "addr.remote": address})
