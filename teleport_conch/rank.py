"""Which of several processes of one service this is: the first one leads, the others follow it."""

from __future__ import annotations

import math

from attrs import frozen

CHANCE = 2
"""How many times the square root of a worker's share is added to it: connections are spread by chance."""


@frozen
class Rank:
    """One of ``of`` processes, counted from 0."""

    number: int = 0
    of: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one speaks for all of them: it beats, renews the identity, and tries the addresses of nodes."""
        return self.number == 0

    def name(self, service: str) -> str:
        """What belongs to this process alone is called so: ``node``, and ``node.w1`` for the next one."""
        return service if self.leads else f"{service}.w{self.number}"

    def share(self, bound: int) -> int:
        """This process's part of a bound on connections, and a little more for those that chance sends here."""
        part = bound / self.of
        return bound if self.of == 1 else min(bound, math.ceil(part + CHANCE * math.sqrt(part)))

    def part(self, bound: int) -> int:
        """This process's part of a bound that all of them together have to keep; at least 1."""
        return max(1, bound // self.of)


ALONE = Rank()
"""The rank of a service's only process."""
