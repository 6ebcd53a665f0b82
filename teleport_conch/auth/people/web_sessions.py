"""Sessions of browsers: who a cookie speaks for, until it was not used for a while, or its time is over.

They are kept under ``web_sessions/<tag of the user>/<digest>``, never the secret in the cookie. The secret begins with
the tag, so that a user's sessions lie together; it says nothing that its holder does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from attrs import define, evolve, frozen

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import WEB_SESSION_IDLE_S, WEB_SESSION_S, WEB_SESSION_TOUCH_S, WEB_SESSIONS_PER_USER
from teleport_conch.auth.people.credentials import GENERATION_BYTES, Vault
from teleport_conch.auth.people.invites import digest_of
from teleport_conch.auth.people.users import Users
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.state import storing
from teleport_conch.errors import CompareFailed, NotFound, SessionEnded
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend, Item

PREFIX = "web_sessions/"
SECRET_BYTES = 32
_TAG_DIGITS = 16


@frozen
class Session:
    """Instants are POSIX seconds. ``ends_at`` is when it ends however much it is used.

    :ivar generation: of the credentials with which the user logged in.
    """

    key: str
    user: str
    created_at: float
    used_at: float
    ends_at: float
    generation: str = ""
    revision: int = 0

    @property
    def expires_at(self) -> float:
        """When it ends unless it is used before."""
        return min(self.used_at + WEB_SESSION_IDLE_S, self.ends_at)

    def to_json(self) -> dict[str, object]:
        instants = {"created": self.created_at, "used": self.used_at, "ends": self.ends_at}
        return {"user": self.user, "generation": self.generation, **instants}

    @classmethod
    def of(cls, item: Item) -> Session:
        fields = Fields(storing.decode(item), "session")
        return cls(
            item.key,
            fields.text("user", max_chars=64),
            fields.number("created"),
            fields.number("used"),
            fields.number("ends"),
            fields.text("generation", default="", max_chars=2 * GENERATION_BYTES),
            item.revision,
        )


@define(eq=False)
class WebSessions:
    """All of them.

    :ivar _random: so many random bytes.
    """

    _clocks: Clocks
    _backend: IBackend
    _users: Users
    _vault: Vault
    _locks: LockList
    _random: Callable[[int], bytes]

    async def begin(self, user: User, generation: str) -> tuple[str, Session]:
        """A session of a user who logged in: its secret, which is not kept, and what is.

        Where the password is set meanwhile it is worth nothing, whichever of the two is written first.

        :param generation: of the credentials that the user proved to have.

        A user with too many sessions loses the oldest.
        """
        now, others = self._clocks.wall(), await self._of(user.name)
        too_many = max(0, len(others) + 1 - WEB_SESSIONS_PER_USER)
        for old in sorted(others, key=lambda each: each.used_at)[:too_many]:
            await self._remove(old)
        secret = _tag(user.name) + self._random(SECRET_BYTES).hex()
        ends_at = min(now + WEB_SESSION_S, user.expires_at or now + WEB_SESSION_S)
        session = Session(_key(secret), user.name, now, now, ends_at, generation)
        await self._backend.create(session.key, *_stored(session))
        return secret, session

    async def use(self, secret: str) -> tuple[User, Session]:
        """Whose session it is.

        :raises SessionEnded: it has ended, or never was, or its user is gone or has another password since.
        """
        now = self._clocks.wall()
        try:
            session = Session.of(await self._backend.get(_key(secret)))
        except NotFound:
            raise _ended() from None
        user = self._users.usable(session.user)
        if user is None or session.created_at < user.created_at or now >= session.expires_at:
            raise _ended()
        locked = self._locks.on_person(user.name, user.roles, now)
        if locked:
            await self._remove(session)
            raise SessionEnded(f"The session has ended, as the user {user.name!r} is {locked}.")
        if session.generation != (await self._vault.find(user.name)).generation:
            await self._remove(session)
            raise _ended()
        if now - session.used_at >= WEB_SESSION_TOUCH_S:
            session = evolve(session, used_at=now)
            with suppress(CompareFailed):  # another use of it was written, which does as well
                await self._touch(session)
        return user, session

    async def end(self, secret: str) -> None:
        """End one; it may have ended already."""
        with suppress(NotFound):
            await self._backend.delete(_key(secret))

    async def end_all(self, user: str) -> None:
        """End every one of a user."""
        for session in await self._of(user):
            await self._remove(session)

    async def _of(self, user: str) -> list[Session]:
        items = await storing.everything(self._backend, f"{PREFIX}{_tag(user)}/")
        return [session for session in map(Session.of, items) if session.user == user]

    async def _touch(self, session: Session) -> None:
        """Write a use of a session; one that was ended meanwhile stays so."""
        try:
            await self._backend.compare_and_swap(session.key, session.revision, *_stored(session))
        except NotFound:
            raise _ended() from None

    async def _remove(self, session: Session) -> None:
        with suppress(NotFound):
            await self._backend.delete(session.key)


def _tag(user: str) -> str:
    return digest_of(user)[:_TAG_DIGITS]


def _key(secret: str) -> str:
    """Where a session lies; a secret of another form is looked for where there is none."""
    tag = secret[:_TAG_DIGITS]
    well_formed = secret.isascii() and tag.isalnum()
    return f"{PREFIX}{tag if well_formed else '-'}/{digest_of(secret)}"


def _stored(session: Session) -> tuple[bytes, float]:
    return storing.encode(session.to_json()), session.expires_at


def _ended() -> SessionEnded:
    return SessionEnded("The session has ended; log in again.")
