"""A beat comes again, whatever the last one did."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import ConnectionProblem
from teleport_conch.periodic import Periodic


class PeriodicTests(SynchronousTestCase):
    """Beats are counted, and last as long as a test wants."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.started = 0
        self.answers: list[Deferred[None] | Exception] = []
        self.jittered: list[float] = []
        self.periodic = Periodic(self.clock, 10.0, self.beat, self.jitter, "heartbeat")

    def beat(self) -> Awaitable[None] | None:
        self.started += 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def jitter(self, interval_s: float) -> float:
        self.jittered.append(interval_s)
        return interval_s + 1

    def start(self, *answers: Deferred[None] | Exception) -> None:
        self.answers = list(answers)
        self.periodic.startService()
        self.clock.advance(0)

    def test_beats(self) -> None:
        """The first beat comes at once, each other after the interval with its jitter."""
        self.start()
        self.assertEqual(self.started, 1)
        self.clock.advance(10.9)
        self.assertEqual(self.started, 1)
        self.clock.advance(0.1)
        self.assertEqual((self.started, self.jittered), (2, [10.0, 10.0]))

    def test_coroutine(self) -> None:
        """A beat may be a coroutine."""
        done = []

        async def beat() -> None:
            done.append(self.clock.seconds())

        periodic = Periodic(self.clock, 10.0, beat, lambda interval_s: interval_s, "heartbeat")
        periodic.startService()
        self.clock.pump([0, 10, 10])
        self.assertEqual(done, [0.0, 10.0, 20.0])

    def test_never_two(self) -> None:
        """The next beat waits for the one in flight, and the interval counts from its end."""
        first: Deferred[None] = Deferred()
        self.start(first)
        self.clock.advance(20)
        self.assertEqual(self.started, 1)
        first.callback(None)
        self.clock.advance(10)
        self.assertEqual(self.started, 1)
        self.clock.advance(1)
        self.assertEqual(self.started, 2)

    def test_survives(self) -> None:
        """A beat that raises, and one that fails later, are counted; one that does not fail starts the count anew."""
        later: Deferred[None] = Deferred()
        with capturedLogs() as events:
            self.start(ConnectionProblem("Auth is away."), later)
            self.clock.advance(11)
            later.errback(ConnectionProblem("Auth is still away."))
            self.assertEqual(self.periodic.misses, 2)
            self.clock.advance(11)
        self.assertEqual((self.started, self.periodic.misses), (3, 0))
        self.assertEqual(
            [str(event["log_format"]).format(**event) for event in events],
            [
                "The heartbeat failed (1 in a row): Auth is away.",
                "The heartbeat failed (2 in a row): Auth is still away.",
                "The heartbeat works again, after 2 that failed.",
            ],
        )

    def test_mistakes(self) -> None:
        """An error that is none of ours is logged with its traceback, and the beats go on."""
        self.start(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(11)
        self.assertEqual(self.started, 2)

    def test_quiet(self) -> None:
        """A long outage is logged ever more rarely."""
        with capturedLogs() as events:
            self.start(*(ConnectionProblem("away") for _ in range(100)))
            self.clock.pump([11] * 99)
        self.assertEqual(self.periodic.misses, 100)
        self.assertEqual([event["misses"] for event in events], [1, 2, 4, 8, 16, 32, 64])
        self.assertEqual({event["log_level"] for event in events}, {LogLevel.warn})

    def test_endless(self) -> None:
        """A beat that does not end is cancelled after four intervals, and has failed."""
        self.start(Deferred())
        self.clock.advance(39)
        self.assertEqual(self.periodic.misses, 0)
        self.clock.advance(1)
        self.assertEqual(self.periodic.misses, 1)
        self.flushLoggedErrors()
        self.clock.advance(11)
        self.assertEqual(self.started, 2)

    def test_now(self) -> None:
        """A beat that is asked for comes at once, and the interval starts anew."""
        self.start()
        self.clock.advance(5)
        asked = self.periodic.beat_now()
        self.assertNoResult(asked)
        self.clock.advance(0)
        self.successResultOf(asked)
        self.clock.advance(10)
        self.assertEqual(self.started, 2)
        self.clock.advance(1)
        self.assertEqual(self.started, 3)

    def test_now_while_one_is_in_flight(self) -> None:
        """Who asks during a beat gets one that began after the asking; several who ask share it."""
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()
        self.start(first, second)
        asked = [self.periodic.beat_now(), self.periodic.beat_now()]
        first.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.started, 2)
        self.assertNoResult(asked[0])
        second.errback(ConnectionProblem("away"))
        for each in asked:
            self.assertIs(self.successResultOf(each), None)
        self.clock.advance(10)
        self.assertEqual(self.started, 2)

    def test_now_when_stopped(self) -> None:
        """A service that does not run does not beat."""
        self.successResultOf(self.periodic.beat_now())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Between beats stopping is immediate and leaves nothing behind; who waits for a beat is told."""
        self.start()
        asked = self.periodic.beat_now()
        self.successResultOf(self.periodic.stopService())
        self.successResultOf(asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_waits(self) -> None:
        """A beat in flight may end."""
        beat: Deferred[None] = Deferred()
        self.start(beat)
        stopped = self.periodic.stopService()
        self.clock.advance(4.9)
        self.assertNoResult(stopped)
        beat.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.started, 1)

    def test_stop_cancels(self) -> None:
        """A beat that goes on is cancelled after five seconds, and that is no failure."""
        cancelled: list[Deferred[None]] = []
        self.start(Deferred(cancelled.append))
        stopped = self.periodic.stopService()
        self.clock.advance(5)
        self.successResultOf(stopped)
        self.assertEqual((len(cancelled), self.periodic.misses), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_again(self) -> None:
        """A stopped service can be started again."""
        self.start()
        self.successResultOf(self.periodic.stopService())
        self.start()
        self.assertEqual(self.started, 2)
