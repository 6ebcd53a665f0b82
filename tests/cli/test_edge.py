"""The edge of a command: errors become sentences and exit codes."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.edge import Interrupted, guarded
from teleport_conch.errors import NotFound


class EdgeTests(SynchronousTestCase):
    def ended(self, error: BaseException | None, debug: bool = False) -> tuple[int, str]:
        """Exit code and stderr of a command that raises this."""
        stderr = io.StringIO()
        self.patch(sys, "stderr", stderr)

        def command() -> None:
            if error is not None:
                raise error

        return guarded(command, debug), stderr.getvalue()

    def test_well(self) -> None:
        """What ends well says nothing more, and exits with 0."""
        self.assertEqual(self.ended(None), (0, ""))

    def test_sentences(self) -> None:
        """Failures are one sentence on stderr, and exit code 1."""
        for error, sentence in (
            (NotFound("There is no node."), "There is no node."),
            (OSError(28, "No space left on device", "/tmp/x"), "/tmp/x: No space left on device."),
            (OSError(28, "No space left on device"), "No space left on device."),
            (KeyboardInterrupt(), "Interrupted."),
            (Interrupted(), "Interrupted."),
            (ValueError("seven"), "Something unexpected happened: ValueError('seven'). With -d more is shown."),
        ):
            self.assertEqual(self.ended(error), (1, f"error: {sentence}\n"))

    def test_lines(self) -> None:
        """A sentence may have several lines, and none of them is obeyed by a terminal."""
        self.assertEqual(self.ended(NotFound("one\ntwo\x1b[2J"))[1], "error: one\ntwo\\x1b[2J\n")

    def test_debug(self) -> None:
        """With -d it is shown where it came from."""
        code, said = self.ended(NotFound("There is no node."), debug=True)
        self.assertEqual(code, 1)
        self.assertIn("Traceback", said)
        self.assertTrue(said.endswith("error: There is no node.\n"))
