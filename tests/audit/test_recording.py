"""Slices of recordings: what is written is read, and nothing that was changed is."""

from __future__ import annotations

import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import (
    HEADER_BYTES,
    MAX_JSON_BYTES,
    MAX_SLICE_BYTES,
    MAX_SLICE_RAW,
    MAX_SLICE_RECORDS,
    MAX_SLICES,
    NO_DIGEST,
    RECORD_BYTES,
    Chain,
    Kind,
    Reading,
    Record,
    Slice,
    digest,
    read,
    read_header,
)
from teleport_conch.errors import BadParameter

RECORDS = st.builds(Record, st.sampled_from(Kind), st.integers(0, (1 << 64) - 1), st.binary(max_size=300))


def recording(*texts: bytes, last: bool = True) -> list[bytes]:
    """The slices of a session that showed ``texts``, each in one of its own."""
    slices: list[bytes] = []
    for index, text in enumerate(texts):
        previous = digest(slices[-1]) if slices else NO_DIGEST
        over = last and index == len(texts) - 1
        slices.append(Slice(index, previous, (Record(Kind.OUTPUT, index, text),), over).encode())
    return slices


def packed(raw: bytes, **header: object) -> bytes:
    """A slice that no honest program writes."""
    body = zlib.compress(raw)
    whole = {"magic": b"tcrec\0\0\1", "index": 0, "length": HEADER_BYTES + len(body), "flags": 0, **header}
    return struct.pack(">8sII32sB", whole["magic"], whole["index"], whole["length"], NO_DIGEST, whole["flags"]) + body


class SliceTests(SynchronousTestCase):
    @given(st.integers(0, MAX_SLICES - 1), st.binary(min_size=32, max_size=32), st.lists(RECORDS), st.booleans())
    def test_round_trip(self, index: int, previous: bytes, records: list[Record], last: bool) -> None:
        slice_ = Slice(index, previous, tuple(records), last)
        encoded = slice_.encode()
        self.assertEqual(Slice.decode(encoded), slice_)
        header = read_header(encoded)
        self.assertEqual(
            (header.index, header.previous, header.last, header.length), (index, previous, last, len(encoded))
        )

    @given(st.lists(RECORDS, min_size=1), st.data())
    def test_truncated(self, records: list[Record], data: st.DataObject) -> None:
        encoded = Slice(0, NO_DIGEST, tuple(records)).encode()
        cut = data.draw(st.integers(0, len(encoded) - 1))
        self.assertRaises(BadParameter, Slice.decode, encoded[:cut])

    @given(st.lists(RECORDS, min_size=1), st.data())
    def test_changed(self, records: list[Record], data: st.DataObject) -> None:
        """Whatever is changed is refused, or is another slice with another digest."""
        encoded = bytearray(Slice(0, NO_DIGEST, tuple(records)).encode())
        at = data.draw(st.integers(0, len(encoded) - 1))
        before = digest(bytes(encoded))
        encoded[at] ^= data.draw(st.integers(1, 255))
        try:
            Slice.decode(bytes(encoded))
        except BadParameter:
            return
        self.assertNotEqual(digest(bytes(encoded)), before)

    @given(st.binary(max_size=400))
    def test_garbage(self, garbage: bytes) -> None:
        self.assertRaises(BadParameter, Slice.decode, garbage)
        self.assertRaises(BadParameter, Slice.decode, packed(b"\xff" + garbage))

    def test_greatest(self) -> None:
        """Records up to the bound fit, and what cannot be compressed fits, too."""
        noise = b"".join(digest(struct.pack(">I", each)) for each in range(MAX_SLICE_RAW // 32))
        whole = Slice(0, NO_DIGEST, (Record(Kind.OUTPUT, 0, noise[: MAX_SLICE_RAW - RECORD_BYTES]),))
        encoded = whole.encode()
        self.assertLessEqual(len(encoded), MAX_SLICE_BYTES)
        self.assertEqual(Slice.decode(encoded), whole)
        one_more = Slice(0, NO_DIGEST, (Record(Kind.OUTPUT, 0, noise[: MAX_SLICE_RAW - RECORD_BYTES + 1]),))
        self.assertRaises(ValueError, one_more.encode)

    def test_many(self) -> None:
        """As many records as the bound says, and no more, however small they are."""
        small = Record(Kind.OUTPUT, 0, b"")
        whole = Slice(0, NO_DIGEST, (small,) * MAX_SLICE_RECORDS)
        self.assertEqual(Slice.decode(whole.encode()), whole)
        self.assertRaises(ValueError, Slice(0, NO_DIGEST, (small,) * (MAX_SLICE_RECORDS + 1)).encode)

    def test_refusals(self) -> None:
        """Each with its sentence."""
        encoded = Slice(3, NO_DIGEST, (Record(Kind.OUTPUT, 0, b"x"),)).encode()
        for wrong, sentence in (
            (b"", "This is not a slice of a recording: it is too short."),
            (b"x" * 99, "This is not a slice of a recording, or it is one of another version."),
            (packed(b"", index=MAX_SLICES), f"Slice {MAX_SLICES} of the recording is beyond the bounds of slices."),
            (packed(b"", length=MAX_SLICE_BYTES + 1), "Slice 0 of the recording is beyond the bounds of slices."),
            (packed(b"", flags=2), "Slice 0 of the recording is beyond the bounds of slices."),
            (
                encoded + b"x",
                f"A slice of a recording has {len(encoded) + 1} bytes, where {len(encoded)} are due.",
            ),
            (
                packed(bytes(MAX_SLICE_RAW + 1)),
                "Slice 0 of the recording cannot be unpacked, or holds more than slices may.",
            ),
            (
                packed(struct.pack(">BQI", 111, 0, 0) * (MAX_SLICE_RECORDS + 1)),
                f"Slice 0 of the recording has more than {MAX_SLICE_RECORDS} records.",
            ),
            (packed(b"o"), "Slice 0 of the recording ends in the middle of a record."),
            (packed(struct.pack(">BQI", 111, 0, 9)), "Slice 0 of the recording has a record that cannot be read."),
            (packed(struct.pack(">BQI", 120, 0, 0)), "Slice 0 of the recording has a record that cannot be read."),
        ):
            refusal = self.assertRaises(BadParameter, Slice.decode, wrong)
            self.assertEqual(refusal.sentence, sentence)

    def test_fields(self) -> None:
        self.assertEqual(Record.of(Kind.RESIZE, 1, {"cols": 80, "rows": 25}).fields(), {"cols": 80, "rows": 25})
        deep = b"[" * (MAX_JSON_BYTES - 1)
        for data in (b"", b"[]", b"{", deep, b'{"x":"' + b"y" * MAX_JSON_BYTES + b'"}'):
            refusal = self.assertRaises(BadParameter, Record(Kind.END, 0, data).fields)
            self.assertEqual(refusal.sentence, "A record of a recording (end) cannot be read.")


class ChainTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=50), min_size=1, max_size=6), st.integers(1, 80))
    def test_pieces(self, texts: list[bytes], size: int) -> None:
        """A recording is the same in pieces of any size."""
        whole = b"".join(recording(*texts))
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        self.assertEqual([each.records[0].data for each in read(pieces)], texts)

    def test_what_is_known(self) -> None:
        slices = recording(b"a", b"b")
        reading = Reading()
        list(reading.feed(slices[0] + slices[1][:5]))
        self.assertEqual((reading.chain.due, reading.chain.head, reading.chain.over), (1, digest(slices[0]), False))
        self.assertEqual(reading.rest, 5)
        list(reading.feed(slices[1][5:]))
        self.assertEqual((reading.chain.due, reading.chain.head, reading.chain.over), (2, digest(slices[1]), True))

    def test_broken(self) -> None:
        """Slices that are changed, left out, put in, swapped or torn."""
        one, two, three = recording(b"a", b"b", b"c")
        other = recording(b"x", b"b", b"c")
        changed = "Slice {} does not follow the one before it: the recording was changed, or a part of it is missing."
        for slices, sentence in (
            ([other[0], two, three], changed.format(1)),
            ([one, other[1], three], changed.format(1)),
            ([one, three], "Slice 1 of the recording is due, and this is slice 2."),
            ([two, three], "Slice 0 of the recording is due, and this is slice 1."),
            ([one, one, two], "Slice 1 of the recording is due, and this is slice 0."),
            ([one, two, three, one], "The recording has ended; slice 0 comes after its end."),
            ([one, two[:-1]], "The recording is torn in the middle of slice 1."),
        ):
            refusal = self.assertRaises(BadParameter, lambda: list(read(slices)))  # noqa: B023  # called at once
            self.assertEqual(refusal.sentence, sentence)

    def test_going_on(self) -> None:
        """A chain that is taken up again where it was left."""
        one, two = recording(b"a", b"b")
        chain = Chain(1, digest(one))
        self.assertTrue(chain.add(two).last)
        self.assertTrue(chain.over)
