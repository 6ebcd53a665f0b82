"""Streams that come in small pieces: what wakes us for each of them is left alone for a moment, so that more gathers.

A program that writes on and on would have us read each of its writes by itself, at the cost of two turns of the reactor
each, which may be most of what a stream costs. An answer that comes alone is never kept waiting.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

STREAM_READ_BYTES = 4 << 10
"""A read of a stream is as long, or longer."""
STREAM_READS = 3
"""After so many of them in a row that were no full ones, what comes is left to gather."""
REST_S = 0.001


class Gathering:
    """Watches the reads of one stream.

    :param full_bytes: a read as long says that there is more, which is read at once.
    :param rest: stops the reading.
    :param go_on: begins it again, :data:`REST_S` later.
    """

    __slots__ = ("_clock", "_due", "_full_bytes", "_go_on", "_rest", "_short_reads")

    def __init__(
        self, clock: IReactorTime, full_bytes: int, rest: Callable[[], None], go_on: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._full_bytes = full_bytes
        self._rest = rest
        self._go_on = go_on
        self._short_reads = 0
        self._due: IDelayedCall | None = None

    @property
    def resting(self) -> bool:
        """Whether nothing is to be read now."""
        return self._due is not None

    def came(self, count: int) -> None:
        """So many bytes were read at once, and have been used."""
        if count < STREAM_READ_BYTES:
            self._short_reads = 0
        elif count < self._full_bytes:
            self._short_reads += 1
            if self._short_reads >= STREAM_READS and self._due is None:
                self._rest()
                self._due = self._clock.callLater(REST_S, self._over)

    def stop(self) -> None:
        """There is nothing to be read any more."""
        due, self._due = self._due, None
        if due is not None:
            due.cancel()

    def _over(self) -> None:
        self._due = None
        self._go_on()
