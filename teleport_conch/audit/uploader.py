"""Ships recordings from a node's spool to auth, in order, however often auth is away.

What is kept: a slice is on its way once :meth:`Uploader.keep` has returned, through a restart or a killed process, and
however long auth is away. A cut of power loses what the disk was not told to keep yet, which is :data:`SYNC_S`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.audit.inert import inert
from teleport_conch.audit.upload import SliceClient, Upload, is_for_good
from teleport_conch.audit.upload_spool import UploadSpool
from teleport_conch.client.backoff import Backoff, Jitter
from teleport_conch.errors import StorageFull, TeleportError

MAX_AT_ONCE = 4
"""Recordings that are sent at one time, of each of them one slice; the others wait for their turn."""
SLICES_IN_TURN = 16
"""Of a recording, before it goes to the end of the line: more of it may come than can be sent."""
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 60.0
SYNC_S = 0.5
"""How long after a slice the disk is told to keep it."""
STOP_S = 5.0
"""How long a stopping service goes on sending; what it does not get rid of waits for the next start."""
BROKEN_OFF = "The node ended in the middle of the session."

Emit = Callable[..., object]


class Uploader(Service):
    """Keeps slices, and ships them while it runs.

    A recording that auth cannot take now is tried again, with a growing delay; one that it will never take is put
    aside, with an event. Neither holds up the others.

    :param client: of auth, as it is at the moment.
    :param jitter: spreads the delays.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        spool: UploadSpool,
        client: Callable[[], SliceClient],
        emit: Emit,
        jitter: Jitter,
    ) -> None:
        self.spool = spool
        self._clock = clock
        self._client = client
        self._emit = emit
        self._jitter = jitter
        self._uploads: dict[str, Upload] = {}
        self._delays: dict[str, Backoff] = {}
        self._ready: dict[str, None] = {}
        self._active: dict[str, Deferred[None]] = {}
        self._later: dict[str, IDelayedCall] = {}
        self._next_sync: IDelayedCall | None = None
        self._stopping = False
        self._waits_told = False
        self._idle: Deferred[None] | None = None

    def startService(self) -> None:
        """Goes on with what an earlier process left. Raises :class:`~teleport_conch.errors.StorageError`."""
        self.spool.open()
        super().startService()
        for recording in self.spool.recordings:
            self._upload(recording, live=False, broken_off=BROKEN_OFF)
            self._wake(recording)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        for call in self._later.values():
            call.cancel()
        if self._active or self._ready:
            self._idle = Deferred()
            self._go_on()
            await self._idle.addTimeout(STOP_S, self._clock).addErrback(self._cut_short)
        if self._next_sync is not None:
            self._next_sync.cancel()
            await self._sync()
        self._stopping = False
        self.spool.close()

    def _cut_short(self, _: Failure) -> None:
        self._ready.clear()
        for active in tuple(self._active.values()):
            active.cancel()

    # What a session has.

    def begin(self, recording: str, whose: str) -> Upload:
        """A session that goes on, and whose slices come from here."""
        return self._upload(recording, whose=whose)

    def _upload(self, recording: str, live: bool = True, broken_off: str = "", whose: str = "") -> Upload:
        upload = Upload(recording, self.spool, self._client, live, broken_off, whose)
        self._uploads[recording] = upload
        self._delays[recording] = Backoff(FIRST_RETRY_S, MAX_RETRY_S, self._jitter)
        return upload

    async def keep(self, upload: Upload, index: int, encoded: bytes, emergency: bool = False) -> None:
        """Put a slice into the spool, from where it is sent.

        :raises StorageError: it was not kept; :class:`~teleport_conch.errors.StorageFull` for want of room, or where
            somebody takes more of it than they leave to all others. In an emergency nobody looks at shares.
        """
        if not emergency and self.spool.shares_are_due:
            self.spool.check()
            self._check_share(upload.whose)
        await self.spool.keep(upload.recording, index, encoded, emergency)
        if self._next_sync is None:
            self._next_sync = self._clock.callLater(SYNC_S, self._sync)
        self._wake(upload.recording)

    def _check_share(self, whose: str) -> None:
        theirs = (each.recording for each in self._uploads.values() if each.whose == whose)
        taken = sum(map(self.spool.waiting_bytes, theirs))
        if taken > self.spool.room:
            raise StorageFull(
                f"Recordings of {inert(whose)} wait on this node for the auth server, {taken >> 10} KiB of them, and"
                " there is less room than that left for those of others."
            )

    def end(self, upload: Upload, broken_off: str = "") -> None:
        """The session is over. ``broken_off`` says as a sentence why there is no last slice; empty where there is."""
        upload.live, upload.broken_off = False, broken_off
        self._wake(upload.recording)

    def _sync(self) -> Deferred[None]:
        self._next_sync = None
        done = Deferred.fromCoroutine(self.spool.sync())
        return done.addErrback(lambda failure: self._log.failure("Recordings could not be synced.", failure))

    # Sending.

    def _wake(self, recording: str) -> None:
        """There is something to do; if it failed just now, that has its time."""
        if recording not in self._later:
            self._ready[recording] = None
            self._go_on()

    def _again(self, recording: str) -> None:
        del self._later[recording]
        self._wake(recording)

    def _go_on(self) -> None:
        while (self.running or self._stopping) and (upload := self._next()) is not None:
            self._active[upload.recording] = shipping = Deferred.fromCoroutine(self._ship(upload))
            shipping.addErrback(self._failed, upload).addBoth(self._ended, upload)
        if self._idle is not None and not self._active and not self._idle.called:
            self._idle.callback(None)

    def _next(self) -> Upload | None:
        """The recording that has waited longest for its turn, where one may be sent now."""
        if len(self._active) < MAX_AT_ONCE:
            for recording in self._ready:
                if recording not in self._active:
                    del self._ready[recording]
                    return self._uploads.get(recording) or self._next()
        return None

    async def _ship(self, upload: Upload) -> None:
        more = False
        if not upload.refused:
            try:
                more = await upload.catch_up(SLICES_IN_TURN)
            except TeleportError as problem:
                if not is_for_good(problem):
                    raise
                self.refuse(upload, problem.sentence)
        self._delays[upload.recording].reset()
        self._waits_told = False
        if more:
            self._ready[upload.recording] = None
        elif upload.over or (not upload.live and self.spool.ends(upload.recording) is None):
            await self.spool.remove(upload.recording)
            self._done(upload)
        elif upload.refused and not upload.live:
            await self._put_aside(upload)

    def _failed(self, failure: Failure, upload: Upload) -> None:
        if failure.check(CancelledError):
            return
        if not failure.check(TeleportError, OSError):
            self._log.failure("A recording could not be sent.", failure)
        elif not self._waits_told:
            self._waits_told = True
            self._log.warn("Recordings wait to be sent: {why}", why=failure.getErrorMessage())
        if not self._stopping:
            recording = upload.recording
            wait_s = self._delays[recording].next_s()
            self._later[recording] = self._clock.callLater(wait_s, self._again, recording)

    def _ended(self, _: object, upload: Upload) -> None:
        del self._active[upload.recording]
        self._go_on()

    def refuse(self, upload: Upload, why: str) -> None:
        """Auth will take nothing more of it. It is put aside once its session is over."""
        upload.refused = why
        self._log.error("Auth refuses the recording {recording}: {why}", recording=upload.recording, why=why)
        self._emit("session.recording.put_aside", sid=upload.recording, reason=why)

    async def _put_aside(self, upload: Upload) -> None:
        where, removed = self.spool.directory, await self.spool.put_aside(upload.recording)
        self._log.error("The recording {recording} is put aside in {where}.", recording=upload.recording, where=where)
        if removed:
            self._log.warn("For want of room the refused recordings {removed} were removed.", removed=removed)
        self._done(upload)

    def _done(self, upload: Upload) -> None:
        del self._uploads[upload.recording], self._delays[upload.recording]
