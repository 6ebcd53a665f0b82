"""Timers when the clock of the system is set."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.steady import SteadyTimers, hasten


class _Machine(Clock):
    """A clock that can be set, and one that cannot."""

    monotonic = 0.0

    def advance(self, amount: float) -> None:
        self.monotonic += amount
        super().advance(amount)

    def set_by(self, seconds: float) -> None:
        self.rightNow += seconds


class StepTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.machine = _Machine()
        self.machine.advance(1_000_000)
        self.fired: list[str] = []
        self.steady = SteadyTimers(
            self.machine, lambda call, step: call(step), self.machine.seconds, lambda: self.machine.monotonic
        )

    def in_(self, seconds: float, name: str) -> None:
        self.machine.callLater(seconds, self.fired.append, name)

    def test_back(self) -> None:
        """Timers from before fire when they were meant to; those from after the step are left alone."""
        self.in_(0.5, "soon")
        self.in_(15, "beat")
        self.in_(86_400, "day")
        self.machine.set_by(-3600)
        self.in_(10, "new")
        with capturedLogs() as events:
            self.steady.look()
            self.steady.look()
        told = [str(event["log_format"]).format(**event) for event in events]
        self.assertEqual(told, ["The clock of this machine was set back by 3600 s."])
        for seconds, fired in ((1, ["soon"]), (10, ["soon", "new"]), (5, ["soon", "new", "beat"])):
            self.machine.advance(seconds)
            self.assertEqual(self.fired, fired)
        self.machine.advance(86_400)
        self.assertEqual(self.fired[3:], ["day"])

    def test_forward(self) -> None:
        """What has become due is due; nothing is put off."""
        self.in_(15, "beat")
        self.machine.set_by(3600)
        self.steady.look()
        self.machine.advance(0)
        self.assertEqual(self.fired, ["beat"])

    def test_slewed(self) -> None:
        """A clock that is put right bit by bit is no step."""
        self.in_(15, "beat")
        self.machine.set_by(-1)
        self.steady.look()
        self.machine.advance(15)
        self.assertEqual(self.fired, [])
        self.machine.advance(1)
        self.assertEqual(self.fired, ["beat"])

    def test_nothing_waits(self) -> None:
        hasten(self.machine, 3600)
        self.assertEqual(self.machine.getDelayedCalls(), [])

    def test_thread(self) -> None:
        """The thread ends with the service."""
        self.steady.startService()
        self.steady.stopService()
        self.assertFalse(self.steady.running)
