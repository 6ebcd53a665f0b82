"""Asks a client that has fallen silent whether it is still there, and gives it up after so many questions."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall


@frozen
class KeepAliveRhythm:
    """How often a silent client is asked, in seconds (0 for never), and after how many questions it is gone."""

    interval_s: float = 300.0
    count_max: int = 3


class KeepAlive:
    """The questions of one connection. Any message of the client's is an answer.

    :param ask: sends a question.
    :param give_up: ends the connection.
    """

    def __init__(
        self, clock: IReactorTime, rhythm: KeepAliveRhythm, ask: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        self._rhythm = rhythm
        self._ask = ask
        self._give_up = give_up
        self._unanswered = 0
        self._heard = False
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def start(self) -> None:
        if self._rhythm.interval_s > 0:
            self._loop.start(self._rhythm.interval_s, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def heard(self) -> None:
        """The client has said something."""
        self._heard = True

    def _tick(self) -> None:
        if self._heard:
            self._heard = False
            self._unanswered = 0
            return
        if self._unanswered >= self._rhythm.count_max:
            self.stop()
            self._give_up()
            return
        self._unanswered += 1
        self._ask()
