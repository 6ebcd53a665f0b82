"""Leases: how many of something one person may have at a time, counted over the whole cluster.

A host takes a lease before it lets a person in, renews it as long as the person stays, and gives it back. A lease that
is not renewed ends by itself; so what a host held that is gone is free again soon.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import MAX_LEASE_S, MAX_LEASES, MIN_LEASE_S
from teleport_conch.auth.state import storing
from teleport_conch.durations import format_duration
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, NotFound
from teleport_conch.resources.fields import Fields
from teleport_conch.storage.backend import IBackend

PREFIX = "leases/"
KINDS = ("connection",)
ID_BYTES = 16


@frozen
class Lease:
    """:ivar expires_at: POSIX seconds."""

    id: str
    expires_at: float

    def to_json(self) -> dict[str, object]:
        return {"lease": self.id, "expires": self.expires_at}


@define(eq=False)
class Leases:
    """All leases; they are in the storage, and survive a restart of auth.

    :ivar _random: so many random bytes.
    """

    _clocks: Clocks
    _backend: IBackend
    _random: Callable[[int], bytes]
    _taking: DeferredLock = field(init=False, factory=DeferredLock)  # counting and writing belong together

    async def take(self, kind: str, user: str, most: int, ttl_s: float, holder: str) -> Lease:
        """A new lease.

        :param most: how many the user may have, this one included.
        :param holder: the UUID of the host that takes it.
        :raises LimitExceeded: the user has as many.
        """
        if kind not in KINDS or not 0 < most <= MAX_LEASES:
            raise BadParameter(f"A lease is of the kind {KINDS[0]}, of which somebody may have 1 to {MAX_LEASES}.")
        prefix = f"{PREFIX}{kind}/{_encoded(user)}/"
        await self._taking.acquire()
        try:
            if len(await self._backend.range(prefix, limit=most)) >= most:
                raise LimitExceeded(f"The user {user[:64]!a} has {most} of the kind {kind}, and may have no more.")
            key = prefix + binascii.hexlify(self._random(ID_BYTES)).decode("ascii")
            return await self._write(key, ttl_s, holder)
        finally:
            self._taking.release()

    async def renew(self, lease_id: str, ttl_s: float, holder: str) -> Lease:
        """:raises NotFound: it has ended. :raises AccessDenied: it is another host's."""
        key = _key(lease_id)
        await self._check(key, holder)
        return await self._write(key, ttl_s, holder)

    async def give_back(self, lease_id: str, holder: str) -> None:
        """It raises what :meth:`renew` raises, but for a lease that has ended."""
        key = _key(lease_id)
        with suppress(NotFound):
            await self._check(key, holder)
            await self._backend.delete(key)

    async def _check(self, key: str, holder: str) -> None:
        try:
            item = await self._backend.get(key)
        except NotFound:
            raise NotFound("There is no such lease, or it has ended.") from None
        if Fields(storing.decode(item), "lease").text("holder", "") != holder:
            raise AccessDenied("A lease is renewed, and given back, by the host that took it.")

    async def _write(self, key: str, ttl_s: float, holder: str) -> Lease:
        if not MIN_LEASE_S <= ttl_s <= MAX_LEASE_S:
            raise BadParameter(f"A lease lasts for {format_duration(MIN_LEASE_S)} to {format_duration(MAX_LEASE_S)}.")
        expires_at = self._clocks.wall() + ttl_s
        await self._backend.put(key, storing.encode({"holder": holder}), expires_at)
        return Lease(key.removeprefix(PREFIX).replace("/", "."), expires_at)


def _encoded(user: str) -> str:
    """A name as one segment of a path, which every name can be made."""
    return urlsafe_b64encode(user.encode()).decode("ascii").rstrip("=") or "-"


def _key(lease_id: str) -> str:
    kind, *rest = lease_id.split(".")
    if kind not in KINDS or len(rest) != 2 or not all(part and part.isascii() and _is_plain(part) for part in rest):
        raise NotFound("There is no such lease, or it has ended.")
    return f"{PREFIX}{kind}/{'/'.join(rest)}"


def _is_plain(part: str) -> bool:
    return len(part) <= 512 and part.replace("-", "").replace("_", "").isalnum()
