"""What stands in certificates, which anybody may have made, as words for a line on a screen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from teleport_conch.durations import format_duration

MAX_SHOWN_CHARS = 512
MAX_LISTED = 64
_LAST_INSTANT = 253402300799


def instant(seconds: float) -> str:
    """POSIX seconds, however many."""
    moment = datetime.fromtimestamp(min(seconds, _LAST_INSTANT), UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    whole = int(seconds)
    days = whole // 86_400
    return f"{days} days" if days >= 2 else format_duration(float(whole))


def listed(texts: Iterable[str]) -> str:
    found = tuple(texts)
    more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return ", ".join(map(shown, found[:MAX_LISTED])) + more


def shown(text: str) -> str:
    """``text``, bounded, and without characters that a terminal obeys."""
    text = text[:MAX_SHOWN_CHARS]
    return text if text.isprintable() else ascii(text)[1:-1]
