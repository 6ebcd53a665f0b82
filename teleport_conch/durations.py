"""Durations as Go and Teleport write them: ``1h30m``, ``300ms``, ``0``."""

from __future__ import annotations

import re
from decimal import Decimal

#: Nanoseconds in each unit. Both micro signs (U+00B5 and U+03BC) are in use.
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")

#: Go keeps a duration in a signed 64-bit number of nanoseconds, a little over 292 years.
MAX_NANOSECONDS = (1 << 63) - 1
#: No duration that a person writes is longer than this, in characters.
MAX_LENGTH = 64


def parse_duration(text: str) -> float:
    """Seconds in a duration of Go's syntax; fractions of a nanosecond are dropped.

    :raises ValueError: with a sentence: no unit, no number, a sign, or longer than Go can hold.
    """
    if text == "0":
        return 0.0
    if len(text) <= MAX_LENGTH and _NUMBER.fullmatch(text):
        raise ValueError(f"the duration '{text}' has no unit: write {text}s, {text}m or {text}h")
    nanoseconds = _nanoseconds(text)
    if nanoseconds is None:
        raise ValueError(f"'{text[:MAX_LENGTH]}' is not a duration: write it like 300ms, 30s or 1h30m")
    if nanoseconds > MAX_NANOSECONDS:
        raise ValueError(f"the duration '{text}' is longer than 292 years")
    return nanoseconds / _UNITS["s"]  # of two integers, so that it is rounded once


def _nanoseconds(text: str) -> int | None:
    if not text or len(text) > MAX_LENGTH:
        return None
    total, position = 0, 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return None
        total += int(Decimal(part[1]) * _UNITS[part[2]])
        position = part.end()
    return total


def format_duration(seconds: float) -> str:
    """The shortest text that :func:`parse_duration` reads as ``seconds``: ``1h30m``, ``15s``, ``300ms``, ``0s``."""
    rest = round(Decimal(repr(seconds)) * _UNITS["s"])  # as it is written: a float times 1e9 has other digits
    text = ""
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def shown_duration(seconds: float) -> str:
    """The same for what somebody else asked for, which may be no duration at all: ``100h``, ``-5 seconds``."""
    if 0 <= seconds <= MAX_NANOSECONDS / _UNITS["s"]:
        return format_duration(seconds)
    return f"{seconds:g} seconds"
