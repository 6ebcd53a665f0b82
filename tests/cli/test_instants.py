"""Instants and spans: what is printed, and what is understood."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.instants import moment, parse_moment, rfc822, span

NOW = 1_795_372_262.0  # 2026-11-22 18:31:02 UTC


class PrintingTests(SynchronousTestCase):
    def test_moments(self) -> None:
        """Instants are in UTC, and say so; what has no date does not fail."""
        self.assertEqual(moment(NOW), "2026-11-22 18:31:02 UTC")
        self.assertEqual(rfc822(NOW), "22 Nov 26 18:31 UTC")
        self.assertEqual(moment(-1.0), "1970-01-01 00:00:00 UTC")
        self.assertEqual(moment(1e300), "9999-12-31 23:59:59 UTC")

    def test_spans(self) -> None:
        """The two largest units; never a negative span, as clocks differ by moments."""
        for seconds, text in (
            (-3, "0s"),
            (0.4, "0s"),
            (4, "4s"),
            (1799, "29m59s"),
            (3600, "1h"),
            (3659, "1h"),
            (3700, "1h1m"),
            (86_400, "1d"),
            (3 * 86_400 + 7300, "3d2h"),
        ):
            self.assertEqual(span(seconds), text)


class ParsingTests(SynchronousTestCase):
    def test_understood(self) -> None:
        """Dates, instants with and without a zone, and how long ago."""
        for text, at in (
            ("2026-11-22", NOW - 18 * 3600 - 31 * 60 - 2),
            ("2026-11-22T18:31:02Z", NOW),
            ("2026-11-22T18:31:02", NOW),
            ("2026-11-22 19:31:02+01:00", NOW),
            ("2h", NOW - 7200),
            ("1h30m", NOW - 5400),
            ("7d", NOW - 7 * 86_400),
        ):
            self.assertEqual(parse_moment(text, NOW), at)

    def test_refused(self) -> None:
        """Anything else is refused with what can be written."""
        for text in ("", "yesterday", "2026-13-01", "5", "-2h"):
            with self.assertRaisesRegex(ValueError, "is not an instant: write it like 2026-11-22, "):
                parse_moment(text, NOW)
