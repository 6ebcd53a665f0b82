"""The way of events from where they happen to auth: at once to a spool on disk, and from there in order.

What is kept: an event is on its way once :meth:`Trail.emit` returned, through a restart or a killed process, and
however long auth is away. A cut of power loses at most the events of the last second. When the disk or the spool is
full, events are lost, counted, and the loss is told by an event of its own (``audit.lost``) as soon as there is room.
"""

from __future__ import annotations

import json
import random as chance
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.audit.event import Event, build
from teleport_conch.audit.spool import Spool
from teleport_conch.errors import BadParameter, StorageError, TooLarge

MAX_BATCH_EVENTS = 200
MAX_BATCH_BYTES = 256 << 10
GATHER_S = 0.1
"""How long the first event waits for others to go with it."""
SYNC_S = 0.5
"""How long after an event the disk is told to keep it."""
SHIP_TIMEOUT_S = 60.0
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 60.0
STOP_S = 5.0
"""How long a stopping service goes on sending; what it does not get rid of waits for the next start."""
REFUSED = "refused.jsonl"
MAX_REFUSED_BYTES = 1 << 20
"""Events that auth would not take are put here, to be looked at; beyond this bound they are dropped."""

DETAILS = frozenset({"session.command", "session.disk", "session.network", "sftp"})
DETAIL_SHARE = 0.5
"""Of the spool, for events of which somebody in a session can make as many as they like. The rest is for all others."""

Ship = Callable[[list[Event]], Awaitable[None]]
InThread = Callable[[Callable[[], None]], Deferred[None]]

_compact = json.JSONEncoder(separators=(",", ":")).encode


class Trail(Service):
    """Emits events, and ships them while it runs.

    :param directory: of the spool; it belongs to this trail alone.
    :param ship: sends a batch. Once it has returned, the batch is auth's; when it fails, the batch is sent again, with
        a growing delay. A batch that is refused as such (:class:`BadParameter`, :class:`TooLarge`) is sent in smaller
        ones, and a single event that is refused is put aside, so that one bad event cannot hold up all the others.
    :param defaults: fields of every event: the cluster, this host. Auth takes events only from the host that their
        ``server_id`` names.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        directory: Path,
        ship: Ship,
        defaults: Mapping[str, object],
        *,
        in_thread: InThread = deferToThread,
        random: Callable[[], float] = chance.random,
        new_uid: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._reactor = reactor
        self._directory = directory
        self._ship = ship
        self._defaults = dict(defaults)
        self._in_thread = in_thread
        self._random = random
        self._new_uid = new_uid
        self._spool = Spool(directory)
        self._opened = False
        self._delivery: Deferred[None] | None = None
        self._next_delivery: IDelayedCall | None = None
        self._next_sync: IDelayedCall | None = None
        self._failures = 0
        self._batch_events = MAX_BATCH_EVENTS
        self._untold = 0
        self.lost = 0
        """Events that could not be spooled since the start."""

    _log = Logger()

    # Emitting.

    def emit(self, name: str, /, *, success: bool = True, **fields: object) -> bool:
        """Spool the event ``name``; see :func:`teleport_conch.audit.event.build` for its fields.

        It neither waits nor fails for anything but a mistake in the program. The answer is False where the event is
        lost, since there is no room for it.

        :raises ValueError: the catalogue has no such event or field.
        """
        event, share = self._build(name, success, fields), DETAIL_SHARE if name in DETAILS else 1.0
        try:
            self._tell_losses(share)
            self._append(event, share)
        except OSError as error:
            self._count_loss(name, error)
            return False
        self._sync_soon()
        self._deliver_in(GATHER_S)
        return True

    def _build(self, name: str, success: bool, fields: Mapping[str, object]) -> Event:
        return build(name, success, {**self._defaults, **fields}, self._reactor.seconds(), self._new_uid())

    def _append(self, event: Event, share: float) -> None:
        if not self._opened:
            self._spool.open()
            self._opened = True
        self._spool.append(_compact(event).encode() + b"\n", share)

    def _tell_losses(self, share: float) -> None:
        if self._untold:
            lost = self._build("audit.lost", True, {"count": self._untold, "reason": "the spool was full"})
            self._append(lost, share)
            self._log.warn("{count} events were lost while they could not be spooled.", count=self._untold)
            self._untold = 0

    def _count_loss(self, name: str, error: OSError) -> None:
        if not self._untold:
            self._log.error("Events are being lost, {event} first: {why}", event=name, why=error.strerror)
        self._untold += 1
        self.lost += 1

    def _sync_soon(self) -> None:
        if self._next_sync is None:
            self._next_sync = self._reactor.callLater(SYNC_S, self._sync)

    def _sync(self) -> Deferred[None]:
        self._next_sync = None
        done = self._in_thread(self._spool.syncing())
        return done.addErrback(lambda failure: self._log.failure("Events could not be synced.", failure))

    # Delivering.

    def startService(self) -> None:
        """:raises StorageError: the directory cannot be used."""
        try:
            if not self._opened:
                self._spool.open()
                self._opened = True
        except OSError as error:
            raise StorageError(f"Events cannot be spooled in {self._directory}: {error.strerror}.") from error
        super().startService()
        self._deliver_in(0.0)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        retrying = self._failures > 0
        if self._next_delivery is not None:
            self._next_delivery.cancel()
            self._next_delivery = None
        if self._delivery is None and not retrying:
            self._start_delivery()
        if self._delivery is not None:
            await self._finished(self._delivery)
        if self._next_sync is not None:
            self._next_sync.cancel()
            await self._sync()
        self._spool.close()

    def _finished(self, delivery: Deferred[None]) -> Deferred[None]:
        """Fires when ``delivery`` does, which is cut short after :data:`STOP_S`."""
        finished: Deferred[None] = Deferred()
        delivery.chainDeferred(finished)
        return finished.addTimeout(STOP_S, self._reactor).addErrback(lambda _: delivery.cancel())

    def _deliver_in(self, seconds: float) -> None:
        if self.running and self._delivery is None and self._next_delivery is None:
            self._next_delivery = self._reactor.callLater(seconds, self._start_delivery)

    def _start_delivery(self) -> None:
        self._next_delivery = None
        self._delivery = Deferred.fromCoroutine(self._deliver())
        self._delivery.addErrback(self._delivery_failed).addBoth(self._delivery_ended)

    async def _deliver(self) -> None:
        while lines := self._spool.batch(self._batch_events, MAX_BATCH_BYTES):
            events = [event for event in map(_parsed, lines) if event is not None]
            try:
                await self._sent(events)
            except (BadParameter, TooLarge) as error:
                self._refused(lines, error.sentence)
                self._failures = 0
                continue
            self._failures = 0
            caught_up = self._caught_up(lines)
            self._spool.advance(len(lines))
            self._batch_events = min(MAX_BATCH_EVENTS, 2 * self._batch_events)
            if caught_up and self.running:
                return  # what came meanwhile gathers again: a batch costs more than what is in it

    def _caught_up(self, lines: Sequence[bytes]) -> bool:
        """Whether a batch had room for more, and there was no more."""
        has_room = len(lines) < self._batch_events and sum(map(len, lines)) < MAX_BATCH_BYTES // 2
        return has_room and not self._spool.behind

    async def _sent(self, events: list[Event]) -> None:
        if events:
            await Deferred.fromCoroutine(_awaited(self._ship(events))).addTimeout(SHIP_TIMEOUT_S, self._reactor)

    def _refused(self, lines: tuple[bytes, ...], why: str) -> None:
        if len(lines) > 1:
            self._batch_events = len(lines) // 2
            return
        self._log.error("Auth refused an event, which is now in {file}: {why}", file=REFUSED, why=why)
        path = self._directory / REFUSED
        if not path.exists() or path.stat().st_size < MAX_REFUSED_BYTES:
            with path.open("ab") as file:
                file.write(lines[0] + b"\n")
        self._spool.advance(1)

    def _delivery_failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) and not self.running:
            return
        self._failures += 1
        if self._failures == 1:
            self._log.warn("Events wait to be sent: {why}", why=failure.getErrorMessage())

    def _delivery_ended(self, _: object) -> None:
        self._delivery = None
        if self._failures:
            delay = min(MAX_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures - 1, 10))
            self._deliver_in(delay * (0.5 + self._random() / 2))
        elif not self._spool.empty:
            self._deliver_in(GATHER_S)


async def _awaited(answer: Awaitable[None]) -> None:
    await answer


def _parsed(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
