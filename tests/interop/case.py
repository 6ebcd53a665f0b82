"""What all tests against real programs have in common."""

from __future__ import annotations

from unittest import TestResult

from twisted.trial.unittest import SynchronousTestCase

from tests.interop import services
from tests.interop.failing import Failed


class InteropTests(SynchronousTestCase):
    """Tests that drive programs and wait for them, without a reactor of their own.

    Their failures show what all services that were running logged meanwhile.
    """

    failureException = Failed

    def run(self, result: TestResult) -> None:  # type: ignore[override]  # trial's own says so, too
        services.begin_test()
        super().run(result)
