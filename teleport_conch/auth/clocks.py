"""The sources of time of the auth service, as one argument."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime


@frozen
class Clocks:
    """Three clocks that are easily confused.

    :ivar timers: calls later.
    :ivar wall: POSIX seconds, for what is written down: certificates, tokens, "last seen". It may jump.
    :ivar monotonic: seconds since anything, for waits and presence. It never jumps.
    """

    timers: IReactorTime
    wall: Callable[[], float]
    monotonic: Callable[[], float]
