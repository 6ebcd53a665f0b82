"""Instants and spans of time, as people read and write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from teleport_conch.durations import format_duration, parse_duration

_DAYS = re.compile(r"([0-9]{1,6})d")
#: The last second of the year 9999: nothing later has a date here.
_LAST = 253_402_300_799.0


def moment(at: float) -> str:
    """``2026-11-22 18:31:02 UTC``, for POSIX seconds."""
    return f"{_date(at):%Y-%m-%d %H:%M:%S} UTC"


def rfc3339(at: float) -> str:
    """``2026-11-22T18:31:02Z``, or ``2026-11-22T18:31:02.500000Z``, as programs have it."""
    return _date(at).isoformat().replace("+00:00", "Z")


def rfc822(at: float) -> str:
    """``22 Nov 26 18:31 UTC``, the form in which Teleport's table of tokens has it."""
    return f"{_date(at):%d %b %y %H:%M} UTC"


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(min(max(at, 0.0), _LAST), UTC)


def span(seconds: float) -> str:
    """A span in its two largest units, such as ``3d2h``, ``29m59s`` or ``4s``."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86_400)
    if days:
        return f"{days}d{rest // 3600}h" if rest >= 3600 else f"{days}d"
    return format_duration(whole if whole < 3600 else whole // 60 * 60)


def parse_moment(text: str, now: float) -> float:
    """POSIX seconds of a date (``2026-11-22``), of an instant (``2026-11-22T18:31:02Z``), or of so long ago (``2h``).

    An instant without a zone is in UTC.

    :raises ValueError: with a sentence.
    """
    days = _DAYS.fullmatch(text)
    if days:
        return now - 86_400.0 * int(days[1])
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"'{text[:64]}' is not an instant: write it like 2026-11-22, 2026-11-22T18:31:02Z, or 2h for two hours ago"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
