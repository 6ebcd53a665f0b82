"""How a recording is played: what a terminal is sent, and after which wait.

Waits, keys and the clock in the corner are Teleport's.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping

from teleport_conch.audit.recording import Kind, Record
from teleport_conch.audit.sequences import Sequences

MAX_SIDE = 1000
"""Columns or rows of a terminal; a recording may say any number."""

CLEAR = b"\x1b[2J\x1b[H"
RESET = b"".join(
    (
        b"\x18\x1b\\",  # ends whatever sequence or string has begun
        b"\x1b[?1049l\x1b[?47l",  # the usual screen
        b"\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l",  # no mouse
        b"\x1b[?1004l\x1b[?2031l\x1b[?2048l",  # nor focus, colours and sizes are reported
        b"\x1b[?2004l\x1b[?1l\x1b>\x1b[2l\x1b[20l\x1b[12h",  # keys and pasted text as they are, and once
        b"\x1b[?7h\x1b[?25h\x1b[4l\x1b[r\x1b[?6l",  # lines wrap, the cursor is seen, all lines scroll
        b"\x0f\x1b(B\x1b[0m",  # ASCII, in the usual colours
        b"\x1b[999;1H\r\n",
    )
)
"""Makes of a terminal what it was, as far as sequences do: a recording may end in the middle of anything."""

_WAITS = ((10_000, 0.0), (250_000, None), (500_000, 0.25), (1_000_000, 0.5))
_LONGEST_WAIT_S = 1.0
_SAVES = (b"\x1b7", b"\x1b[s")
_RESTORES = (b"\x1b8", b"\x1b[u")


def wait_s(before_us: int, at_us: int) -> float:
    """Seconds that are waited between two records: what took long is shortened, and nothing takes more than one."""
    passed_us = max(0, at_us - before_us)
    for below_us, seconds in _WAITS:
        if passed_us < below_us:
            return passed_us / 1_000_000 if seconds is None else seconds
    return _LONGEST_WAIT_S


def size_of(fields: Mapping[str, object]) -> tuple[int, int] | None:
    """Columns and rows of a record that has them; None where they are none of a terminal."""
    cols, rows = (_side(fields.get(key)) for key in ("cols", "rows"))
    return (cols, rows) if cols and rows else None


def _side(value: object) -> int:
    return value if type(value) is int and 0 < value <= MAX_SIDE else 0


def instant_of(value: object) -> float | None:
    """POSIX seconds of a record that has them; None where they are none, or too many to be counted."""
    try:
        found = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def resized(cols: int, rows: int) -> bytes:
    """What asks a terminal for another size."""
    return b"\x1b[8;%d;%dt" % (rows, cols)


def clock_text(at_us: int) -> str:
    """``04:05``, or ``1:04:05``."""
    minutes, seconds = divmod(at_us // 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


class Picture:
    """What of a recording a terminal has been sent.

    :ivar size: columns and rows, as the recording last had them.
    """

    def __init__(self) -> None:
        self.size = (80, 24)
        self._sequences = Sequences()
        self._letters = codecs.getincrementaldecoder("utf-8")("replace")
        self._cursor_is_saved = False

    def shown(self, record: Record) -> bytes:
        """The bytes to send for the next record."""
        if record.kind is Kind.OUTPUT:
            self._follow(record.data)
            return record.data
        size = size_of(record.fields()) if record.kind is not Kind.END else None
        if size is None:
            return b""
        self.size = size
        return resized(*size)

    def _follow(self, data: bytes) -> None:
        for piece in self._sequences.feed(data):
            if piece.data in _SAVES or piece.data in _RESTORES:
                self._cursor_is_saved = piece.data in _SAVES
            elif not piece.is_sequence:
                self._letters.decode(piece.data)

    @property
    def is_whole(self) -> bool:
        """Whether something may be drawn now: no sequence and no letter has begun, and no saved cursor is waiting."""
        return not (self._sequences.begun or self._letters.getstate()[0] or self._cursor_is_saved)

    def stamp(self, at_us: int, cols: int) -> bytes:
        """Draws the time in the corner at the top right, and leaves the cursor where it is.

        :param cols: of the terminal, which may be narrower than that of the session.
        """
        text = f" {clock_text(at_us)} ".encode()
        return b"\x1b7\x1b[1;%dH\x1b[0;7m%s\x1b8" % (max(1, min(self.size[0], cols) - len(text) + 1), text)
