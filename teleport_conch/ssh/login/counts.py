"""How often one connection may try to log in, counted over everything that it asks for."""

from __future__ import annotations

from attrs import define

MAX_REQUESTS = 40
"""Of any kind, on one connection."""
MAX_OFFERS = 20
"""Keys without a signature, which are no failures: agents hold many."""
MAX_FAILURES = 6
TOO_MANY_FAILURES = b"too many authentication failures"
TOO_MANY_KEYS = b"too many keys were offered; name one with IdentityFile and IdentitiesOnly=yes"


class Exhausted(Exception):
    """The connection has asked for more than it may; ``why`` is what the client reads."""

    def __init__(self, why: bytes) -> None:
        super().__init__(why)
        self.why = why


@define
class Counts:
    """What one connection has asked for so far; each method raises :class:`Exhausted` where that is too much."""

    requests: int = 0
    offers: int = 0
    failures: int = 0

    def request(self) -> None:
        self.requests += 1
        if self.requests > MAX_REQUESTS:
            raise Exhausted(TOO_MANY_FAILURES)

    def offer(self) -> None:
        self.offers += 1
        if self.offers > MAX_OFFERS:
            raise Exhausted(TOO_MANY_KEYS)

    def failure(self) -> None:
        self.failures += 1
        if self.failures >= MAX_FAILURES:
            raise Exhausted(TOO_MANY_FAILURES)
