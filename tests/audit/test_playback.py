"""What a terminal is sent, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.playback import MAX_SIDE, RESET, Picture, clock_text, wait_s
from teleport_conch.audit.recording import Kind, Record
from tests.audit.reels import END, START, output, resize

MS = 1000


class WaitTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Teleport's waits."""
        for passed_us, seconds in (
            (0, 0.0),
            (10 * MS - 1, 0.0),
            (10 * MS, 0.01),
            (249 * MS, 0.249),
            (250 * MS, 0.25),
            (499 * MS, 0.25),
            (500 * MS, 0.5),
            (999 * MS, 0.5),
            (1000 * MS, 1.0),
            (3_600_000 * MS, 1.0),
        ):
            self.assertEqual(wait_s(7, 7 + passed_us), seconds, passed_us)

    @given(st.integers(0, 1 << 64), st.integers(0, 1 << 64))
    def test_bounds(self, before_us: int, at_us: int) -> None:
        """No wait is longer than a second, or than it was, whatever times a recording has."""
        found = wait_s(before_us, at_us)
        self.assertTrue(0 <= found <= 1.0)
        self.assertLessEqual(found, max(0, at_us - before_us) / 1_000_000)

    def test_clock(self) -> None:
        for at_us, text in ((0, "00:00"), (65_900_000, "01:05"), (3_600_000_000, "1:00:00")):
            self.assertEqual(clock_text(at_us), text)


class PictureTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """Output is as it was; each size is a request; the end is nothing."""
        picture = Picture()
        self.assertEqual(picture.shown(START), b"\x1b[8;30;100t")
        self.assertEqual(picture.shown(output(1, b"\x1b[31mred")), b"\x1b[31mred")
        self.assertEqual(picture.shown(resize(2, 80, 24)), b"\x1b[8;24;80t")
        self.assertEqual(picture.shown(END), b"")
        self.assertEqual(picture.size, (80, 24))

    def test_no_size(self) -> None:
        """What is no size of a terminal is passed over: it was written by whoever has the node."""
        picture = Picture()
        for cols, rows in ((0, 24), (-1, 24), (80, MAX_SIDE + 1), ("80", 24), (True, 24), (80.5, 24), (None, 24)):
            self.assertEqual(picture.shown(resize(0, cols, rows)), b"")
        self.assertEqual(picture.shown(Record.of(Kind.RESIZE, 0, {})), b"")
        self.assertEqual(picture.size, (80, 24))

    def test_stamp(self) -> None:
        """In the last columns of the first row, between saving and restoring the cursor."""
        picture = Picture()
        picture.shown(resize(0, 40, 10))
        self.assertEqual(picture.stamp(61_000_000, 80), b"\x1b7\x1b[1;34H\x1b[0;7m 01:01 \x1b8")
        self.assertIn(b"\x1b[1;14H", picture.stamp(0, 20))
        picture.shown(resize(0, 3, 10))
        self.assertIn(b"\x1b[1;1H", picture.stamp(0, 80))

    def test_whole(self) -> None:
        """Nothing is drawn in the middle of a sequence or a letter, or while a cursor is saved."""
        for data, whole in (
            (b"ls\r\n", True),
            (b"\x1b[3", False),
            (b"\x1b[31m", True),
            (b"\x1b]0;tit", False),
            ("é".encode()[:1], False),
            ("é".encode(), True),
            (b"\x1b7", False),
            (b"\x1b7\x1b[H\x1b8", True),
            (b"\x1b[s", False),
            (b"\x1b[s\x1b[u", True),
        ):
            picture = Picture()
            picture.shown(output(0, data))
            self.assertIs(picture.is_whole, whole, data)


class ResetTests(SynchronousTestCase):
    def test_T84_nothing_types(self) -> None:
        """Whatever a recording had a terminal report, or do to keys, has an end with it."""
        reports = (9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2031, 2048)
        for mode in (*reports, 1, 2004):
            self.assertIn(b"\x1b[?%dl" % mode, RESET)
        for keys in (b"\x1b[2l", b"\x1b[20l", b"\x1b[12h"):
            self.assertIn(keys, RESET)
