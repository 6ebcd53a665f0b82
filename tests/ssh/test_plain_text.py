"""Text of the other side is shown, and does nothing."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.plain_text import plain_text


class T111PlainText(SynchronousTestCase):
    """Threat 111: escape sequences in a banner, a question, an error or a goodbye."""

    def test_sequences(self) -> None:
        """Colours, titles, the clipboard, links, and the one-byte forms of C1 lose what makes them work."""
        for said, shown in (
            (b"\x1b[31mred\x1b[0m", "[31mred[0m"),
            (b"\x1b]0;title\x07", "]0;title"),
            (b"\x1b]52;c;cm0gLXJm\x1b\\", "]52;c;cm0gLXJm\\"),
            ("\x9b31m".encode(), "31m"),
            (b"over\rwritten\x08\x7f\0", "overwritten"),
            ("\u202eevil\u2066\u200b".encode(), "evil"),
        ):
            self.assertEqual(plain_text(said, 100), shown)

    def test_what_stays(self) -> None:
        """Words in any language, tabs and line ends, which become single newlines."""
        text = "Grüße\t日本語\r\nnext\nlast"
        self.assertEqual(plain_text(text.encode(), 100), "Grüße\t日本語\nnext\nlast")

    def test_not_utf8(self) -> None:
        """Other encodings are replaced, not refused."""
        self.assertEqual(plain_text(b"caf\xe9!", 100), "caf\N{REPLACEMENT CHARACTER}!")

    def test_limit(self) -> None:
        """The text is cut off, whatever its characters weigh."""
        for letter in ("a", "ü", "\N{GRINNING FACE}"):
            self.assertEqual(plain_text(letter.encode() * 1000, 7), letter * 7)
        self.assertEqual(plain_text(b"text", 0), "")

    @given(st.binary(max_size=100), st.integers(0, 50))
    def test_any_bytes(self, data: bytes, limit: int) -> None:
        """Whatever arrives, nothing that controls is left, and no more than the limit."""
        shown = plain_text(data, limit)
        self.assertLessEqual(len(shown), limit)
        self.assertFalse([each for each in shown if unicodedata.category(each) == "Cc" and each not in "\n\t"])
