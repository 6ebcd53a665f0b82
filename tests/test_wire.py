"""RFC 4251, section 5: the data types, by table, by round trip, and cut off at every place."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.wire import Reader, WireError

names = st.lists(st.from_regex(r"[a-z0-9@.-]{1,12}", fullmatch=True), max_size=5).map(tuple)

# The examples of RFC 4251, section 5.
MPINTS = [
    (0, "00 00 00 00"),
    (0x9A378F9B2E332A7, "00 00 00 08 09 a3 78 f9 b2 e3 32 a7"),
    (0x80, "00 00 00 02 00 80"),
    (-0x1234, "00 00 00 02 ed cc"),
    (-0xDEADBEEF, "00 00 00 05 ff 21 52 41 11"),
]

REFUSED: list[tuple[str, Callable[[Reader], object], str]] = [
    ("", Reader.byte, "1 bytes are due and 0 are left"),
    ("00 00 00", Reader.uint32, "4 bytes are due and 3 are left"),
    ("00 00 00 02 41", Reader.string, "2 bytes are due and 1 are left"),
    ("ff ff ff ff", Reader.string, "a string of 4294967295 bytes, where 1048576 is the limit"),
    ("00 00 00 01 ff", Reader.text, "a text that is not UTF-8"),
    ("00 00 00 02 00 01", Reader.mpint, "a number with superfluous leading bytes"),
    ("00 00 00 01 00", Reader.mpint, "a number with superfluous leading bytes"),
    ("00 00 00 03 61 2c 2c", Reader.name_list, "an empty name in a name-list"),
    ("00 00 00 01 e9", Reader.name_list, "a name-list that is not ASCII"),
]


class WireTests(SynchronousTestCase):
    def test_mpint_examples(self) -> None:
        """Numbers are written and read as the RFC's own examples are."""
        for value, written in MPINTS:
            self.assertEqual(wire.mpint(value), bytes.fromhex(written))
            self.assertEqual(Reader(bytes.fromhex(written)).mpint(), value)

    def test_refusals(self) -> None:
        """What does not fit its format raises, and says what is wrong."""
        for written, read, sentence in REFUSED:
            error = self.assertRaises(WireError, read, Reader(bytes.fromhex(written)))
            self.assertEqual(str(error), sentence)

    def test_trailing_bytes(self) -> None:
        """A message that goes on after its last field is refused."""
        reader = Reader(b"\1\2")
        reader.byte()
        self.assertEqual(str(self.assertRaises(WireError, reader.end)), "1 bytes too many")

    @given(st.integers(), st.binary(max_size=40), st.text(max_size=20), st.booleans(), names)
    def test_round_trip(self, number: int, raw: bytes, words: str, flag: bool, listed: tuple[str, ...]) -> None:
        """What was written is read again, and nothing is left."""
        whole = b"".join(
            (wire.mpint(number), wire.string(raw), wire.text(words), wire.boolean(flag), wire.name_list(listed))
        )
        reader = Reader(whole)
        read = (reader.mpint(), reader.string(), reader.text(), reader.boolean(), reader.name_list())
        reader.end()
        self.assertEqual(read, (number, raw, words, flag, listed))

    @given(st.binary(max_size=40), st.data())
    def test_truncation_always_raises(self, raw: bytes, data: st.DataObject) -> None:
        """A string that lost any of its bytes is never read."""
        whole = wire.string(raw)
        cut = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
        self.assertRaises(WireError, Reader(whole[:cut]).string)
