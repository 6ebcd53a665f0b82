"""What is done again and again, and goes on when it fails: by the clock, or with many things at each change."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.errors import TeleportError

STOP_S = 5.0
"""How long stopping waits for a beat in flight before it is cancelled."""
LIMIT_INTERVALS = 4
MIN_LIMIT_S = 30.0
"""A beat that takes :data:`LIMIT_INTERVALS` intervals, and this long at the least, is cancelled and has failed."""

VISITS_AT_ONCE = 25
"""What a round of :class:`Rounds` visits before whatever else there is to do gets its turn."""

_Visited = TypeVar("_Visited")
Beat = Callable[[], Awaitable[None] | None]


class Periodic(Service):
    """Runs ``beat`` soon after its start, and from then on again and again; never two at once.

    A beat that fails is logged and counted, and the next one comes at its time. (``LoopingCall`` stops for good at its
    first failure.) The time to the next beat is counted from the end of the last.

    :param jitter: is given ``interval_s`` and answers the seconds to wait, so that many hosts do not beat at once.
    :param name: what the log calls it, such as ``heartbeat``.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, interval_s: float, beat: Beat, jitter: Callable[[float], float], name: str
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._beat = beat
        self._jitter = jitter
        self._title = name
        self._next: IDelayedCall | None = None
        self._in_flight: Deferred[None] | None = None
        self._asked: list[Deferred[None]] = []
        self.misses = 0
        """How many beats have failed since the last one that did not."""

    def startService(self) -> None:
        super().startService()
        if self._in_flight is None:
            self._schedule(0.0)

    def stopService(self) -> Deferred[None]:
        """Fires when the beat in flight has ended; after :data:`STOP_S` it is cancelled."""
        super().stopService()
        self._unschedule()
        self._answer(self._asked)
        self._asked = []
        if self._in_flight is None:
            return succeed(None)
        in_flight, ended = self._in_flight, Deferred[None]()
        in_flight.chainDeferred(ended)
        return ended.addTimeout(STOP_S, self._clock).addErrback(lambda _: in_flight.cancel())

    def beat_now(self) -> Deferred[None]:
        """Beat without waiting for the interval.

        While a beat is in flight, another follows it at once: the first may have begun before there was news. The
        Deferred fires when the beat has ended, well or not, or at once while the service does not run.
        """
        if not self.running:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._asked.append(ended)
        if self._in_flight is None:
            self._schedule(0.0)
        return ended

    def _schedule(self, seconds: float) -> None:
        self._unschedule()
        self._next = self._clock.callLater(seconds, self._begin)

    def _unschedule(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        asked, self._asked = self._asked, []
        limit_s = max(MIN_LIMIT_S, LIMIT_INTERVALS * self._interval_s)
        beat = Deferred.fromCoroutine(self._once()).addTimeout(limit_s, self._clock)
        self._in_flight = beat
        beat.addCallbacks(self._succeeded, self._failed).addCallback(self._ended, asked)

    async def _once(self) -> None:
        answer = self._beat()
        if answer is not None:
            await answer

    def _succeeded(self, _: object) -> None:
        if self.misses:
            self._log.info("The {name} works again, after {misses} that failed.", name=self._title, misses=self.misses)
        self.misses = 0

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) and not self.running:
            return
        self.misses += 1
        if self.misses & (self.misses - 1):
            return  # the 1st, 2nd, 4th, 8th failure in a row is logged: an outage does not fill the log
        if failure.check(TeleportError):
            told = "The {name} failed ({misses} in a row): {why}"
            self._log.warn(told, name=self._title, misses=self.misses, why=failure.getErrorMessage())
        else:
            told = "The {name} failed ({misses} in a row)."
            self._log.failure(told, failure, name=self._title, misses=self.misses)

    def _ended(self, _: object, asked: list[Deferred[None]]) -> None:
        self._in_flight = None
        if self.running:
            self._schedule(0.0 if self._asked else self._jitter(self._interval_s))
        self._answer(asked)

    def _answer(self, asked: list[Deferred[None]]) -> None:
        for each in asked:
            each.callback(None)


class Rounds(Generic[_Visited]):
    """Visits many, soon after each call of :meth:`begin`, and lets others have their turn in between.

    :param everyone: who is to be visited.
    :param visit: a visit that fails is logged, and the round goes on.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, everyone: Callable[[], Iterable[_Visited]], visit: Callable[[_Visited], object]
    ) -> None:
        self._clock = clock
        self._everyone = everyone
        self._visit = visit
        self._due: deque[_Visited] = deque()
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """Whoever is there now is due, also where a round is under way."""
        self._due = deque(self._everyone())
        if self._call is None:
            self._call = self._clock.callLater(0, self._go_on)

    def stop(self) -> None:
        """Visit nobody any more."""
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _go_on(self) -> None:
        self._call = None
        for _ in range(min(VISITS_AT_ONCE, len(self._due))):
            try:
                self._visit(self._due.popleft())
            except Exception:  # noqa: BLE001 - one visit is not to cost the others theirs
                self._log.failure("One of many could not be looked at.")
        if self._due:
            self._call = self._clock.callLater(0, self._go_on)
