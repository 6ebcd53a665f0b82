"""The leases of this node's connections, for people whose roles say how many they may have in the whole cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_conch.errors import AccessDenied, ConnectionProblem, LimitExceeded, NotFound, TeleportError

RENEWALS = 3
"""In the life of a lease; the first that fails leaves time for more."""
RETRY_S = 5.0


class LeaseClient(Protocol):
    """The part of auth's API that is about leases."""

    async def take_lease(self, kind: str, user: str, most: int, ttl_s: float) -> str:
        """The id of a new lease."""

    async def renew_lease(self, lease_id: str, ttl_s: float) -> None:
        """It goes on."""

    async def give_back_lease(self, lease_id: str) -> None:
        """It is over."""


@define(eq=False)
class HeldLease:
    """One that is held, and renewed until :meth:`end`.

    :ivar lost: called once with the reason when it is not held any more though it should be.
    """

    _clock: IReactorTime
    _monotonic: Callable[[], float]
    _client: LeaseClient
    _id: str
    _ttl_s: float
    _until: float
    lost: Callable[[str], None] | None = None
    _timer: IDelayedCall | None = field(init=False, default=None)
    _call: Deferred[None] | None = field(init=False, default=None)
    _over: bool = field(init=False, default=False)
    _log = Logger()

    def keep(self, lost: Callable[[str], None]) -> None:
        """Renew it from now on."""
        self.lost = lost
        self._after(self._ttl_s / RENEWALS)

    def end(self) -> None:
        """Give it back; auth, where it does not hear of that, lets it end by itself."""
        if self._over:
            return
        self._stop()
        giving = Deferred.fromCoroutine(self._client.give_back_lease(self._id))
        giving.addErrback(self._not_given)

    def _not_given(self, failure: object) -> None:
        self._log.debug("a lease was not given back: {why}", why=failure)

    def _stop(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._call is not None:
            self._call.cancel()

    def _after(self, wait_s: float) -> None:
        self._timer = self._clock.callLater(wait_s, self._renew)

    def _renew(self) -> None:
        self._timer = None
        self._call = call = Deferred.fromCoroutine(self._renewed())
        call.addErrback(lambda failure: failure.trap(CancelledError))

    async def _renewed(self) -> None:
        began = self._monotonic()
        wait_s = self._ttl_s / RENEWALS
        try:
            await self._client.renew_lease(self._id, self._ttl_s)
            self._until = began + self._ttl_s
        except (NotFound, AccessDenied):
            self._lose("auth does not know of it any more")
        except TeleportError as problem:
            if self._monotonic() >= self._until:
                self._lose(problem.sentence)
            wait_s = min(RETRY_S, max(self._until - self._monotonic(), 0.0))
        self._call = None
        if not self._over:
            self._after(wait_s)

    def _lose(self, why: str) -> None:
        self._over = True
        if self.lost is not None:
            self.lost(f"the lease of the connection could not be renewed: {why}")


@define(eq=False)
class ConnectionLeases:
    """Takes leases for connections.

    :param monotonic: seconds that nobody sets.
    :param client: of auth, as it is at the moment.
    :param ttl_s: for how long a lease holds that is not renewed, at the moment (``session_control_timeout``).
    """

    clock: IReactorTime
    monotonic: Callable[[], float]
    client: Callable[[], LeaseClient]
    ttl_s: Callable[[], float]

    async def take(self, user: str, most: int) -> HeldLease:
        """A lease for one more connection of the user.

        :raises LimitExceeded: there are as many as there may be.
        :raises ConnectionProblem: auth, which counts, is away: nobody is let in uncounted.
        """
        client, ttl_s, began = self.client(), self.ttl_s(), self.monotonic()
        try:
            lease_id = await client.take_lease("connection", user, most, ttl_s)
        except LimitExceeded as reason:
            raise LimitExceeded(
                f"too many concurrent ssh connections for user {user}: max_connections is {most}"
            ) from (reason)
        except ConnectionProblem as reason:
            raise ConnectionProblem(
                f"The roles of {user} limit the connections, and auth, which counts them, is away: {reason.sentence}"
            ) from reason
        return HeldLease(self.clock, self.monotonic, client, lease_id, ttl_s, began + ttl_s)
