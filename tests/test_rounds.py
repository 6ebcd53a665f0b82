"""Many are visited after each change, in slices."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.periodic import VISITS_AT_ONCE, Rounds


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.visited: list[int] = []
        self.everyone = list(range(2 * VISITS_AT_ONCE + 1))
        self.rounds = Rounds(self.clock, lambda: self.everyone, self.visit)

    def visit(self, number: int) -> None:
        self.visited.append(number)
        if number == 3:
            raise ValueError("this one fails")

    def test_slices(self) -> None:
        """Everybody is visited once, others have their turn in between, and a failure costs nobody else their visit."""
        counts: list[int] = []
        self.rounds.begin()
        self.clock.callLater(0, lambda: counts.append(len(self.visited)))
        self.clock.advance(0)
        self.assertEqual((counts, self.visited), ([VISITS_AT_ONCE], self.everyone))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_begun_anew(self) -> None:
        """A change in the middle of a round makes everybody due again, those included who have come since."""
        self.everyone = list(range(10, 10 + VISITS_AT_ONCE + 1))
        self.rounds.begin()
        self.clock.callLater(0, self.everyone.append, 1)
        self.clock.callLater(0, self.rounds.begin)
        self.clock.advance(0)
        self.assertEqual(self.visited[VISITS_AT_ONCE:], self.everyone)

    def test_stopped(self) -> None:
        """Nobody is visited after the end."""
        self.rounds.begin()
        self.rounds.stop()
        self.clock.advance(1)
        self.assertEqual((self.visited, self.clock.getDelayedCalls()), ([], []))
