"""How many connections there are, in all and from one address."""

from __future__ import annotations

from collections import Counter

from attrs import define, field
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from teleport_conch.https.limits import SAY_AGAIN_S


@define(eq=False)
class Places:
    """A bounded number of places. When they are taken, the log says so, once a minute."""

    _clock: IReactorTime
    _total: int
    _per_address: int
    taken: int = field(init=False, default=0)
    by_address: Counter[str] = field(init=False, factory=Counter)
    _said_at: float = field(init=False, default=-SAY_AGAIN_S)
    _log = Logger()

    def has_room(self, address: str) -> bool:
        """Whether there is one left for this address."""
        if self.taken < self._total and self.by_address[address] < self._per_address:
            return True
        if self._clock.seconds() >= self._said_at + SAY_AGAIN_S:
            self._said_at = self._clock.seconds()
            self._log.warn("There are too many connections; one from {address} was refused.", address=address)
        return False

    def enter(self, address: str) -> None:
        """Take one; it is given back with :meth:`leave`."""
        self.taken += 1
        self.by_address[address] += 1

    def leave(self, address: str) -> None:
        """Give one back."""
        self.taken -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]


def host_of(address: IAddress | None) -> str:
    """The host of an address, an IPv4 one in its own form; empty where it has none."""
    host = str(getattr(address, "host", ""))
    return host.removeprefix("::ffff:") if "." in host else host
