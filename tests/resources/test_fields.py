"""Fields of JSON that others wrote."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields


class NumberTests(SynchronousTestCase):
    def test_finite(self) -> None:
        fields = Fields({"a": 1, "b": -0.5}, "x")
        self.assertEqual((fields.number("a"), fields.instant("b"), fields.number("c", 3.0)), (1.0, -0.5, 3.0))

    def test_out_of_range(self) -> None:
        """``1e999`` is read as an infinity, which no JSON can answer; an integer may be too large for a float."""
        for value in (float("inf"), float("-inf"), float("nan"), 10**400):
            fields = Fields({"at": value}, "session.spec")
            for read in (fields.number, fields.instant):
                refusal = self.assertRaises(BadParameter, read, "at")
                self.assertEqual(refusal.sentence, "session.spec.at is a number out of range.")
