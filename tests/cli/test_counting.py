"""How far a command is."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.counting import counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class CountingTests(SynchronousTestCase):
    def said(self, stream: io.StringIO, *counts: tuple[int, int]) -> str:
        self.patch(sys, "stderr", stream)
        with counted("users looked at") as told:
            for done, of in counts:
                told(done, of)
        return stream.getvalue()

    def test_person(self) -> None:
        """A line that follows, and goes at the end."""
        text = self.said(Terminal(), (5, 20), (20, 20))
        self.assertEqual(text, "\r\x1b[K5 of 20 users looked at\r\x1b[K20 of 20 users looked at\r\x1b[K")

    def test_nothing_to_wait_for(self) -> None:
        """Nothing is said where all is done at once, nor to a program."""
        self.assertEqual(self.said(Terminal(), (20, 20)), "")
        self.assertEqual(self.said(io.StringIO(), (5, 20), (20, 20)), "")
