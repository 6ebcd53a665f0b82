"""Recordings that come in pieces, and are gone through more than once."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import Record, digest
from teleport_conch.audit.tape import Tape
from teleport_conch.errors import BadParameter
from tests.audit.reels import END, START, output, reel

RECORDS = (START, *(output(at, b"%d" % at) for at in range(7)), END)


class TapeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = b"".join(reel(*RECORDS))
        self.step = 1 << 20
        self.asked: list[int] = []
        self.tape = Tape(self.fetch, io.BytesIO())

    async def fetch(self, offset: int) -> bytes:
        self.asked.append(offset)
        return self.source[offset : offset + self.step]

    def next(self) -> Record | None:
        return self.successResultOf(Deferred.fromCoroutine(self.tape.next()))

    def all(self) -> list[Record]:
        return list(iter(self.next, None))

    def test_in_order(self) -> None:
        self.assertEqual(self.all(), list(RECORDS))
        self.assertTrue(self.tape.chain.over)
        self.assertEqual(self.tape.chain.head, digest(reel(*RECORDS)[-1]))

    @given(st.integers(1, 300), st.integers(0, len(RECORDS)))
    def test_rewind(self, step: int, count: int) -> None:
        """From the start again, without asking for what has come, and then on."""
        self.setUp()
        self.step = step
        before = [self.next() for _ in range(count)]
        asked = len(self.asked)
        self.tape.rewind()
        self.assertEqual([self.next() for _ in range(count)], before)
        self.assertEqual(len(self.asked), asked)
        self.assertEqual(self.all(), list(RECORDS[count:]))
        self.assertEqual(self.asked, sorted(self.asked))

    def test_grows(self) -> None:
        """What is not there yet may come later."""
        whole, self.source = self.source, b"".join(reel(*RECORDS)[:2])
        self.assertEqual(self.all(), list(RECORDS[:4]))
        self.assertFalse(self.tape.chain.over)
        self.source = whole
        self.assertEqual(self.all(), list(RECORDS[4:]))

    def test_broken(self) -> None:
        """What is before the break is given, and then why there is no more."""
        pieces = reel(*RECORDS)
        self.source = b"".join((*pieces[:2], *pieces[3:]))
        self.assertEqual([self.next() for _ in range(4)], list(RECORDS[:4]))
        problem = self.failureResultOf(Deferred.fromCoroutine(self.tape.next()), BadParameter)
        self.assertEqual(problem.value.sentence, "Slice 2 of the recording is due, and this is slice 3.")

    def test_torn(self) -> None:
        self.source = self.source[:-1]
        self.assertEqual([self.next() for _ in range(8)], list(RECORDS[:8]))
        problem = self.failureResultOf(Deferred.fromCoroutine(self.tape.next()), BadParameter)
        self.assertEqual(problem.value.sentence, "The recording is torn in the middle of slice 4.")
