"""How long to wait before the next try: longer each time, and for each host a little different."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

Jitter = Callable[[float], float]
"""Answers about as many seconds as it gets."""


def spread(uniform: Callable[[], float], share: float) -> Jitter:
    """A jitter of up to *share* in both directions: 0.1 makes 9 to 11 seconds of 10.

    :param uniform: answers numbers from 0 to 1.
    """
    return lambda seconds: seconds * (1.0 + share * (2.0 * uniform() - 1.0))


@define
class Backoff:
    """Waits that double from ``first_s`` to ``limit_s`` seconds, each with jitter."""

    first_s: float
    limit_s: float
    _jitter: Jitter
    _failures: int = field(init=False, default=0)

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        wait_s = min(self.first_s * 2.0 ** min(self._failures, 32), self.limit_s)
        self._failures += 1
        return self._jitter(wait_s)

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._failures = 0
