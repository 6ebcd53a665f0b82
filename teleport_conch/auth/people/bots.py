"""Robots: let in by a token that is good once, and renewing certificates by themselves ever after.

To the cluster a robot is the user ``bot-<name>``. Its certificates carry a generation, which auth counts: whoever
renews with an old one has a copy of an identity that was renewed before, and nobody can tell which of the two is the
thief. So the robot is locked, and an event says so.

A robot lies under ``bots/<name>``; for its token see :mod:`teleport_conch.auth.people.bot_tokens`.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from attrs import define, evolve, field, frozen

from teleport_conch.access.builtin import ROBOT
from teleport_conch.access.directory import Claims, Directory
from teleport_conch.access.roles import Role
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.limits import (
    BOT_CERTIFICATE_S,
    FAILED_TOKENS_PER_MINUTE,
    MAX_BOTS,
)
from teleport_conch.auth.people.bot_tokens import BotTokens, life, unknown
from teleport_conch.auth.people.people_certificates import Issued, PeopleCertificates, Wanted
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.state.shelf import Shelf, Stored
from teleport_conch.certs import names
from teleport_conch.certs.keys import blob_of_line, load_public_pem
from teleport_conch.certs.tls import TLSIdentity
from teleport_conch.errors import (
    AccessDenied,
    AlreadyExists,
    BadParameter,
    CompareFailed,
    IdentityCopied,
    JoinRefused,
    NotFound,
)
from teleport_conch.https.throttle import Failures
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend

PREFIX = "bots/"


def open_shelf(backend: IBackend) -> Shelf[KnownBot]:
    """Where the robots are."""
    return Shelf("robot", PREFIX, backend, KnownBot.from_json, MAX_BOTS)


@frozen
class KnownBot:
    """A robot as it is stored.

    :ivar key: digest of the keys that its newest certificates are for, by which a robot is known that asks again.
    """

    bot: Bot
    key: str = ""

    @property
    def name(self) -> str:
        return self.bot.name

    def to_json(self) -> dict[str, object]:
        return {**self.bot.to_json(), "key": self.key}

    @classmethod
    def from_json(cls, value: object) -> KnownBot:
        return cls(Bot.from_json(value), Fields(value, "bot").text("key", default="", max_chars=64))


@frozen
class Keys:
    """The public keys that a robot wants certificates for: an authorized_keys line, and a PEM."""

    ssh: str
    tls: str

    def check(self) -> None:
        """:raises BadParameter: one of them is none."""
        blob_of_line(self.ssh)
        load_public_pem(self.tls)

    @property
    def digest(self) -> str:
        """Of both, as the SSH key is no secret: who had another TLS key certified beside it would be the robot."""
        both = f"{self.ssh.strip()}\n{self.tls.strip()}"
        return hashlib.sha256(both.encode("utf-8", "backslashreplace")).hexdigest()


@define(eq=False)
class Bots:
    """All robots."""

    shelf: Shelf[KnownBot]
    _tokens: BotTokens
    _clocks: Clocks
    _users: Users
    _locks: LockList
    _directory: Directory
    _certificates: PeopleCertificates
    _emit: Emit
    _by_address: Failures = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_address = Failures(self._clocks.monotonic, FAILED_TOKENS_PER_MINUTE)

    def new(self, name: str, roles: tuple[str, ...], logins: tuple[str, ...], by: str) -> tuple[Bot, User]:
        """A robot as it may be made, and its user.

        :raises BadParameter: a name that is none, no roles, or one that there is not.
        """
        now = self._clocks.wall()
        bot = Bot(name, roles, logins, now, by)
        names.user_name(bot.user)
        if not roles:
            raise BadParameter("missing parameter roles: a robot without any can do nothing")
        user = self._users.checked_robot(User(bot.user, (*roles, ROBOT), {"logins": logins}, None, now, by))
        return bot, user

    async def create(self, bot: Bot, user: User, ttl_s: float) -> tuple[str, float]:
        """Add a robot; the answer is its token, which is not kept, and when that expires.

        :param ttl_s: 0 for the usual time.
        :raises AlreadyExists: there is one of this name.
        """
        ttl_s = life(ttl_s)
        await self.shelf.create(KnownBot(bot))
        await self._tokens.drop(bot.name)
        if self._users.shelf.find(user.name) is None:
            await self._users.shelf.create(user)
        else:  # a former one of this name was not removed whole
            await self._users.shelf.replace(user)
        await self._unlock(bot.name)
        token, expires_at = await self._tokens.create(bot.name, ttl_s)
        about = {"name": bot.name, "roles": bot.roles, "logins": bot.logins, "expires": expires_at}
        self._emit("bot.create", {**about, "user": bot.created_by})
        return token, expires_at

    async def remove(self, name: str, by: str) -> None:
        """Remove a robot; its certificates are refused from now on.

        :raises NotFound: there is none.
        """
        bot = self.shelf.get(name).value.bot
        until = self._clocks.wall() + BOT_CERTIFICATE_S
        await self._lock(f"removed-robot-{name}", bot.user, "This robot was removed from the cluster.", until, by)
        await self.shelf.remove(name)
        await self._tokens.drop(name)
        with suppress(NotFound):
            await self._users.shelf.remove(bot.user)
        self._emit("bot.delete", {"name": name, "user": by})

    # What robots do.

    async def join(self, secret: str, keys: Keys, address: str) -> tuple[Issued, Bot]:
        """The first certificates of a robot.

        :param address: where it is.
        :raises TokenUnknown, TokenExpired, TokenUsed: the token is no good. :raises LimitExceeded: too often.
        """
        self._by_address.check(address)
        keys.check()
        try:
            token = await self._tokens.find(secret)
            stored = self.shelf.get(token.name)
            if token.used and stored.value.key == keys.digest and stored.value.bot.generation == 1:
                return self._issue(stored.value.bot, keys, address, ""), stored.value.bot  # it did not hear the answer
            await self._tokens.use(token)
            issued, bot = await self._next(stored, keys, address, "")
        except (JoinRefused, NotFound) as reason:
            self._by_address.add(address)
            known = reason if isinstance(reason, JoinRefused) else unknown()
            about = {"name": "", "error": known.sentence, "error_code": known.code, "addr.remote": address}
            self._emit("bot.join", about, success=False)
            raise known from None
        self._emit("bot.join", {"name": bot.name, "user": bot.user, "addr.remote": address})
        return issued, bot

    async def renew(self, identity: TLSIdentity, keys: Keys, address: str) -> tuple[Issued, Bot]:
        """The next certificates of a robot, in place of those that it shows.

        :raises AccessDenied: it is none, or none any more.
        :raises IdentityCopied: somebody else renewed these; from now on the robot is locked.
        """
        keys.check()
        stored = self._of(identity)
        bot, again = stored.value.bot, stored.value.key == keys.digest
        if identity.generation == bot.generation - 1 and again:
            return self._issue(bot, keys, address, identity.source_address), bot  # it did not hear the last answer
        if identity.generation < bot.generation:
            raise await self._copied(bot, identity.generation, address)
        # Nobody but auth signs generations: one that it does not remember is from before a backup was put back.
        stored = evolve(stored, value=evolve(stored.value, bot=evolve(bot, generation=identity.generation)))
        try:
            return await self._next(stored, keys, address, identity.source_address)
        except CompareFailed:
            raise await self._copied(bot, identity.generation, address) from None

    def _of(self, identity: TLSIdentity) -> Stored[KnownBot]:
        name = identity.name.removeprefix(Bot("", ()).user)
        stored = self.shelf.find(name)
        is_robot = identity.kind == "user" and identity.generation > 0
        if not is_robot or stored is None or stored.value.bot.user != identity.name:
            raise AccessDenied("Certificates are renewed in this way by robots of the cluster.")
        return stored

    async def _next(self, stored: Stored[KnownBot], keys: Keys, address: str, pinned: str) -> tuple[Issued, Bot]:
        """The generation is counted before anybody has certificates of it; and only if they can be made."""
        before = stored.value.bot
        bot = evolve(before, generation=before.generation + 1, renewed_at=self._clocks.wall(), address=address)
        issued = self._issue(bot, keys, address, pinned)
        await self.shelf.replace(KnownBot(bot, keys.digest), stored.revision)
        return issued, bot

    def _issue(self, bot: Bot, keys: Keys, address: str, pinned: str) -> Issued:
        now = self._clocks.wall()
        wanted = Wanted(
            bot.user,
            self._roles(bot, now),
            {"logins": bot.logins},
            keys.ssh,
            keys.tls,
            BOT_CERTIFICATE_S,
            address,
            pinned=pinned,
            generation=bot.generation,
        )
        return self._certificates.issue(wanted, "robot")

    def _roles(self, bot: Bot, now: float) -> tuple[Role, ...]:
        return self._directory.roles_of(Claims(bot.user, (*bot.roles, ROBOT), now), now)

    async def _copied(self, bot: Bot, generation: int, address: str) -> IdentityCopied:
        """Lock the robot, which more than one has the identity of."""
        message = "This robot's identity was used in two places: it may have been stolen."
        await self._lock(f"copied-robot-{bot.name}", bot.user, message, None, "auth")
        about = {"name": bot.name, "user": bot.user, "count": generation, "max": bot.generation}
        self._emit("bot.copied", {**about, "reason": message, "addr": bot.address, "addr.remote": address})
        return IdentityCopied(
            f"These certificates of the robot {bot.name!r} were renewed before, so that somebody else has a copy of its"
            " identity. It is locked: find out where the copy is, then remove the robot and make it again."
        )

    # Locks.

    async def _lock(self, name: str, user: str, message: str, until: float | None, by: str) -> None:
        lock = Lock(name, user=user, message=message, expires_at=until, created_at=self._clocks.wall(), created_by=by)
        try:
            await self._locks.shelf.create(lock)
        except AlreadyExists:
            await self._locks.shelf.replace(lock)

    async def _unlock(self, name: str) -> None:
        """Certificates of a former robot of the name stay refused: they are older than its user."""
        for lock in (f"removed-robot-{name}", f"copied-robot-{name}"):
            with suppress(NotFound):
                await self._locks.shelf.remove(lock)
