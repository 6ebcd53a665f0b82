"""Links by which people set password and second factor: for a new user, after a reset, or because they want others.

A link is kept under ``invites/<digest>``, never its token. It is good once, and a new one ends the user's others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from attrs import define, evolve, field, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import (
    FAILED_INVITES_PER_MINUTE,
    INVITE_TTL_S,
    MAX_INVITE_TTL_S,
    MAX_INVITES,
    MAX_RESET_TTL_S,
    MIN_INVITE_TTL_S,
    OLD_INVITES_KEPT_S,
    RENEWAL_TTL_S,
    RESET_TTL_S,
)
from teleport_conch.auth.people import second_factor
from teleport_conch.auth.people.credentials import Credentials, Vault
from teleport_conch.auth.people.passwords import Hashing, check_new
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.state import storing
from teleport_conch.durations import format_duration, shown_duration
from teleport_conch.errors import (
    BadParameter,
    CompareFailed,
    InviteExpired,
    InviteRefused,
    InviteUnknown,
    InviteUsed,
    LimitExceeded,
    NotFound,
    OTPRefused,
    PasswordRefused,
)
from teleport_conch.https.throttle import Failures
from teleport_conch.resources.fields import Fields
from teleport_conch.storage.backend import IBackend, Item

PREFIX = "invites/"
TOKEN_BYTES = 16
TIMES: Mapping[str, tuple[float, float]] = {
    "invite": (INVITE_TTL_S, MAX_INVITE_TTL_S),
    "reset": (RESET_TTL_S, MAX_RESET_TTL_S),
    "renew": (RENEWAL_TTL_S, RENEWAL_TTL_S),
}
"""The usual life of each kind of link, and the longest."""


@frozen
class Invite:
    """A link as it is kept.

    :ivar otp_secret: of the last opening; empty before the first.
    :ivar generation: the only one of the user's credentials for which it is good; None where it is good for any.
    """

    digest: str
    user: str
    kind: str
    expires_at: float
    used: bool = False
    otp_secret: str = field(default="", repr=False)
    generation: str | None = None
    revision: int = 0

    def to_json(self) -> dict[str, object]:
        generation = {} if self.generation is None else {"generation": self.generation}
        return {
            **generation,
            "user": self.user,
            "kind": self.kind,
            "expires": self.expires_at,
            "used": self.used,
            "otp_secret": self.otp_secret,
        }

    @classmethod
    def of(cls, item: Item) -> Invite:
        fields = Fields(storing.decode(item), "invite")
        return cls(
            item.key.removeprefix(PREFIX),
            fields.text("user", max_chars=64),
            fields.text("kind", max_chars=16),
            fields.number("expires"),
            fields.boolean("used", default=False),
            fields.text("otp_secret", default="", max_chars=64),
            fields.text("generation", default="", max_chars=64) if "generation" in fields.raw() else None,
            item.revision,
        )


@frozen
class Opened:
    """What the page behind a link shows. ``otp_uri`` is empty where no second factor is asked for."""

    invite: Invite
    second_factor: str
    otp_uri: str = field(default="", repr=False)


def digest_of(token: str) -> str:
    """What is kept of a token: hexadecimal SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


@define(eq=False)
class Invites:
    """All links.

    :ivar _cluster: the cluster's name, for authenticators.
    :ivar _required: which second factor everybody needs: ``otp`` or ``off``.
    :ivar _random: so many random bytes.
    """

    _clocks: Clocks
    _backend: IBackend
    _users: Users
    _vault: Vault
    _hashing: Hashing
    _cluster: str
    _required: Callable[[], str]
    _emit: Emit
    _random: Callable[[int], bytes]
    _by_address: Failures = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_address = Failures(self._clocks.monotonic, FAILED_INVITES_PER_MINUTE)

    async def create(
        self, user: str, kind: str, ttl_s: float, by: str, generation: str | None = None
    ) -> tuple[str, Invite]:
        """A new link for a user: its token, which is not kept, and what is.

        :param ttl_s: 0 for the usual time. ``by`` is who asks.
        :param generation: of the credentials that the user proved to have; None where an administrator asks.
        :raises NotFound: there is no such user.
        :raises BadParameter: another kind, or a time out of bounds.
        """
        ttl_s = _life(kind, ttl_s)
        self._users.get(user)
        if len(await self.drop(user)) >= MAX_INVITES:
            raise LimitExceeded(f"There are {MAX_INVITES} links for users; wait until some have expired.")
        token = self._random(TOKEN_BYTES).hex()
        invite = Invite(digest_of(token), user, kind, self._clocks.wall() + ttl_s, generation=generation)
        await self._backend.create(PREFIX + invite.digest, *_stored(invite))
        about = {"name": user, "kind": kind, "ttl": round(ttl_s), "expires": invite.expires_at}
        self._emit("reset_password_token.create", {**about, "user": by})
        return token, invite

    async def drop(self, user: str) -> Sequence[Invite]:
        """Forget the links of a user; the answer is those of all others."""
        kept = list[Invite]()
        for item in await storing.everything(self._backend, PREFIX):
            invite = Invite.of(item)
            if invite.user != user:
                kept.append(invite)
            else:
                with suppress(NotFound):
                    await self._backend.delete(item.key)
        return kept

    async def open(self, token: str, address: str) -> Opened:
        """What to show to somebody with a link. The secret of the second factor is another one each time.

        :param address: of the person's machine.
        :raises InviteRefused: one of its subclasses, by what is wrong with the link.
        """
        invite = await self._good(token, "open", address)
        required = self._required()
        if required == second_factor.OFF:
            self._tell("open", invite, address)
            return Opened(invite, required)
        invite = evolve(invite, otp_secret=second_factor.new_secret(self._random))
        await self._swap(invite, "open", address)
        self._tell("open", invite, address)
        return Opened(invite, required, second_factor.uri(invite.otp_secret, invite.user, self._cluster))

    async def accept(self, token: str, password: str, otp_token: str, address: str) -> tuple[str, tuple[str, ...]]:
        """Set password and second factor; the answer is the user, and recovery codes which are not kept.

        :param otp_token: a code of the secret that the last opening answered.
        :raises InviteRefused: one of its subclasses, by what is wrong with the link.
        :raises PasswordRefused: the password is no good. :raises OTPRefused: the code is none of the secret's.
        """
        invite = await self._good(token, "accept", address)
        try:
            data = check_new(password, invite.user)
            period = self._period(invite, otp_token)
        except (PasswordRefused, OTPRefused) as reason:
            self._refuse("accept", invite, address, reason.sentence)
            raise
        kept = await self._hashing.make(data)
        await self._swap(evolve(invite, used=True, otp_secret=""), "accept", address)  # of two, one comes past here
        codes = () if period is None else second_factor.new_recovery_codes(self._random)
        digests = tuple(map(second_factor.recovery_digest, codes))
        secret, last = (invite.otp_secret, period) if period is not None else ("", -1)
        await self._vault.put(invite.user, Credentials(kept, secret, last, digests))
        self._tell("accept", invite, address)
        self._emit("user.password_change", {"user": invite.user, "method": invite.kind, "addr.remote": address})
        return invite.user, codes

    def _period(self, invite: Invite, code: str) -> int | None:
        """The period of the code; None where no second factor is asked for."""
        if self._required() == second_factor.OFF:
            return None
        found = second_factor.period_of(invite.otp_secret, code, self._clocks.wall()) if invite.otp_secret else None
        if found is None:
            raise OTPRefused(
                "The code is not the one that an authenticator shows for this secret now. Scan the newest QR code, and"
                " see that the clock of the phone is right."
            )
        return found

    async def _good(self, token: str, action: str, address: str) -> Invite:
        """The link of a token, once it can still be used."""
        self._by_address.check(address)
        try:
            invite = Invite.of(await self._backend.get(PREFIX + digest_of(token)))
        except NotFound:
            raise self._refused(action, None, address, _unknown()) from None
        if invite.used:
            raise self._refused(action, invite, address, _used())
        ago = round(self._clocks.wall() - invite.expires_at)
        if ago >= 0:
            reason = InviteExpired(f"The link expired {ago} seconds ago; ask for another.", seconds=ago)
            raise self._refused(action, invite, address, reason)
        if self._users.usable(invite.user) is None or not await self._of_this_generation(invite):
            raise self._refused(action, invite, address, _unknown())
        return invite

    async def _of_this_generation(self, invite: Invite) -> bool:
        """Whether the user has the credentials still that somebody proved to have who asked for the link."""
        return invite.generation in (None, (await self._vault.find(invite.user)).generation)

    async def _swap(self, invite: Invite, action: str, address: str) -> None:
        value, kept_until = _stored(invite)
        try:
            await self._backend.compare_and_swap(PREFIX + invite.digest, invite.revision, value, kept_until)
        except (CompareFailed, NotFound):
            raise self._refused(action, invite, address, _used()) from None

    def _refused(self, action: str, invite: Invite | None, address: str, reason: InviteRefused) -> InviteRefused:
        self._by_address.add(address)
        self._refuse(action, invite, address, reason.sentence)
        return reason

    def _refuse(self, action: str, invite: Invite | None, address: str, error: str) -> None:
        whose = {} if invite is None else {"name": invite.user, "kind": invite.kind}
        self._emit("invite.use", {**whose, "action": action, "error": error, "addr.remote": address}, success=False)

    def _tell(self, action: str, invite: Invite, address: str) -> None:
        about = {"name": invite.user, "kind": invite.kind, "action": action}
        self._emit("invite.use", {**about, "addr.remote": address})


def _unknown() -> InviteUnknown:
    return InviteUnknown(
        "There is no such link: it is not complete, a newer one replaced it, or it is no link of this cluster."
        " Ask an administrator for a new one."
    )


def _used() -> InviteUsed:
    return InviteUsed("The link was used already, here or in another window; log in, or ask for another.")


def _stored(invite: Invite) -> tuple[bytes, float]:
    return storing.encode(invite.to_json()), invite.expires_at + OLD_INVITES_KEPT_S


def _life(kind: str, ttl_s: float) -> float:
    if kind not in TIMES:
        raise BadParameter(f"A link is of the kind {', '.join(TIMES)}, and not {kind[:32]!a}.")
    usual, longest = TIMES[kind]
    if ttl_s and not MIN_INVITE_TTL_S <= ttl_s <= longest:
        least, most = format_duration(MIN_INVITE_TTL_S), format_duration(longest)
        raise BadParameter(
            f"A link of the kind {kind} lives for {least} to {most}, and not for {shown_duration(ttl_s)}."
        )
    return ttl_s or usual
