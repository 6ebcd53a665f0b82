"""Text from others does nothing to a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.inert import inert


class InertTests(SynchronousTestCase):
    def test_escapes(self) -> None:
        """Control characters, ANSI, OSC, separators, overrides, invisible ones and surrogates are escaped."""
        for text, expected in (
            ("plain text, Grüße, 東京, עברית", "plain text, Grüße, 東京, עברית"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
            ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
            ("a\u202eb\u2066c\u200bd\ufeff", "a\\u202eb\\u2066c\\u200bd\\ufeff"),
            ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
            ("\udcff\U000e0041", "\\udcff\\U000e0041"),
        ):
            self.assertEqual(inert(text), expected)

    @given(st.text(st.characters(codec=None)))
    def test_always(self, text: str) -> None:
        """Whatever goes in, what comes out is printable and on one line, and stays so."""
        once = inert(text)
        self.assertTrue(once.isprintable())
        self.assertEqual(inert(once), once)
