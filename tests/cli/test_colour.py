"""Colours: where they are, and where they are not."""

from __future__ import annotations

import io
import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli import edge
from teleport_conch.cli.colour import BOLD, RED, painted
from teleport_conch.cli.table import table


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class PaintedTests(SynchronousTestCase):
    def test_terminal(self) -> None:
        self.assertEqual(painted("text", BOLD, Screen(), {"TERM": "xterm"}), "\x1b[1mtext\x1b[0m")
        self.assertEqual(painted("", BOLD, Screen(), {"TERM": "xterm"}), "")

    def test_none(self) -> None:
        """Not in a file or a pipe, nor where a person or the terminal says so; an empty NO_COLOR says nothing."""
        self.assertEqual(painted("text", BOLD, io.StringIO(), {"TERM": "xterm"}), "text")
        for variables in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
            self.assertEqual(painted("text", BOLD, Screen(), variables), "text", variables)
        self.assertNotEqual(painted("text", BOLD, Screen(), {"TERM": "xterm", "NO_COLOR": ""}), "text")


class UsedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"TERM": "xterm"})

    def test_heads(self) -> None:
        """The heads of a table are bold, and nothing else moves."""
        plain = table(("Name", "Value"), [("a name", "1")])
        self.patch(sys, "stdout", Screen())
        heads, rest = table(("Name", "Value"), [("a name", "1")]).split("\n", 1)
        self.assertEqual(heads, "\x1b[1mName   Value\x1b[0m")
        self.assertEqual(rest, plain.split("\n", 1)[1])

    def test_errors(self) -> None:
        screen = Screen()
        self.patch(sys, "stderr", screen)
        edge.complain("It is \x1b[2J broken.")
        self.assertEqual(screen.getvalue(), f"{painted('error:', RED, screen)} It is \\x1b[2J broken.\n")
        self.assertTrue(screen.getvalue().startswith("\x1b[31merror:\x1b[0m "))
