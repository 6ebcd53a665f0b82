"""Tests for :mod:`teleport_conch.durations`."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.durations import MAX_NANOSECONDS, format_duration, parse_duration, shown_duration

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class ParseTests(SynchronousTestCase):
    def test_go_syntax(self) -> None:
        """Units follow their numbers, largest first or not, and fractions are allowed."""
        cases = {
            "0": 0.0,
            "0s": 0.0,
            "1h30m": 5400.0,
            "300ms": 0.3,
            "1.5h": 5400.0,
            ".5s": 0.5,
            "1.s": 1.0,
            "2s1m": 62.0,
            "1us": 1e-6,
            "1\u00b5s": 1e-6,
            "1\u03bcs": 1e-6,
            "168h": 604800.0,
        }
        self.assertEqual({text: parse_duration(text) for text in cases}, cases)

    def test_no_unit(self) -> None:
        """A bare number is refused with the units that it may have meant."""
        error = self.assertRaises(ValueError, parse_duration, "30")
        self.assertEqual(str(error), "the duration '30' has no unit: write 30s, 30m or 30h")

    def test_not_a_duration(self) -> None:
        """What Go would not read is refused, with an example; signs are, too."""
        for text in ("", "h", "1x", "-5s", "+5s", "1 h", "1d", "1h 30m", "never", "1h30", "٣s"):
            error = self.assertRaises(ValueError, parse_duration, text)
            self.assertEqual(str(error), f"'{text}' is not a duration: write it like 300ms, 30s or 1h30m")

    def test_too_long(self) -> None:
        """What a Go program could not hold is refused, and so is a text that nobody wrote by hand."""
        error = self.assertRaises(ValueError, parse_duration, "9999999999h")
        self.assertEqual(str(error), "the duration '9999999999h' is longer than 292 years")
        self.assertRaises(ValueError, parse_duration, "1" * 100_000 + "s")

    @settings(deadline=None)
    @given(st.integers(0, MAX_NANOSECONDS // 10**9 * 1000))
    @example(790038896921)
    def test_round_trip(self, milliseconds: int) -> None:
        """What is formatted is read as the same duration, whole milliseconds without loss."""
        seconds = milliseconds / 1000
        self.assertEqual(parse_duration(format_duration(seconds)), seconds)

    @settings(deadline=None)
    @given(
        st.integers(0, 10_000), st.sampled_from(sorted(UNITS)), st.integers(0, 10_000), st.sampled_from(sorted(UNITS))
    )
    def test_parts_add_up(self, first: int, unit: str, second: int, other: str) -> None:
        """A duration is the sum of its parts, in any order."""
        total = parse_duration(f"{first}{unit}{second}{other}")
        self.assertAlmostEqual(total, first * UNITS[unit] + second * UNITS[other], places=6)
        self.assertEqual(total, parse_duration(f"{second}{other}{first}{unit}"))

    @settings(deadline=None)
    @given(st.text(max_size=20))
    def test_any_text(self, text: str) -> None:
        """Any text is a duration of zero or more, or a ValueError."""
        try:
            self.assertGreaterEqual(parse_duration(text), 0.0)
        except ValueError as error:
            self.assertIn("duration", str(error))


class FormatTests(SynchronousTestCase):
    def test_shortest(self) -> None:
        """Only the units that are needed are written."""
        cases = {0.0: "0s", 15.0: "15s", 5400.0: "1h30m", 0.3: "300ms", 604800.0: "168h", 61.5: "1m1s500ms"}
        self.assertEqual({seconds: format_duration(seconds) for seconds in cases}, cases)

    def test_shown(self) -> None:
        """What somebody asks for may be no duration."""
        cases = {360000.0: "100h", 59.5: "59s500ms", -5.0: "-5 seconds", 1e300: "1e+300 seconds"}
        self.assertEqual({seconds: shown_duration(seconds) for seconds in cases}, cases)
