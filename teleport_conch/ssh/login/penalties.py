"""Addresses from which connections keep coming to nothing, as of OpenSSH's ``PerSourcePenalties``. Time is an argument.

Each such connection adds some seconds to what its address owes; owed time passes. An address that owes enough is shut
out until it owes nothing, unless somebody is logged in from there, and a login that succeeds settles everything.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

FAILED_S = 2.0
"""For a connection that failed to log in."""
UNFINISHED_S = 1.0
"""For one that did not try to, but sent something."""
TOO_SLOW_S = 10.0
"""For one whose time to log in ran out."""
SHUT_OUT_FROM_S = 30.0
MOST_S = 300.0
MAX_SOURCES = 10_000
"""How many addresses are remembered; the one that was longest without an offence is forgotten first."""


@define
class Debt:
    """:ivar until: when nothing is owed any more, in seconds of the clock."""

    until: float
    shut_out: bool = False


@define
class Penalties:
    """What each address owes."""

    _debts: OrderedDict[str, Debt] = field(factory=OrderedDict)

    def add(self, source: str, seconds: float, now: float) -> None:
        """A connection of ``source`` came to nothing."""
        debt = self._debts.get(source)
        if debt is None or debt.until <= now:
            debt = Debt(now)
        debt.until = min(debt.until + seconds, now + MOST_S)
        debt.shut_out = debt.shut_out or debt.until - now >= SHUT_OUT_FROM_S
        self._debts[source] = debt
        self._debts.move_to_end(source)
        if len(self._debts) > MAX_SOURCES:
            self._debts.popitem(last=False)

    def left_s(self, source: str, now: float) -> float:
        """For how long ``source`` is shut out; 0 where it is not."""
        debt = self._debts.get(source)
        if debt is None or not debt.shut_out:
            return 0.0
        if debt.until <= now:
            del self._debts[source]
            return 0.0
        return debt.until - now

    def forgive(self, source: str) -> None:
        """Somebody logged in from there."""
        self._debts.pop(source, None)
