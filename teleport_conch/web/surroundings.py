"""What the web room is told of the proxy and the cluster that it is the door of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.people import People
from teleport_conch.rank import ALONE, Rank


class Emit(Protocol):
    """Hands an event to the log."""

    def __call__(self, name: str, /, *, success: bool = True, **fields: object) -> bool:
        """See :meth:`teleport_conch.audit.trail.Trail.emit`."""


@frozen
class Addresses:
    """Where the proxy is reached, as ``host:port``: what it listens on, and what people are told.

    The public ones are empty where none is set.
    """

    ssh_listen: str
    web_listen: str
    public: str
    ssh_public: str
    tunnel_public: str


@frozen
class Surroundings:
    """:ivar clock: POSIX seconds, and timers.
    :ivar entropy: answers so many random bytes.
    :ivar people: calls about people, in the proxy's name.
    :ivar second_factor: ``otp`` or ``off``.
    :ivar rank: which of the proxy's processes this is.
    """

    clock: IReactorTime
    entropy: Callable[[int], bytes]
    people: Callable[[], People]
    authorities: Callable[[], Sequence[PublicAuthority]]
    cluster_name: Callable[[], str]
    addresses: Callable[[], Addresses]
    second_factor: Callable[[], str]
    emit: Emit
    version: str
    rank: Rank = ALONE
