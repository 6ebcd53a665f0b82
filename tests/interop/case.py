"""What all tests against real programs have in common."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from unittest import TestResult

from twisted.trial.unittest import SynchronousTestCase

from tests.interop import services
from tests.interop.failing import Failed

_HOST = Path(tempfile.gettempdir(), f"teleport-conch-interop-{os.getuid()}.lock")


class InteropTests(SynchronousTestCase):
    """Tests that drive programs and wait for them, without a reactor of their own.

    Their failures show what all services that were running logged meanwhile.

    :cvar alone: the tests that change the host for everybody, while which none runs in another process.
    """

    failureException = Failed
    alone: frozenset[str] = frozenset()

    def run(self, result: TestResult) -> None:  # type: ignore[override]  # trial's own says so, too
        services.begin_test()
        with _HOST.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if self._testMethodName in self.alone else fcntl.LOCK_SH)
            super().run(result)
