"""Failed logins: counted for each name in the storage, so that a restart forgets none, and answered with a lockout.

Names that no user has are counted as well, or a lockout would tell who exists. Since there is no end of such names they
share a fixed number of counters, chosen by a keyed hash.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import (
    FAILED_LOGINS_BEFORE_LOCKOUT,
    FAILED_LOGINS_WINDOW_S,
    LOCKOUT_S,
    LOGINS_OF_A_NAME_WAITING,
    UNKNOWN_NAMES_COUNTED,
)
from teleport_conch.auth.state import storing
from teleport_conch.errors import LimitExceeded, LockedOut, NotFound
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import LoginLock
from teleport_conch.storage.backend import IBackend, Item

PREFIX = "attempts/"
_OF_USERS = PREFIX + "user/"
_OF_OTHERS = PREFIX + "name/"
KEY_OF_HASH = "attempts"
"""The secret by which unknown names are put to counters."""


@frozen
class Counter:
    """Where the failures under a name are counted."""

    key: str


@frozen
class _Failures:
    """:ivar at: of the failures that count, POSIX seconds. ``locked_until`` is 0 where nothing is locked."""

    at: tuple[float, ...] = ()
    locked_until: float = 0.0

    @property
    def count_until(self) -> float:
        """When all of it is history."""
        return max(self.locked_until, *(at + FAILED_LOGINS_WINDOW_S for at in self.at), 0.0)

    def after(self, now: float) -> _Failures:
        """The same with one more."""
        at = (*(each for each in self.at if now < each + FAILED_LOGINS_WINDOW_S), now)
        if len(at) < FAILED_LOGINS_BEFORE_LOCKOUT:
            return _Failures(at)
        return _Failures((), now + LOCKOUT_S)

    def to_json(self) -> dict[str, object]:
        return {"at": list(self.at), "locked_until": self.locked_until}

    @classmethod
    def of(cls, item: Item) -> _Failures:
        fields = Fields(storing.decode(item), "attempts")
        at = fields.raw().get("at")
        found = tuple(float(each) for each in at if isinstance(each, int | float)) if isinstance(at, list) else ()
        return cls(found, fields.number("locked_until", default=0.0))


@define(eq=False)
class Attempts:
    """All that failed lately.

    :ivar _secret: :data:`KEY_OF_HASH`.
    """

    _clocks: Clocks
    _backend: IBackend
    _secret: bytes
    _turns: dict[str, DeferredLock] = field(init=False, factory=dict)

    def counter(self, name: str, known: bool) -> Counter:
        """:param known: whether there is a user of the name."""
        if known:
            return Counter(_OF_USERS + name)
        digest = hmac.digest(self._secret, name.encode("utf-8", "backslashreplace"), hashlib.sha256)
        return Counter(f"{_OF_OTHERS}{int.from_bytes(digest[:4], 'big') % UNKNOWN_NAMES_COUNTED:05d}")

    @asynccontextmanager
    async def turn(self, counter: Counter) -> AsyncIterator[None]:
        """Logins under one name go one after the other, so that many at once are no more guesses than may be.

        :raises LimitExceeded: too many wait for that already.
        """
        lock = self._turns.setdefault(counter.key, DeferredLock())
        if len(lock.waiting) >= LOGINS_OF_A_NAME_WAITING:
            raise LimitExceeded("Too many logins under this name are in progress; try again in a few seconds.")
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked:
                self._turns.pop(counter.key, None)

    async def check(self, counter: Counter) -> bool:
        """Whether something failed lately. :raises LockedOut: too much."""
        found, now = await self._read(counter), self._clocks.wall()
        if now < found.locked_until:
            seconds = max(1, round(found.locked_until - now))
            raise LockedOut(
                f"Too many logins failed under this name; try again in {-(-seconds // 60)} minutes, or ask an"
                " administrator to lift it with 'tctl users unlock'.",
                seconds=seconds,
            )
        return bool(found.at)

    async def failed(self, counter: Counter) -> float:
        """Count one more; when this locks the name, until when, else 0."""
        found = (await self._read(counter)).after(self._clocks.wall())
        await self._backend.put(counter.key, storing.encode(found.to_json()), found.count_until)
        return found.locked_until

    async def forget(self, counter: Counter) -> None:
        """Nothing failed under the name."""
        with suppress(NotFound):
            await self._backend.delete(counter.key)

    async def locks(self) -> Mapping[str, LoginLock]:
        """Who is locked out, of the users."""
        now, found = self._clocks.wall(), dict[str, LoginLock]()
        for item in await storing.everything(self._backend, _OF_USERS):
            until = _Failures.of(item).locked_until
            if now < until:
                message = f"{FAILED_LOGINS_BEFORE_LOCKOUT} logins failed within {FAILED_LOGINS_WINDOW_S / 60:g} minutes"
                found[item.key.removeprefix(_OF_USERS)] = LoginLock(until, message)
        return found

    async def _read(self, counter: Counter) -> _Failures:
        try:
            return _Failures.of(await self._backend.get(counter.key))
        except NotFound:
            return _Failures()
