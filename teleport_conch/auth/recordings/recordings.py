"""Recordings as the API sees them: nodes make them, and who may lists, plays and removes them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attrs import define, field
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.events import InThread
from teleport_conch.auth.limits import READERS_IN_PROGRESS, RECORDINGS_AT_ONCE, RECORDINGS_LOOKED_AT_S
from teleport_conch.auth.recordings.disk import Disk
from teleport_conch.auth.recordings.files import Files
from teleport_conch.auth.recordings.index import Index
from teleport_conch.auth.recordings.making import HostOf, Making
from teleport_conch.auth.recordings.slices import check_session_id
from teleport_conch.errors import DiskLow, InUse, NotFound, StorageCorrupt, StorageError
from teleport_conch.https.throttle import InProgress
from teleport_conch.periodic import Periodic
from teleport_conch.resources.recording import Recording, RecordingState
from teleport_conch.storage.backend import IBackend


@define(eq=False)
class Recordings:
    """All recordings of the cluster. Between :meth:`start` and :meth:`stop` those that are silent are looked for."""

    making: Making
    _clocks: Clocks
    _disk: Disk
    _index: Index
    _readers: InProgress = field(init=False, factory=lambda: InProgress(READERS_IN_PROGRESS, "readers of recordings"))
    _looking: Periodic | None = field(init=False, default=None)
    _log = Logger()

    @classmethod
    def of(
        cls, clocks: Clocks, files: Files, backend: IBackend, in_thread: InThread, emit: Emit, host_of: HostOf
    ) -> Recordings:
        """
        :param in_thread: where files are read and written.
        :param host_of: on which host a session runs.
        """
        disk, index = Disk(files, in_thread), Index(backend)
        return cls(Making(clocks, disk, index, emit, host_of), clocks, disk, index)

    def start(self) -> None:
        """Look after what is being made, from now on."""
        timers, look, name = self._clocks.timers, self.making.look, "look at recordings"
        self._looking = Periodic(timers, RECORDINGS_LOOKED_AT_S, look, lambda interval_s: interval_s, name)
        self._looking.startService()

    async def stop(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            await looking.stopService()

    async def why_none(self) -> str:
        """A sentence, for everybody, about why no recordings are taken at the moment; empty where they are."""
        try:
            await self._disk.run(lambda files: files.check_room(0))
        except DiskLow:
            return "The disk of the auth server is nearly full: recordings wait on the nodes until there is room."
        except StorageError:
            return "The folder for recordings on the auth server cannot be used: recordings wait on the nodes."
        return ""

    async def get(self, session_id: str) -> Recording:
        """What is known of one. A file that the list does not know, as in front of a restored storage, is found, too.

        :raises NotFound: there is none. :raises BadParameter: no session is called so.
        """
        check_session_id(session_id)
        found = self.making.of(session_id) or await self._index.find(session_id)
        if found is not None and (found.slices or found.state is not RecordingState.RECORDING):
            return found
        async with self.making.turn(session_id):
            made = await self.making.find(session_id)
        if made is None:
            raise NotFound(f"There is no recording of a session {session_id}.")
        return made.recording

    async def newest(self, before: float) -> AsyncIterator[list[Recording]]:
        """All that began before an instant (POSIX seconds), the newest first, some at a time."""
        async for page in self._index.newest(before):
            yield [self.making.of(each.id) or each for each in page]
            if len(page) == RECORDINGS_AT_ONCE:
                await deferLater(self._clocks.timers, 0)  # or a long list would keep all others waiting

    async def read(self, recording: Recording, offset: int) -> bytes:
        """Up to :data:`~teleport_conch.auth.limits.STREAM_BYTES` from a byte on, of what is there.

        :raises NotFound: the file is gone. :raises LimitExceeded: too many read at this moment.
        """
        with self._readers.one():
            return await self._disk.run(lambda files: files.read(recording.id, offset, recording.size))

    async def remove(self, session_id: str) -> Recording:
        """Remove one for ever, and answer what it was.

        :raises NotFound: there is none. :raises InUse: it is being made.
        """
        check_session_id(session_id)
        async with self.making.turn(session_id):
            found = await self._index.find(session_id)
            try:
                made = await self.making.find(session_id)
            except StorageCorrupt:
                made = None
            found = made.recording if made else found
            if found is None:
                raise NotFound(f"There is no recording of a session {session_id}.")
            if made is not None and found.state is RecordingState.RECORDING:
                raise InUse(
                    f"The session {session_id} is still being recorded; its recording can be removed afterwards."
                )
            self.making.forget(session_id)
            await self._disk.run(lambda files: files.remove(session_id))
            await self._index.drop(session_id)
        return found
