"""Records one session: what its terminal showed, when, and how large it was. What people type is not recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.audit.recording import MAX_RECORDING_BYTES, MAX_SLICE_BYTES, MAX_SLICES, Kind
from teleport_conch.audit.slicing import Slicing
from teleport_conch.audit.upload_spool import InThread
from teleport_conch.errors import NotRecorded, StorageError
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.process_session import ProcessSession, SessionObserver

SLICE_S = 2.0
"""What was shown is on its way no later than this."""
SLICE_BYTES = 128 << 10
"""So much of records is a slice at once."""
MAX_WAITING_BYTES = 1 << 20
"""Of records that wait for the disk, or for auth: beyond it the session's output is held."""
RESERVED_SLICES = 16
"""A session ends when its recording has room for so many slices more: they hold whatever was shown until then."""


class Keeping(Protocol):
    """See :class:`teleport_conch.audit.keeping.Keeping`."""

    async def begin(self, encoded: bytes) -> None: ...

    async def keep(self, encoded: bytes) -> None: ...

    async def keep_rest(self, encoded: bytes) -> None: ...

    def end(self, broken_off: str = "") -> None: ...


@define(slots=False, eq=False)
class Recorder(SessionObserver):
    """The observer of a session that is recorded.

    :param monotonic: seconds that nobody sets.
    :param heading: the fields of the recording's start.
    :param failed: is told why the recording has failed, if it does.
    :param emergency: the session goes on also where it cannot be recorded.
    :ivar done: fires when nothing of the session waits any more.
    """

    _clock: IReactorTime
    _monotonic: Callable[[], float]
    _in_thread: InThread
    _keeping: Keeping
    _heading: Mapping[str, object]
    _failed: Callable[[str], None]
    _emergency: bool = False
    done: Deferred[None] = field(init=False, factory=Deferred)
    _session: ProcessSession | None = field(init=False, default=None)
    _began: float = field(init=False, default=0.0)
    _slicing: Slicing = field(init=False, factory=Slicing)
    _size: tuple[int, int] | None = field(init=False, default=None)
    _timer: IDelayedCall | None = field(init=False, default=None)
    _working: bool = field(init=False, default=False)
    _lost: str = field(init=False, default="")
    _records: bool = field(init=False, default=False)
    _over: bool = field(init=False, default=False)
    _log = Logger()

    # What happens in the session.

    async def begins(self, session: ProcessSession) -> None:
        """Keeps the start. Raises :class:`NotRecorded` where that is not possible; an emergency goes on without."""
        self._session, self._began = session, self._monotonic()
        self._slicing.told(Kind.START, 0, self._heading)
        try:
            await self._keep_next(self._keeping.begin)
            self._records = True
        except BaseException as reason:
            if not self._emergency or not isinstance(reason, Exception):
                self._end()
                raise
            if isinstance(reason, NotRecorded):
                self._give_up(reason.sentence)
            else:
                self._broke(Failure())

    def output(self, data: bytes) -> None:
        if self._records:
            self._slicing.shown(self._now_us(), data)
            self._look()

    def resized(self, cols: int, rows: int) -> None:
        """Unlike output, sizes cannot be held: of those that find no room, the last one is recorded when there is."""
        if not self._records:
            return
        self._size = (cols, rows)
        if self._slicing.waiting_bytes <= MAX_WAITING_BYTES:
            self._tell_size()
            self._look()

    def _tell_size(self) -> None:
        if self._size is not None:
            (cols, rows), self._size = self._size, None
            self._slicing.told(Kind.RESIZE, self._now_us(), {"cols": cols, "rows": rows})

    def ended(self, status: ExitStatus | None) -> None:
        """The end is the last record, and what waits is kept without delay."""
        if self._records:
            self._over, self._records = True, False
            self._tell_size()
            end = {"exit": None if status is None else _exit(status), "complete": True, "reason": ""}
            self._slicing.told(Kind.END, self._now_us(), end)
            if not self._working:
                self._work()
        elif self._session is None:
            self._end()

    def _now_us(self) -> int:
        return int((self._monotonic() - self._began) * 1_000_000)

    # Keeping it.

    def _look(self) -> None:
        if self._slicing.waiting_bytes > MAX_WAITING_BYTES and self._session is not None:
            self._session.hold(self)
        if self._working:
            return
        if self._slicing.waiting_bytes >= SLICE_BYTES:
            self._work()
        elif self._timer is None:
            self._timer = self._clock.callLater(SLICE_S, self._work)

    def _work(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer, self._working = None, True
        working = Deferred.fromCoroutine(self._work_off())
        working.addErrback(self._broke).addBoth(self._worked)

    async def _work_off(self) -> None:
        more = True
        while more:
            await self._keep_next(self._keep)
            if self._slicing.waiting_bytes <= MAX_WAITING_BYTES // 2 and self._session is not None:
                if self._records:
                    self._tell_size()
                self._session.release(self)
            if self._is_full() and not self._over:
                self._close(f"The recording of the session has reached {MAX_RECORDING_BYTES >> 20} MiB, and it ends.")
            more = self._slicing.waiting_bytes >= (1 if self._over else SLICE_BYTES)

    def _worked(self, _: object) -> None:
        self._working = False
        if self._over:
            self._end()
        elif self._slicing.waiting_bytes:
            self._look()

    async def _keep_next(self, keep: Callable[[bytes], Awaitable[None]]) -> None:
        next_ = self._slicing.take()
        encoded = await self._in_thread(next_.encode)
        self._slicing.made(encoded)
        await keep(encoded)

    async def _keep(self, encoded: bytes) -> None:
        if not self._lost:
            try:
                await self._keeping.keep(encoded)
                return
            except NotRecorded as refusal:
                if self._emergency:
                    self._give_up(refusal.sentence)
                    return
                self._lost = refusal.sentence
                self._close(refusal.sentence)
        try:
            await self._keeping.keep_rest(encoded)
        except StorageError as problem:
            self._log.error("The end of a recording is lost: {why}", why=problem.sentence)
            self._give_up(self._lost)

    def _is_full(self) -> bool:
        left = MAX_RECORDING_BYTES - self._slicing.kept_bytes
        return left < RESERVED_SLICES * MAX_SLICE_BYTES or self._slicing.due > MAX_SLICES - RESERVED_SLICES

    # What goes wrong.

    def _close(self, why: str) -> None:
        """The session ends here, and its people read why."""
        self._failed(why)
        if self._session is not None:
            self._session.close(why)

    def _give_up(self, why: str) -> None:
        """Nothing more is recorded; what is kept already is a recording that was broken off."""
        if not self._lost:
            self._failed(why)
        self._records = self._over = False
        self._slicing = Slicing()
        if self._session is not None:
            self._session.release(self)
        self._keeping.end(why)
        self._finish()

    def _end(self) -> None:
        """Nothing more is kept."""
        self._keeping.end()
        self._finish()

    def _broke(self, failure: Failure) -> None:
        self._log.failure("A session could not be recorded.", failure)
        why = "The session cannot be recorded any more, for a mistake in the program of this node."
        if not (self._emergency or self._lost):
            self._lost = why
            self._close(why)
        self._give_up(why)

    def _finish(self) -> None:
        if not self.done.called:
            self.done.callback(None)


def _exit(status: ExitStatus) -> str:
    return f"SIG{status.signal}" if status.code is None else str(status.code)
