"""Children of the starter that have let a person in and wait for the first session: one speaks with PAM for both.

A child that waits costs its memory. It is given up soon, and where many wait, the oldest is; the session is then
started by a child of its own, as every further session of a login is.
"""

from __future__ import annotations

from functools import partial

from teleport_conch.ssh.monitor.keeper import Keeper
from teleport_conch.ssh.monitor.loop import Loop

WAIT_S = 10.0
MAX_WAITING_KEEPERS = 32


class Admissions:
    """Those that wait, by the numbers of the questions that they have answered."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[Keeper, int]] = {}

    def add(self, number: int, keeper: Keeper) -> None:
        """``keeper`` waits from now on."""
        if len(self._waiting) >= MAX_WAITING_KEEPERS:
            self._give_up(next(iter(self._waiting)))
        self._waiting[number] = keeper, self._loop.after(WAIT_S, partial(self._give_up, number))

    def take(self, number: int) -> Keeper | None:
        """The one that answered this question, which waits no more; None where it has been given up, or has ended."""
        keeper, deadline = self._waiting.pop(number, (None, 0))
        self._loop.forget(deadline)
        return keeper if keeper is not None and keeper.open else None

    def close(self) -> None:
        """Gives all of them up."""
        for number in list(self._waiting):
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        keeper = self.take(number)
        if keeper is not None:
            keeper.dismiss()
