"""Tables: their form, and that nothing in them is obeyed by a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.table import fitted, headless, inert, pairs, table


class TableTests(SynchronousTestCase):
    def test_form(self) -> None:
        """Dashes are as wide as the widest cell, no column is narrower than five, and lines end without spaces."""
        self.assertEqual(
            table(("Nodename", "UUID", "Up"), [("web1", "0123456789", "y"), ("a-long-nodename", "1", "")]),
            "Nodename        UUID       Up\n"
            "--------------- ---------- --\n"
            "web1            0123456789 y\n"
            "a-long-nodename 1\n",
        )
        self.assertEqual(table(("A", "B"), [("1", "2")]), "A    B\n-    -\n1    2\n")

    def test_without_rows(self) -> None:
        """A table of nothing shows its columns."""
        self.assertEqual(table(("Name", "Value"), []), "Name Value\n---- -----\n")

    def test_fitted(self) -> None:
        """One column gives way to the width of the terminal, to some letters at least, wherever it stands."""
        heads, rows = ("Name", "Labels", "State"), [("web1", "env=prod,role=web,zone=a", "online")]
        self.assertEqual(fitted(heads, rows, 1, None), [list(rows[0])])
        for width, line in ((80, "web1 env=prod,role=web,zone=a online"), (31, "web1 env=prod,role=web… online")):
            lines = table(heads, fitted(heads, rows, 1, width)).splitlines()
            self.assertEqual(lines[2], line)
            self.assertLessEqual(max(map(len, lines)), width)
        self.assertIn(" env=prod,role=w… ", table(heads, fitted(heads, rows, 1, 5)))

    def test_headless(self) -> None:
        """Rows only, aligned."""
        self.assertEqual(headless([("Cluster", "main"), ("CA pin", "sha256:00")]), "Cluster main\nCA pin  sha256:00\n")

    def test_cells_are_inert(self) -> None:
        """A nodename cannot move the cursor, begin a line, or hide what follows."""
        text = table(("Name",), [("\x1b[2Jroot",), ("a\nb",), ("\u202egpj",)])
        self.assertEqual(text.splitlines()[2:], ["\\x1b[2Jroot", "a\\nb", "\\u202egpj"])

    def test_pairs(self) -> None:
        """Labels are sorted, so that the same labels look the same."""
        self.assertEqual(pairs({"env": "prod", "arch": "arm"}), "arch=arm,env=prod")

    @given(st.text())
    def test_inert(self, text: str) -> None:
        """Whatever comes in, what comes out is printable; what was printable stays."""
        self.assertTrue(inert(text).isprintable())
        if text.isprintable():
            self.assertEqual(inert(text), text)
