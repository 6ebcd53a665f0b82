"""How often, and how much at once: what anybody may ask for without being known."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define, field

from teleport_conch.errors import LimitExceeded
from teleport_conch.https.limits import ADDRESSES_REMEMBERED, EVENTS_PER_MINUTE, EVENTS_PER_MINUTE_IN_ALL

WINDOW_S = 60.0
"""Over which failures and calls are counted."""


@define(eq=False)
class InProgress:
    """Lets a bounded number of things happen at one time.

    :ivar what: what they are, for the refusal.
    """

    limit: int
    what: str
    running: int = field(init=False, default=0)

    @contextmanager
    def one(self) -> Iterator[None]:
        """:raises LimitExceeded: as many are in progress as may be."""
        if self.running >= self.limit:
            raise LimitExceeded(f"{self.limit} {self.what} are in progress; try again in a few seconds.")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


@define(eq=False)
class InProgressOfEach:
    """The same for each of many callers, of whom nothing is remembered when they have none in progress."""

    limit: int
    what: str
    _of: dict[str, InProgress] = field(init=False, factory=dict)

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """:raises LimitExceeded: as many of the caller's are in progress as may be."""
        place = self._of.setdefault(caller, InProgress(self.limit, self.what))
        try:
            with place.one():
                yield
        finally:
            if not place.running:
                self._of.pop(caller, None)


@define(eq=False)
class Failures:
    """Counts failures for each address, and refuses addresses with too many in a minute.

    An IPv6 host usually has a whole /64 to itself, so that is what is counted there.

    :ivar what: they are, for the refusal.
    """

    _monotonic: Callable[[], float]
    per_minute: int
    what: str = "failed attempts"
    _counts: OrderedDict[str, tuple[float, int]] = field(init=False, factory=OrderedDict)

    def check(self, address: str) -> None:
        """:raises LimitExceeded: the address failed too often in the last minute."""
        since, count = self._count(_network(address))
        if count >= self.per_minute:
            wait = max(1, round(since + WINDOW_S - self._monotonic()))
            raise LimitExceeded(f"Too many {self.what} from {address}; try again in {wait} seconds.", seconds=wait)

    def add(self, address: str) -> None:
        """One more failure."""
        network = _network(address)
        since, count = self._count(network)
        self._counts[network] = (since, count + 1)
        self._counts.move_to_end(network)
        if len(self._counts) > ADDRESSES_REMEMBERED:
            self._counts.popitem(last=False)

    def _count(self, network: str) -> tuple[float, int]:
        now = self._monotonic()
        since, count = self._counts.get(network, (now, 0))
        return (since, count) if now < since + WINDOW_S else (now, 0)


@define(eq=False)
class Reports:
    """Decides whether a refusal becomes an event, so that nobody can fill the log with refusals."""

    _by_address: Failures
    _in_all: Failures

    @classmethod
    def of(cls, monotonic: Callable[[], float]) -> Reports:
        return cls(Failures(monotonic, EVENTS_PER_MINUTE), Failures(monotonic, EVENTS_PER_MINUTE_IN_ALL))

    def allow(self, address: str) -> bool:
        """Whether one more may be reported, which is then counted."""
        try:
            self._by_address.check(address)
            self._in_all.check("")
        except LimitExceeded:
            return False
        self._by_address.add(address)
        self._in_all.add("")
        return True


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip), 64), strict=False))
    return str(ip)
