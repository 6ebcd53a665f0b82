"""Timers that keep their distance when the clock of the system is set back.

Twisted counts delays on the system's clock. When that is set back by an hour, as it is after booting with a wrong one,
every timer waits an hour longer: no heartbeat leaves, no silent connection is closed. Set forward, timers are early
once, which all of them have to bear anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

CHECK_S = 1.0
"""How often the two clocks are compared; for as long after a step, timers may be late."""
STEP_S = 2.0
"""A smaller difference is what ``adjtime`` makes of one, and no step."""


class SteadyTimers(Service):
    """Looks at the clock from a thread, since the reactor may sleep for as long as the clock was set back.

    :param in_reactor: calls something in the reactor's thread.
    :param wall: POSIX seconds, as ``clock`` counts them.
    :param monotonic: seconds that nobody sets.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        in_reactor: Callable[..., object],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._in_reactor = in_reactor
        self._wall = wall
        self._monotonic = monotonic
        self._difference = wall() - monotonic()
        self._stopping = Event()
        self._thread: Thread | None = None

    def startService(self) -> None:
        super().startService()
        self._stopping.clear()
        self._thread = Thread(target=self._watch, name="steady timers", daemon=True)
        self._thread.start()

    def stopService(self) -> None:
        super().stopService()
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(CHECK_S):
            self.look()

    def look(self) -> None:
        """Compare the clocks, in any thread."""
        difference = self._wall() - self._monotonic()
        step = difference - self._difference
        if abs(step) >= STEP_S:
            self._difference = difference
            self._in_reactor(self._stepped, step)

    def _stepped(self, step_s: float) -> None:
        self._log.warn("The clock of this machine was set {how} by {seconds:.0f} s.", **_told(step_s))
        if step_s < 0:
            hasten(self._clock, -step_s)


def _told(step_s: float) -> dict[str, object]:
    return {"how": "forward" if step_s > 0 else "back", "seconds": abs(step_s)}


def hasten(clock: IReactorTime, back_s: float) -> None:
    """Give timers their distance again, once ``clock`` was set back by ``back_s`` seconds.

    What is due earlier than the clock was before it was set was asked for since then, and stays.
    """
    before = clock.seconds() + back_s - CHECK_S - STEP_S
    for call in clock.getDelayedCalls():
        if call.getTime() >= before:
            call.delay(-back_s)
