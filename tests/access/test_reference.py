"""References that people read aloud."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.reference import ALPHABET, CHARS, new_reference, parse_reference
from teleport_conch.errors import AccessDenied


class ReferenceTests(SynchronousTestCase):
    @given(st.binary(min_size=5, max_size=5))
    def test_made_and_read(self, data: bytes) -> None:
        """Each is read again, however it was typed, and other bytes make another."""
        reference = new_reference(lambda count: data[:count])
        self.assertEqual((len(reference), set(reference) - set(ALPHABET)), (CHARS, set()))
        typed = f" {reference.upper().replace('0', 'O').replace('1', 'l')} "
        self.assertEqual(parse_reference(typed), reference)
        changed = bytes((data[0] ^ 1, *data[1:]))
        self.assertNotEqual(new_reference(lambda count: changed[:count]), reference)

    def test_none(self) -> None:
        for text in ("", "0123456", "012345678", "0123456u", "0123/567", "../../ab"):
            self.assertIsNone(parse_reference(text))

    def test_error(self) -> None:
        """A refusal tells its reference once."""
        refusal = AccessDenied("No.")
        refusal.refer_to("7k2m9xqd")
        refusal.refer_to("00000000")
        self.assertEqual((refusal.sentence, str(refusal)), ("No. (reference 7k2m9xqd)",) * 2)
        self.assertEqual(refusal.facts, {"reference": "7k2m9xqd"})
