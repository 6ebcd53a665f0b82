"""Everybody who is connected to this host, looked at again when who may do what changes, by a change or with time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from teleport_conch.access.known import Known
from teleport_conch.errors import TeleportError
from teleport_conch.periodic import Rounds

LONGEST_WAIT_S = 24 * 3600.0
"""A clock may be set meanwhile."""


class Somebody(Protocol):
    """One connection of one person."""

    def look_again(self) -> None:
        """Whether the person may stay, by what is known now; if not, the connection is ended."""


class Company:
    """Who is here.

    :param known: what is known of people at the moment; raises ``TeleportError`` where that is nothing.
    """

    def __init__(self, clock: IReactorTime, known: Callable[[], Known]) -> None:
        self._clock = clock
        self._known = known
        self._here: dict[Somebody, None] = {}
        self._rounds = Rounds(clock, lambda: self._here, lambda somebody: somebody.look_again())
        self._next: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._here)

    def came(self, somebody: Somebody) -> None:
        """Another one is here."""
        self._here[somebody] = None
        if self._next is None:
            self._wait()

    def left(self, somebody: Somebody) -> None:
        """One is gone."""
        self._here.pop(somebody, None)
        if not self._here:
            self._stop_waiting()

    def changed(self) -> None:
        """Roles, users, locks or the configuration have changed."""
        self._rounds.begin()
        self._stop_waiting()
        if self._here:
            self._wait()

    def stop(self) -> None:
        """Look at nobody any more."""
        self._rounds.stop()
        self._stop_waiting()
        self._here.clear()

    def _wait(self) -> None:
        """Until a role or a user expires."""
        now = self._clock.seconds()
        try:
            wait_s = self._known().changes_after(now) - now
        except TeleportError:
            return  # it will be known again, and that is a change
        if wait_s < math.inf:
            self._next = self._clock.callLater(min(wait_s, LONGEST_WAIT_S), self._time_has_come)

    def _time_has_come(self) -> None:
        self._next = None
        self.changed()

    def _stop_waiting(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
