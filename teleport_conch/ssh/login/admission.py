"""Who may begin a connection: bounds on logins that have not happened yet, for each client address and for all of them.

Whoever is logged in does not count, so that any number of people can work behind one address. An address is an IPv4
address or an IPv6 network of 64 bits, which is what one customer of a provider has. A connection that a proxy of ours
makes is its client's: it moves to the client's address once the proxy has vouched for that; proxies are not limited.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_conch.ssh.login.penalties import FAILED_S, TOO_SLOW_S, UNFINISHED_S, Penalties

IPV6_PREFIX = 64
MAX_GOODBYES = 64
"""How many refused clients at a time may read why; more are cut off without a word."""
MAX_PROXIES = 256
"""How many addresses of proxies are remembered."""
LOG_S = 60.0
"""How often one limit is logged at most."""


@frozen
class Startups:
    """Random early drop, as of OpenSSH's ``MaxStartups``: ``start:rate:full``.

    From ``start`` connections on that are not logged in, ``rate`` percent of new ones are dropped, rising to all of
    them at ``full``.
    """

    start: int = 300
    rate: int = 30
    full: int = 1000

    def chance(self, starting: int) -> float:
        """The share of new connections that is dropped while so many others are ``starting``."""
        if starting < self.start:
            return 0.0
        if starting >= self.full:
            return 1.0
        return (self.rate + (100 - self.rate) * (starting - self.start) / (self.full - self.start)) / 100


@frozen
class Bounds:
    """What is allowed. ``prefix`` stands before the names when they are shown, so that a person finds the setting.

    :ivar max_connections: from one address at one time, logged in or not.
    :ivar max_startups: of all addresses.
    :ivar per_source_max_startups: from one address at one time, not logged in.
    :ivar per_source_penalties: whether addresses from which logins keep failing are refused for a while.
    """

    max_connections: int = 15_000
    max_startups: Startups = Startups()
    per_source_max_startups: int = 200
    per_source_penalties: bool = True
    prefix: str = ""


USUAL_BOUNDS = Bounds()


@frozen
class Refusal:
    """A connection may not stay. ``silent``: it is not even told why, as too many are being told already."""

    sentence: str
    silent: bool


def source_of(host: str) -> str:
    """The address that counts for a client at ``host``."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


def _on_this_host(source: str) -> bool:
    return source.startswith("127.") or source == "::/64"


class Admission:
    """Counts the connections of one listener.

    :param random: numbers from 0 to 1.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, random: Callable[[], float], bounds: Bounds) -> None:
        self.clock = clock
        self.bounds = bounds
        self.penalties = Penalties()
        self.starting: Counter[str] = Counter()
        self.logged_in: Counter[str] = Counter()
        self.goodbyes = 0
        self._random = random
        self._proxies: OrderedDict[str, None] = OrderedDict()
        self._said: dict[str, tuple[float, int]] = {}

    def visit(self, host: str) -> Visit:
        """A connection from ``host``, which is about to begin."""
        return Visit(self, source_of(host))

    def is_proxy(self, source: str) -> bool:
        """Whether a proxy of ours was seen at this address."""
        return source in self._proxies

    def remember_proxy(self, source: str) -> None:
        """A proxy has just vouched from this address."""
        self._proxies[source] = None
        self._proxies.move_to_end(source)
        if len(self._proxies) > MAX_PROXIES:
            self._proxies.popitem(last=False)

    def why_not(self, source: str) -> str:
        """Why no further connection of ``source`` may begin, or nothing; the sentence names the setting."""
        setting, why = self._limit(source)
        if not setting:
            return ""
        sentence = f"{why} ({self.bounds.prefix}{setting})."
        self._say(setting, sentence)
        return sentence

    def _limit(self, source: str) -> tuple[str, str]:
        bounds, starting, logged_in = self.bounds, self.starting[source], self.logged_in[source]
        wait_s = 0.0 if logged_in else self.penalties.left_s(source, self.clock.seconds())
        if bounds.per_source_penalties and wait_s:
            return "per_source_penalties", f"Logins from {source} keep failing; try again in {wait_s:.0f} s"
        if starting + logged_in >= bounds.max_connections:
            return "max_connections", f"{source} has {starting + logged_in} connections, which is the limit"
        if starting >= bounds.per_source_max_startups:
            why = f"{source} has {starting} connections that are not logged in, which is the limit"
            return "per_source_max_startups", why
        chance = bounds.max_startups.chance(self.starting.total())
        if chance and self._random() < chance:
            return "max_startups", "Too many connections are about to log in; try again"
        return "", ""

    def _say(self, setting: str, sentence: str) -> None:
        """In the log, but no more than once a minute for each setting."""
        now = self.clock.seconds()
        last, unsaid = self._said.get(setting, (now - LOG_S, 0))
        if now - last < LOG_S:
            self._said[setting] = last, unsaid + 1
            return
        self._said[setting] = now, 0
        self._log.warn("{why} {unsaid} more were refused before.", why=sentence, unsaid=unsaid)

    def punish(self, source: str, seconds: float) -> None:
        """A connection of ``source`` came to nothing. What runs on this host is not punished: it is no stranger."""
        if seconds and not _on_this_host(source):
            self.penalties.add(source, seconds, self.clock.seconds())


@define(eq=False)
class Visit:
    """One connection, and what it does before it is logged in.

    :ivar heard: whether the client sent anything: a load balancer's probe does not.
    :ivar failed: whether it tried to log in, and failed.
    :ivar too_slow: whether its time to log in ran out.
    """

    _admission: Admission
    _source: str
    heard: bool = False
    failed: bool = False
    too_slow: bool = False
    _counted: Counter[str] | None = field(default=None, init=False)
    _goodbye: bool = field(default=False, init=False)

    def enter(self) -> Refusal | None:
        """It begins. Answers why it may not."""
        return None if self._admission.is_proxy(self._source) else self._count()

    def direct(self) -> Refusal | None:
        """It comes from nobody but whom TCP says, even if a proxy was seen there. Answers why it may not stay."""
        return None if self._counted is not None else self._count()

    def vouched_for(self, host: str) -> Refusal | None:
        """A proxy says that this is its client. Answers why it may not stay."""
        self._admission.remember_proxy(self._source)
        self._forget()
        self._source = source_of(host)
        return self._count()

    def log_in(self) -> None:
        """Its login succeeded, by which its address is forgiven what failed before."""
        self._forget()
        self._counted = self._admission.logged_in
        self._counted[self._source] += 1
        self._admission.penalties.forgive(self._source)

    def leave(self) -> None:
        """It is over."""
        if self._counted is self._admission.starting:
            self._admission.punish(self._source, self._offence_s())
        self._forget()
        self._admission.goodbyes -= self._goodbye
        self._goodbye = False

    def _offence_s(self) -> float:
        if self.too_slow:
            return TOO_SLOW_S
        if self.failed:
            return FAILED_S
        return UNFINISHED_S if self.heard else 0.0

    def _count(self) -> Refusal | None:
        if why := self._admission.why_not(self._source):
            if not self._goodbye and self._admission.goodbyes < MAX_GOODBYES:
                self._goodbye = True
                self._admission.goodbyes += 1
            return Refusal(why, silent=not self._goodbye)
        self._counted = self._admission.starting
        self._counted[self._source] += 1
        return None

    def _forget(self) -> None:
        counted, self._counted = self._counted, None
        if counted is not None:
            counted[self._source] -= 1
            if not counted[self._source]:
                del counted[self._source]
