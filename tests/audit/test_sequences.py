"""Control sequences in a stream, however it is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.sequences import MAX_SEQUENCE_BYTES, Sequences

WHOLE = (
    b"\x1b[A",
    b"\x1b[01;32m",
    b"\x1b[?2004h",
    b"\x1b[!p",
    b"\x1b[8;24;80t",
    b"\x1b]0;a title\x07",
    b"\x1b]8;;http://example.com\x1b\\",
    b"\x1bP1$r0q\x1b\\",
    b"\x1b]0;cancelled\x18",
    b"\x1b7",
    b"\x1b(B",
    b"\x1bM",
    b"\x1b=",
    b"\x1b\\",
)
STREAM = st.lists(st.sampled_from((*WHOLE, b"text", b"\x1b", b"[", b"]", b"\r\n", "é€".encode(), b"\x07")))


class SequencesTests(SynchronousTestCase):
    def pieces(self, *parts: bytes) -> list[tuple[bytes, bool]]:
        found = Sequences()
        return [(piece.data, piece.is_sequence) for part in parts for piece in found.feed(part)]

    def test_whole(self) -> None:
        """Each of them is one piece, between the text on both sides."""
        for each in WHOLE:
            wanted = [(b"a", False), (each, True), (b"b", False)]
            self.assertEqual(self.pieces(b"a" + each + b"b"), wanted)

    def test_cut(self) -> None:
        """Wherever the stream is cut, the rest is waited for."""
        for each in WHOLE:
            for at in range(1, len(each)):
                found = Sequences()
                pieces = list(found.feed(each[:at]))
                if not pieces:
                    self.assertEqual(found.begun, each[:at])
                    self.assertEqual([piece.data for piece in found.feed(each[at:])], [each])

    def test_next_one(self) -> None:
        """A string ends where another sequence begins, as terminals have it."""
        self.assertEqual(self.pieces(b"\x1b]0;x\x1b[A"), [(b"\x1b]0;x", True), (b"\x1b[A", True)])

    def test_never_closed(self) -> None:
        """A string that does not end hides nothing for long."""
        text = b"\x1b]0;" + b"x" * MAX_SEQUENCE_BYTES
        self.assertEqual(self.pieces(text), [(text, False)])
        found = Sequences()
        self.assertEqual(list(found.feed(text[:MAX_SEQUENCE_BYTES])), [])
        self.assertEqual(len(list(found.feed(text[MAX_SEQUENCE_BYTES:]))), 1)
        self.assertEqual(found.begun, b"")

    @given(STREAM, st.lists(st.integers(0, 200)))
    def test_nothing_is_lost(self, parts: list[bytes], cuts: list[int]) -> None:
        """All bytes come out again in order, and text has no sequence in it that is whole."""
        stream = b"".join(parts)
        edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        found = Sequences()
        pieces = [p for at, end in pairwise(edges) for p in found.feed(stream[at:end])]
        self.assertEqual(b"".join(piece.data for piece in pieces) + found.begun, stream)
        for piece in pieces:
            self.assertTrue(piece.is_sequence or b"\x1b[A" not in piece.data)
