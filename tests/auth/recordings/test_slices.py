"""What has to be right in a slice before it is kept."""

from __future__ import annotations

import gc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import MAX_SLICE_BYTES, NO_DIGEST, Kind, Record, digest
from teleport_conch.auth.recordings.slices import (
    MAX_REASON_CHARS,
    End,
    check_session_id,
    end_of,
    ended,
    is_session_id,
    piece_of,
    recording_of,
)
from teleport_conch.errors import BadParameter, TooLarge
from teleport_conch.resources.recording import RecordingState
from tests.auth.fixture import NOW, WEB1
from tests.auth.recordings.samples import SID, encoded, end, output, start

HELLO = output(b"hello", 7)


class IdTests(SynchronousTestCase):
    def test_ids(self) -> None:
        """UUIDs as nodes make them; nothing that could be the name of another file."""
        self.assertTrue(is_session_id(SID))
        for text in ("", "s-1", SID.upper(), f"{SID}\n", f"../{SID}", f"{SID}/x", f"{SID}.rec", "..", "\0", SID[:-1]):
            self.assertFalse(is_session_id(text), text)
            refusal: BadParameter = self.assertRaises(BadParameter, check_session_id, text)
            self.assertEqual(refusal.sentence, f"{text[:64]!a} is not a valid session ID (it must be a UUID).")


class PieceTests(SynchronousTestCase):
    def test_good(self) -> None:
        first = encoded(start(), HELLO)
        piece = piece_of(first)
        self.assertEqual((piece.encoded, piece.digest, piece.at_us), (first, digest(first), 7))
        resize = Record.of(Kind.RESIZE, 8, {"cols": 100, "rows": 40})
        self.assertEqual(piece_of(encoded(HELLO, resize, end(9), index=1, last=True)).at_us, 9)

    def test_refused(self) -> None:
        """Each with the sentence that says what is wrong."""
        start_alone = "A recording has a start, at its beginning and nowhere else."
        end_alone = "A recording has an end in its last slice, behind everything else, and nowhere else."
        for wrong, sentence in (
            (encoded(index=1), "Slice 1 of the recording holds nothing."),
            (encoded(HELLO), start_alone),
            (encoded(start(), start()), start_alone),
            (encoded(start(), index=1), start_alone),
            (encoded(start(), last=True), end_alone),
            (encoded(end(), HELLO, index=1, last=True), end_alone),
            (encoded(end(), index=1), end_alone),
            (encoded(end(), end(), index=1, last=True), end_alone),
            (encoded(HELLO, output(b"x", 6), index=1), "Slice 1 of the recording runs back in time."),
            (encoded(Record(Kind.RESIZE, 0, b"80"), index=1), "A record of a recording (resize) cannot be read."),
            (encoded(Record(Kind.START, 0, b"{}")), "missing parameter start.session.user"),
            (encoded(Record(Kind.END, 0, b"[]"), index=1, last=True), "A record of a recording (end) cannot be read."),
            (encoded(HELLO, index=1) + b"x", "A slice of a recording has 70 bytes, where 69 are due."),
            (b"GET / HTTP/1.1", "This is not a slice of a recording: it is too short."),
        ):
            refusal: BadParameter = self.assertRaises(BadParameter, piece_of, wrong)
            self.assertEqual(refusal.sentence, sentence)

    def test_too_large(self) -> None:
        """What is larger than a slice is not even looked at."""
        refusal: TooLarge = self.assertRaises(TooLarge, piece_of, bytes(MAX_SLICE_BYTES + 1))
        self.assertEqual(refusal.sentence, "A slice of a recording has at most 263168 bytes.")

    @given(st.binary(max_size=200))
    @settings(deadline=None)
    def test_noise(self, data: bytes) -> None:
        self.assertRaises(BadParameter, piece_of, data)

    @given(st.integers(0, 200), st.integers(0, 7))
    @settings(deadline=None)
    def test_flipped_bits(self, at: int, bit: int) -> None:
        """A slice that was changed is refused, or it is another one, with another digest."""
        whole = encoded(start(), HELLO, end(9), last=True)
        changed = bytearray(whole)
        changed[at % len(whole)] ^= 1 << bit
        try:
            piece = piece_of(bytes(changed))
        except BadParameter:
            return
        self.assertNotEqual(piece.digest, digest(whole))


class MeaningTests(SynchronousTestCase):
    def test_start(self) -> None:
        recording = recording_of(start())
        self.assertEqual(
            (recording.id, recording.user, recording.login, recording.server_id, recording.server_hostname),
            (SID, "alice", "root", WEB1, "web1"),
        )
        self.assertEqual((recording.created_at, recording.participants), (NOW, ("alice",)))
        self.assertEqual((recording.cols, recording.rows, recording.term), (80, 25, "xterm"))
        self.assertIs(recording.state, RecordingState.RECORDING)

    def test_size(self) -> None:
        """A client says what it likes of its terminal."""
        for said, believed in ((0, 0), (-1, 0), (65_535, 65_535), (1 << 32, 65_535), (1e300, 65_535)):
            recording = recording_of(start(cols=said, rows=said))
            self.assertEqual((recording.cols, recording.rows), (believed, believed))

    def test_not_printable(self) -> None:
        """Nothing that a terminal could obey gets into lists."""
        for wrong in (start(user="al\x1b[2Jice"), start(term="x\x07")):
            refusal: BadParameter = self.assertRaises(BadParameter, recording_of, wrong)
            self.assertEqual(refusal.sentence, "A recording holds characters that cannot be printed.")

    def test_end(self) -> None:
        recording = recording_of(start())
        done = ended(recording, end_of(end(1_500_000)), NOW + 1.5)
        self.assertEqual((done.ended_at, done.state, done.reason), (NOW + 1.5, RecordingState.COMPLETE, ""))
        lost = ended(recording, end_of(end(complete=False, reason="The node was restarted.")), 0)
        self.assertEqual((lost.state, lost.reason), (RecordingState.INCOMPLETE, "The node was restarted."))

    def test_no_reason(self) -> None:
        self.assertEqual(end_of(end(complete=False)), End(False, "The node does not say why."))
        self.assertEqual(len(end_of(end(complete=False, reason="x" * 1000)).reason), MAX_REASON_CHARS)

    def test_sample(self) -> None:
        """The first slice names none before it."""
        self.assertEqual(piece_of(encoded(start())).header.previous, NO_DIGEST)

    def test_small(self) -> None:
        """Of a slice no more is kept than its bytes, its start and its end, however many records it has."""
        piece = piece_of(encoded(start(), *(output(b"", at) for at in range(4_000)), end(), last=True))
        gc.collect()
        records = [each for each in gc.get_objects() if isinstance(each, Record) and not each.data]
        self.assertLess(len(records), 100)
        self.assertEqual((piece.first_us, piece.at_us), (0, 60_000_000))
        self.assertEqual((piece.start, piece.end), (start(), end()))
