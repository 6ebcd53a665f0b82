"""Plays a recording: at its speed, with a key for a pause, and some to go back and forth."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from teleport_conch.audit.playback import CLEAR, Picture, wait_s
from teleport_conch.audit.recording import Record
from teleport_conch.audit.sequences import Piece, Sequences
from teleport_conch.audit.tape import Tape

POLL_S = 1.0
"""Between two looks for more of a recording that is still being made."""
BREATH = 256
"""Records that are shown again before keys are looked at."""

Grows = Callable[[], Awaitable[bool]]


class Key(enum.Enum):
    """What a key does."""

    PAUSE = enum.auto()
    BACK = enum.auto()
    FORWARD = enum.auto()
    QUIT = enum.auto()


_LETTERS = {0x20: Key.PAUSE, 0x03: Key.QUIT, 0x04: Key.QUIT, ord("q"): Key.QUIT}
_ARROWS = {b"\x1b[A": Key.FORWARD, b"\x1b[B": Key.BACK, b"\x1b[C": Key.FORWARD, b"\x1b[D": Key.BACK}
_SHIFT = b"\x1bO"
"""Stands before the letter of an arrow where a program has asked for keys of its own."""


class Keys:
    """Finds keys in what comes from a terminal.

    That may be more than what is typed: a recording can ask the terminal things, which it answers.
    """

    def __init__(self) -> None:
        self._sequences = Sequences()
        self._is_shifted = False

    def feed(self, data: bytes) -> Iterator[Key]:
        for piece in self._sequences.feed(data):
            found, self._is_shifted = self._keys(piece), piece.data == _SHIFT
            yield from found

    def _keys(self, piece: Piece) -> list[Key]:
        if piece.is_sequence:
            return [_ARROWS[piece.data]] if piece.data in _ARROWS else []
        if self._is_shifted:
            return self._keys(Piece(b"\x1b[" + piece.data[:1], True)) + self._letters(piece.data[1:])
        return self._letters(piece.data)

    def _letters(self, data: bytes) -> list[Key]:
        return [_LETTERS[each] for each in data if each in _LETTERS]


class Player:
    """One playing of a recording.

    :param show: writes to the terminal.
    :param width: how many columns it has.
    :param speed: how many times as fast as the session was.
    :param grows: tells whether more of the recording may come, for who wants to wait for that.
    """

    def __init__(
        self,
        clock: IReactorTime,
        tape: Tape,
        show: Callable[[bytes], None],
        width: Callable[[], int],
        speed: float = 1.0,
        grows: Grows | None = None,
    ) -> None:
        self._clock, self._tape, self._show, self._width = clock, tape, show, width
        self._speed, self._grows = speed, grows
        self._picture = Picture()
        self._count = self._at_us = 0
        self._is_paused = self._quits = False
        self._backs = self._forwards = 0
        self._key: Deferred[None] | None = None
        self._playing: Deferred[None]

    def press(self, key: Key) -> None:
        """Somebody has pressed a key. Going back pauses as well: what was gone back to is there to be looked at."""
        if key is Key.QUIT:
            self._quits = True
            self._playing.cancel()
        elif key is Key.PAUSE:
            self._is_paused = not self._is_paused
        elif key is Key.BACK:
            self._is_paused, self._backs, self._forwards = True, self._backs + 1, 0
        else:
            self._forwards += 1
        self._wake()

    async def play(self) -> bool:
        """Plays, and answers whether it came to the end; somebody may have quit before.

        :raises BadParameter: the recording is broken; what was before that has been shown.
        """
        self._playing = Deferred.fromCoroutine(self._play())
        try:
            await self._playing
        except Exception:
            if not self._quits:
                raise
        return not self._quits

    async def _play(self) -> None:
        self._show(CLEAR)
        while (record := await self._next()) is not None:
            if await self._is_time(record):
                self._draw(record)
                self._stamp()
            else:
                await self._go_back()

    async def _next(self) -> Record | None:
        """The next record; one that is still to come is waited for where that is wanted."""
        grows = True
        while (record := await self._tape.next()) is None:
            if self._grows is None or not grows or self._tape.chain.over:
                return None
            grows = await self._grows()
            if self._backs:
                await self._go_back()
            else:
                await self._sleep(POLL_S)
        return record

    async def _is_time(self, record: Record) -> bool:
        """Waits until a record is to be shown; false where somebody wants to go back."""
        due = self._clock.seconds() + wait_s(self._at_us, record.at_us) / self._speed
        await self._sleep(0.0)  # or nobody would look at the keys while much comes at once
        while not self._backs:
            left = due - self._clock.seconds()
            if self._forwards or (not self._is_paused and left <= 0):
                self._forwards = max(0, self._forwards - 1)
                return True
            await self._sleep(None if self._is_paused else left)
        return False

    def _draw(self, record: Record) -> None:
        self._count, self._at_us = self._count + 1, record.at_us
        self._show(self._picture.shown(record))

    def _stamp(self) -> None:
        if self._picture.is_whole:
            self._show(self._picture.stamp(self._at_us, self._width()))

    async def _go_back(self) -> None:
        """Shows everything again up to some records before: a screen is what all of them have made of it."""
        wanted, self._backs = max(0, self._count - self._backs), 0
        self._tape.rewind()
        self._picture, self._count, self._at_us = Picture(), 0, 0
        self._show(CLEAR)
        while self._count < wanted and (record := await self._tape.next()) is not None:
            self._draw(record)
            if self._count % BREATH == 0:
                await self._sleep(0.0)
        self._stamp()

    async def _sleep(self, seconds: float | None) -> None:
        """Waits so long, or until a key is pressed; for None, until then."""
        key = self._key = Deferred()
        timer = None if seconds is None else self._clock.callLater(seconds, self._wake)
        try:
            await key
        finally:
            self._key = None
            if timer is not None and timer.active():
                timer.cancel()

    def _wake(self) -> None:
        if self._key is not None:
            waiting, self._key = self._key, None
            waiting.callback(None)
