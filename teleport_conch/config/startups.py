"""From how many connections on that are not logged in new ones are dropped, as OpenSSH's ``MaxStartups`` is written."""

from __future__ import annotations

import re

from attrs import frozen

MOST = 1_000_000

_FORM = re.compile(r"([0-9]{1,7}):([0-9]{1,3}):([0-9]{1,7})", re.ASCII)


@frozen
class Startups:
    """``start:rate:full``: from ``start`` on, ``rate`` percent are dropped, rising to all of them at ``full``."""

    start: int
    rate: int
    full: int

    def __str__(self) -> str:
        return f"{self.start}:{self.rate}:{self.full}"


def parse_startups(text: str) -> Startups:
    """:raises ValueError: with a sentence."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text[:32]}' is not of the form start:rate:full, such as 300:30:1000")
    start, rate, full = map(int, found.groups())
    if not (1 <= start <= full <= MOST and 1 <= rate <= 100):
        raise ValueError(
            f"'{text}' is not start:rate:full with a start from 1, a rate from 1 to 100 and a full from start to {MOST}"
        )
    return Startups(start, rate, full)
