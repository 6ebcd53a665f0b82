"""Reads an endless answer of JSON lines: bounded lines, and silence is an end."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from teleport_conch.client.exchange import BodyReader
from teleport_conch.errors import ConnectionProblem, TeleportError

#: Bytes of one line. The longest is the first of a watch, which holds the whole snapshot.
MAX_LINE_BYTES = 4 << 20
#: Seconds without a byte after which the stream is given up: three missed lines of heartbeat.
MAX_SILENCE_S = 30.0


class LineReader(BodyReader):
    """Hands each line to *on_line* as the JSON object that it holds.

    An error that *on_line* raises ends the stream, and is what :attr:`ended` fails with.
    """

    def __init__(self, clock: IReactorTime, on_line: Callable[[dict[str, object]], None]) -> None:
        super().__init__()
        self._clock = clock
        self._on_line = on_line
        self._buffer = bytearray()
        self._silence: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._listen()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._stop_listening()

    def fail(self, reason: Exception) -> None:
        self._stop_listening()
        super().fail(reason)

    def take(self, data: bytes) -> None:
        self._listen()
        searched = len(self._buffer)
        self._buffer += data
        try:
            self._take_lines(searched)
        except TeleportError as reason:
            self.fail(reason)

    def _take_lines(self, searched: int) -> None:
        start = 0
        while (end := self._buffer.find(b"\n", max(start, searched))) >= 0 and not self._over:
            self._take_line(bytes(self._buffer[start:end]))
            start = end + 1
        del self._buffer[:start]
        _check_length(len(self._buffer))

    def _take_line(self, line: bytes) -> None:
        _check_length(len(line))
        if not line.strip():
            return
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ConnectionProblem("The auth server sent a line that is not a JSON object in a watch.")
        self._on_line(value)

    def _listen(self) -> None:
        if self._silence is None:
            self._silence = self._clock.callLater(MAX_SILENCE_S, self._silent)
        else:
            self._silence.reset(MAX_SILENCE_S)

    def _stop_listening(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._silence = None

    def _silent(self) -> None:
        self._silence = None
        self.fail(ConnectionProblem(f"The auth server was silent for {MAX_SILENCE_S:g} s in a watch."))


def _check_length(length: int) -> None:
    if length > MAX_LINE_BYTES:
        raise ConnectionProblem(f"The auth server sent a line of more than {MAX_LINE_BYTES >> 20} MiB in a watch.")
