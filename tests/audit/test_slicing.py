"""Slices hold what happened in a session, all of it, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import MAX_SLICE_RAW, MAX_SLICE_RECORDS, NO_DIGEST, Kind, Slice, read
from teleport_conch.audit.slicing import PIECE_BYTES, Slicing

OUTPUT = st.builds(lambda unit, times: unit * times, st.binary(max_size=40), st.integers(0, 40_000))
HAPPENED = st.lists(st.one_of(OUTPUT, st.tuples(st.integers(1, 500), st.integers(1, 500)), st.none()))


def drained(slicing: Slicing) -> list[bytes]:
    """The slices of all that waits."""
    slices = []
    while slicing.waiting_bytes:
        slices.append(slicing.take().encode())
        slicing.made(slices[-1])
    return slices


class SlicingTests(SynchronousTestCase):
    @given(HAPPENED)
    def test_everything(self, happened: list[bytes | tuple[int, int] | None]) -> None:
        """Output and sizes come out as they went in, wherever slices are cut (None)."""
        slicing, slices, shown, sizes = Slicing(), [], b"", []
        slicing.told(Kind.START, 0, {"cols": 80, "rows": 24})
        for at_us, each in enumerate(happened):
            if isinstance(each, bytes):
                slicing.shown(at_us, each)
                shown += each
            elif each is not None:
                slicing.told(Kind.RESIZE, at_us, {"cols": each[0], "rows": each[1]})
                sizes.append(each)
            else:
                slices += drained(slicing)
        slicing.told(Kind.END, len(happened), {"complete": True, "exit": "0", "reason": ""})
        slices += drained(slicing)
        found = list(read(slices))
        records = [record for each in found for record in each.records]
        self.assertEqual(b"".join(each.data for each in records if each.kind is Kind.OUTPUT), shown)
        resized = [each.fields() for each in records if each.kind is Kind.RESIZE]
        self.assertEqual([(each["cols"], each["rows"]) for each in resized], sizes)
        self.assertEqual([each.at_us for each in records], sorted(each.at_us for each in records))
        self.assertEqual([each.last for each in found], [False] * (len(found) - 1) + [True])
        self.assertEqual((slicing.due, slicing.kept_bytes), (len(slices), sum(map(len, slices))))

    def test_filled(self) -> None:
        """A flood fills slices, none beyond its bound; what does not fit is in the next one."""
        slicing = Slicing()
        slicing.shown(7, bytes(MAX_SLICE_RAW + PIECE_BYTES))
        before = slicing.waiting_bytes
        first = slicing.take()
        size = sum(record.size for record in first.records)
        self.assertTrue(MAX_SLICE_RAW - PIECE_BYTES < size <= MAX_SLICE_RAW, size)
        self.assertEqual(slicing.waiting_bytes, before - size)
        slicing.made(first.encode())
        self.assertEqual(slicing.take().index, 1)

    def test_many(self) -> None:
        """Small records fill a slice by their number, and the end is in the last of them."""
        slicing = Slicing()
        for at_us in range(MAX_SLICE_RECORDS + 1):
            slicing.shown(at_us, b"x")
        slicing.told(Kind.END, MAX_SLICE_RECORDS, {"complete": True, "exit": "0", "reason": ""})
        first, second = list(read(drained(slicing)))
        self.assertEqual((len(first.records), first.last), (MAX_SLICE_RECORDS, False))
        self.assertEqual((len(second.records), second.last), (2, True))
        self.assertEqual(slicing.waiting_bytes, 0)

    def test_nothing(self) -> None:
        """There may be a slice of nothing, which is not the last."""
        self.assertEqual(Slicing().take(), Slice(0, NO_DIGEST, ()))
