"""Whether somebody is who they say: password and second factor, one answer for all that can be wrong with them.

Whatever is wrong, the same is done: one hash, the codes of three periods, one failure counted, one event. Only the
event says which it was.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import FAILED_LOGINS_BEFORE_LOCKOUT, FAILED_LOGINS_PER_MINUTE
from teleport_conch.auth.people import second_factor
from teleport_conch.auth.people.attempts import Attempts, Counter
from teleport_conch.auth.people.credentials import Credentials, Vault
from teleport_conch.auth.people.passwords import Hashing, prepared
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.errors import AccessDenied, CompareFailed, LockedOut, LoginRefused, NotFound, StorageFull
from teleport_conch.https.throttle import Failures, Reports
from teleport_conch.resources.user import User

REFUSED = "invalid user name, password or second factor"
_NOBODYS_SECRET = "A" * 32


@frozen
class Given:
    """What somebody typed, and where.

    :ivar address: of the person's machine.
    :ivar method: what they want, for the event: ``local``, ``web``, ``password`` or ``renew``.
    """

    name: str
    password: str = field(repr=False)
    otp_token: str = field(repr=False)
    recovery_code: str = field(repr=False)
    address: str
    method: str


@frozen
class Proven:
    """Who somebody is.

    :ivar generation: of the credentials that they proved to have.
    """

    user: User
    generation: str


@frozen
class _Proof:
    """:ivar credentials: as they are from now on.
    :ivar factor: how the second factor was proved.
    """

    credentials: Credentials
    factor: str


class _Wrong(Exception):
    """The argument is what the event says."""


@define(eq=False)
class Proving:
    """Proves people.

    :ivar _required: which second factor everybody needs: ``otp`` or ``off``.
    """

    _clocks: Clocks
    _users: Users
    _vault: Vault
    _hashing: Hashing
    _attempts: Attempts
    _required: Callable[[], str]
    _locks: LockList
    _emit: Emit
    _by_address: Failures = field(init=False)
    _reports: Reports = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_address = Failures(self._clocks.monotonic, FAILED_LOGINS_PER_MINUTE)
        self._reports = Reports.of(self._clocks.monotonic)

    @property
    def second_factor(self) -> str:
        """``otp`` or ``off``."""
        return self._required()

    async def prove(self, given: Given) -> Proven:
        """The user that somebody proved to be. Codes that were used count no more when this answers.

        :raises LoginRefused: something is wrong.
        :raises AccessDenied: nothing is, and an administrator has locked the user.
        :raises LockedOut: too much was wrong under this name.
        :raises LimitExceeded: too much comes from this address, or at one time.
        :raises StorageFull: there is no room for the event, so that nobody is let in.
        """
        self._by_address.check(given.address)
        user = self._users.usable(given.name)
        counter = self._attempts.counter(given.name, user is not None)
        async with self._attempts.turn(counter):
            failed_before = await self._not_locked(counter, given)
            try:
                proof = await self._proof(user, given)
                assert user is not None
                await self._keep(user, given, proof)
            except _Wrong as reason:
                await self._failed(given, counter, str(reason))
                raise LoginRefused(REFUSED) from None
            if failed_before:
                await self._attempts.forget(counter)
            self._check_not_locked(user, given)
        self._tell_success(given, proof.factor)
        return Proven(user, proof.credentials.generation)

    async def _not_locked(self, counter: Counter, given: Given) -> bool:
        """Whether something failed under the name, though not too much."""
        try:
            return await self._attempts.check(counter)
        except LockedOut:
            self._by_address.add(given.address)
            if self._reports.allow(given.address):
                self._tell_failure(given, "locked out, as too many logins failed")
            raise

    async def _proof(self, user: User | None, given: Given) -> _Proof:
        credentials = await self._vault.find(user.name if user else "")
        right = await self._hashing.verify(given.password, credentials.password)
        proof = self._second(credentials, given)
        if user is None:
            raise _Wrong("there is no such user, or no longer")
        if not right:
            raise _Wrong("the password is wrong" if credentials.password else "the user has not set a password")
        if proof is None and not credentials.otp_secret:
            raise _Wrong("the user has no second factor; 'tctl users reset' gives a link to set one up")
        if proof is None:
            raise _Wrong("the code of the second factor is wrong, or was used before")
        return proof

    def _second(self, credentials: Credentials, given: Given) -> _Proof | None:
        """The second factor, None where it was not proved."""
        secret, now = credentials.otp_secret or _NOBODYS_SECRET, self._clocks.wall()
        period = second_factor.period_of(secret, given.otp_token, now, credentials.last_period)
        left = second_factor.spent(credentials.recovery, given.recovery_code)
        if self._required() == second_factor.OFF:
            return _Proof(credentials, second_factor.OFF)
        if given.recovery_code:
            return None if left is None else _Proof(evolve(credentials, recovery=left), "recovery code")
        if period is None or not credentials.otp_secret:
            return None
        return _Proof(evolve(credentials, last_period=period), "otp")

    async def _keep(self, user: User, given: Given, proof: _Proof) -> None:
        """What was used is used from now on; of two logins with one code, one comes here first."""
        credentials = proof.credentials
        if credentials.password is not None and not credentials.password.is_current:
            data = prepared(given.password)
            credentials = evolve(credentials, password=await self._hashing.make(data or b""))
        elif proof.factor == second_factor.OFF:
            if (await self._vault.find(user.name)).revision != credentials.revision:
                raise _Wrong("the user was reset at the same time")
            return
        try:
            await self._vault.swap(user.name, credentials)
        except (CompareFailed, NotFound):
            raise _Wrong("the code was used by another login at the same time, or the user was reset") from None

    def _check_not_locked(self, user: User, given: Given) -> None:
        locked = self._locks.on_person(user.name, user.roles, self._clocks.wall())
        if locked:
            self._tell_failure(given, locked)
            raise AccessDenied(f"The user {user.name!r} is {locked}.")

    async def _failed(self, given: Given, counter: Counter, reason: str) -> None:
        self._by_address.add(given.address)
        locked_until = await self._attempts.failed(counter)
        self._tell_failure(given, reason)
        if locked_until:
            about = {"name": given.name, "count": FAILED_LOGINS_BEFORE_LOCKOUT, "expires": locked_until}
            self._emit("user.lockout", {**about, "addr.remote": given.address})

    def _tell_failure(self, given: Given, reason: str) -> None:
        about = {"user": given.name, "method": given.method, "addr.remote": given.address}
        self._emit("user.login", {**about, "error": reason}, success=False)

    def _tell_success(self, given: Given, factor: str) -> None:
        about = {"user": given.name, "method": given.method, "addr.remote": given.address}
        if not self._emit("user.login", {**about, "attributes": {"second_factor": factor}}):
            raise StorageFull(
                "Nobody is let in, as the event that says so cannot be kept. The disk of the auth server is full, or"
                " its spool of events: make room there."
            )
