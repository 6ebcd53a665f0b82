"""What the last line of ``make test`` says about trial's summaries."""

from __future__ import annotations

import io
import sys
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.__main__ import Counts, Step, main, run, trial_counts, unit_tests


class CountsTests(SynchronousTestCase):
    def test_summaries(self) -> None:
        """Errors are failures, an expected failure is a pass; a run that broke off or found no tests is a failure."""
        for output, exit_code, counts in (
            ("Ran 3 tests\n\nPASSED (skips=1, successes=2)\n", 0, "2 passed, 0 failed, 1 skipped"),
            ("\nFAILED (failures=1, errors=2, successes=9)\n", 1, "9 passed, 3 failed"),
            ("\nPASSED (expectedFailures=1, successes=1)\n", 0, "2 passed, 0 failed"),
            ("\nFAILED (unexpectedSuccesses=1)\n", 1, "0 passed, 1 failed"),
            ("Ran 0 tests in 0.000s\n\nPASSED\n", 0, "0 passed, 1 failed"),
            ("PASSED (successes=1)\n... of a child\nFAILED (errors=1)\n", 1, "0 passed, 1 failed"),
            ("\nPASSED (successes=1)\n", 1, "1 passed, 1 failed"),
            ("Segmentation fault\n", 0, "0 passed, 1 failed"),
        ):
            self.assertEqual(str(trial_counts(output, exit_code)), counts)

    def test_sum(self) -> None:
        """The counts of the steps add up."""
        self.assertEqual(Counts(1, 2, 3) + Counts(10, 20, 30), Counts(11, 22, 33))

    def test_steps(self) -> None:
        """A step that is not trial's counts as one test, by its exit code."""
        for code, counts in ((0, Counts(1, 0)), (3, Counts(0, 1))):
            command = (sys.executable, "-c", f"print('said'); raise SystemExit({code})")
            with mock.patch("sys.stdout", io.StringIO()) as shown:
                self.assertEqual(run(Step("lint", command)).counts, counts)
            self.assertTrue(shown.getvalue().endswith("\nsaid\n"))

    def test_unknown_step(self) -> None:
        """A step that does not exist is refused, with the steps that do."""
        with mock.patch("sys.stderr", io.StringIO()) as said:
            self.assertEqual(main(["lint", "tyres"]), 2)
        self.assertEqual(said.getvalue(), "There is no step tyres; the steps are lint, format, types, unit, interop.\n")

    def test_unit_tests(self) -> None:
        """Folders and files are found by themselves, and interop is left to its own step."""
        found = unit_tests()
        self.assertIn("tests.test_checks", found)
        self.assertIn("tests.resources", found)
        self.assertNotIn("tests.interop", found)
