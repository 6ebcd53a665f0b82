"""Waits between tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.backoff import Backoff, spread


class BackoffTests(SynchronousTestCase):
    def test_doubles_up_to_the_limit(self) -> None:
        """Each wait is twice the one before, and none is longer than the limit."""
        backoff = Backoff(1.0, 30.0, lambda seconds: seconds)
        self.assertEqual([backoff.next_s() for _ in range(7)], [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])

    def test_reset(self) -> None:
        """After a success the next failure is the first again."""
        backoff = Backoff(1.0, 30.0, lambda seconds: seconds)
        backoff.next_s()
        backoff.next_s()
        backoff.reset()
        self.assertEqual(backoff.next_s(), 1.0)

    def test_many_failures(self) -> None:
        """A year of failures is no trouble for the arithmetic."""
        backoff = Backoff(1.0, 30.0, lambda seconds: seconds)
        for _ in range(2000):
            self.assertLessEqual(backoff.next_s(), 30.0)

    @given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
    def test_spread(self, number: float, share: float) -> None:
        """Jitter stays within its share of the wait, in both directions."""
        waited = spread(lambda: number, share)(10.0)
        self.assertLessEqual(abs(waited - 10.0), 10.0 * share + 1e-9)

    def test_spread_reaches_both_ends(self) -> None:
        self.assertEqual([spread(lambda: 0.0, 0.1)(10.0), spread(lambda: 1.0, 0.1)(10.0)], [9.0, 11.0])
