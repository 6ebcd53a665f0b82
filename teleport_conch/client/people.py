"""Calls about people: users, their invitations and logins, their certificates and web sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from attrs import field, frozen
from twisted.internet.defer import DeferredSemaphore

from teleport_conch.client.answers import UserCertificates, items
from teleport_conch.client.exchange import Call
from teleport_conch.client.transport import Transport
from teleport_conch.errors import LimitExceeded
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import User

_USERS = "/v1/users"
_MAX_SECRET_CHARS = 512
_FORCED = (("force", "1"),)

#: Calls under way for which auth hashes a password, which it does two at a time at most; the next ones wait here, so
#: that they need no connections of their own, and the time that one may take begins when its turn comes.
PASSWORD_CALLS = 4
PASSWORD_CALLS_WAITING = 256


@frozen
class Credentials:
    """What somebody typed to prove who they are. A recovery code takes the place of the code of the second factor."""

    password: str = field(repr=False)
    otp_token: str = field(default="", repr=False)
    recovery_code: str = field(default="", repr=False)

    def to_json(self) -> dict[str, object]:
        given = {"otp_token": self.otp_token, "recovery_code": self.recovery_code}
        return {"password": self.password, **{key: value for key, value in given.items() if value}}


@frozen
class Invite:
    """A link that was just made; its token is shown now and never again.

    :ivar kind: ``invite`` for a new user, ``reset`` for a user who has lost password or second factor, ``renew`` for
        one who has neither lost and wants others.
    :ivar expires_at: POSIX seconds.
    """

    token: str = field(repr=False)
    kind: str
    expires_at: float

    @classmethod
    def from_json(cls, value: object) -> Invite:
        fields = Fields(value, "answer")
        return cls(
            fields.text("token", max_chars=_MAX_SECRET_CHARS),
            fields.text("kind", max_chars=32),
            fields.number("expires"),
        )


@frozen
class OpenedInvite:
    """What the page behind a link shows.

    :ivar second_factor: ``otp`` or ``off``; with ``off`` there is no secret.
    :ivar otp_secret: in base32, for those who type it; ``otp_uri`` is the same for a QR code. Only those of the last
        opening count.
    """

    user: str
    kind: str
    expires_at: float
    second_factor: str
    otp_secret: str = field(default="", repr=False)
    otp_uri: str = field(default="", repr=False)

    @classmethod
    def from_json(cls, value: object) -> OpenedInvite:
        fields = Fields(value, "answer")
        return cls(
            fields.text("user", max_chars=255),
            fields.text("kind", max_chars=32),
            fields.number("expires"),
            fields.text("second_factor", max_chars=32),
            fields.text("otp_secret", default="", max_chars=_MAX_SECRET_CHARS),
            fields.text("otp_uri", default=""),
        )


@frozen
class AcceptedInvite:
    """A user who has a password now. ``recovery_codes`` are shown once; none where there is no second factor."""

    user: str
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_json(cls, value: object) -> AcceptedInvite:
        fields = Fields(value, "answer")
        return cls(fields.text("user", max_chars=255), fields.texts("recovery_codes", max_items=32, max_chars=64))


@frozen
class LoggedIn:
    """A person's fresh certificates, and what they are good for.

    :ivar expires_at: POSIX seconds at which both certificates end.
    :ivar request_access: whether the person is to ask for roles now: ``optional``, ``always`` or ``reason``.
    :ivar request_prompt: what somebody reads who has to give a reason.
    """

    user: str
    roles: tuple[str, ...]
    expires_at: float
    certificates: UserCertificates = field(repr=False)
    request_access: str = "optional"
    request_prompt: str = ""

    @classmethod
    def from_json(cls, value: object) -> LoggedIn:
        fields = Fields(value, "answer")
        return cls(
            fields.text("user", max_chars=255),
            fields.texts("roles", max_items=96, max_chars=255),
            fields.number("expires"),
            UserCertificates.from_json(value),
            fields.text("request_access", default="optional", max_chars=16),
            fields.text("request_prompt", default="", max_chars=256),
        )


@frozen
class WebSession:
    """A session of a browser that has just begun: the secret for its cookie, and when it ends at the latest."""

    session: str = field(repr=False)
    expires_at: float

    @classmethod
    def from_json(cls, value: object) -> WebSession:
        fields = Fields(value, "answer")
        return cls(fields.text("session", max_chars=_MAX_SECRET_CHARS), fields.number("expires"))


@frozen
class SessionOwner:
    """Whose a session of a browser is; ``expires_at`` is when it ends unless it is used before."""

    user: str
    roles: tuple[str, ...]
    expires_at: float

    @classmethod
    def from_json(cls, value: object) -> SessionOwner:
        fields = Fields(value, "answer")
        return cls(
            fields.text("user", max_chars=255),
            fields.texts("roles", max_items=64, max_chars=255),
            fields.number("expires"),
        )


class People:
    """Calls of :class:`~teleport_conch.client.api.AuthClient`, over its connections and with its errors.

    Where a method takes ``client_address``, that is the address of the person's own machine, which the proxy vouches
    for: failures are counted by it, and certificates may be bound to it.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._hashing = DeferredSemaphore(PASSWORD_CALLS)

    # Users.

    async def users(self) -> tuple[User, ...]:
        return items(await self._call("GET", _USERS), User.from_json)

    async def user(self, name: str) -> User:
        """:raises NotFound: there is none."""
        return User.from_json(await self._call("GET", _path(name)))

    async def create_user(self, user: User) -> User:
        """:raises AlreadyExists: there is one of this name."""
        return User.from_json(await self._once("POST", _USERS, user.to_json()))

    async def update_user(self, user: User, *, force: bool = False) -> User:
        """Replace roles, traits and expiry.

        :param force: even if nobody is left then who may change roles and users; else that is ``LastAdministrator``.
        :raises NotFound: there is none. :raises CompareFailed: it was changed since the revision of ``user``.
        """
        call = Call("PUT", _path(user.name), _FORCED if force else (), body=user.to_json())
        return User.from_json(await self._transport.call(call))

    async def remove_user(self, name: str, *, force: bool = False) -> None:
        """Remove a user, and refuse from now on every certificate that they have. For ``force`` see above."""
        await self._transport.call(Call("DELETE", _path(name), _FORCED if force else ()))

    async def unlock_user(self, name: str) -> None:
        """Forget the failed logins of a user."""
        await self._call("DELETE", _path(name, "lockout"))

    # Links.

    async def invite(self, name: str, kind: str = "invite", ttl_s: float = 0.0) -> Invite:
        """A link for a user.

        :param kind: ``invite``, or ``reset``, which makes password, second factor and web sessions worthless at once.
        :param ttl_s: 0 for the usual time.
        """
        return Invite.from_json(await self._once("POST", _path(name, "invites"), {"kind": kind, "ttl": ttl_s}))

    async def renewal(self, name: str, credentials: Credentials, client_address: str) -> Invite:
        """A link for a user who wants another password and second factor, and still has these ones.

        :raises LoginRefused: the credentials are wrong, or there is no such user.
        """
        body = {**credentials.to_json(), "client_address": client_address}
        return Invite.from_json(await self._hashed("POST", _path(name, "web", "invites"), body))

    async def open_invite(self, token: str, client_address: str) -> OpenedInvite:
        """What to show to who has the link. Each time there is a new secret of the second factor.

        :raises InviteRefused: one of its subclasses, by what is wrong with the link.
        """
        body = {"token": token, "client_address": client_address}
        return OpenedInvite.from_json(await self._once("POST", "/v1/web/invites/open", body))

    async def accept_invite(self, token: str, password: str, otp_token: str, client_address: str) -> AcceptedInvite:
        """Set password and second factor.

        :param otp_token: a code of the secret that the last opening answered.
        :raises InviteRefused: as :meth:`open_invite`. :raises PasswordRefused: it is too weak, too short or too long.
        :raises OTPRefused: the code is not one of the secret's.
        """
        body = {"token": token, "password": password, "otp_token": otp_token, "client_address": client_address}
        return AcceptedInvite.from_json(await self._hashed("POST", "/v1/web/invites/accept", body))

    # Logins.

    async def log_in(
        self,
        name: str,
        credentials: Credentials,
        *,
        public_ssh_key: str,
        public_tls_key: str,
        client_address: str,
        ttl_s: float = 0.0,
    ) -> LoggedIn:
        """Certificates for who has the password.

        :param public_ssh_key: an authorized_keys line; ``public_tls_key`` is a PEM.
        :param ttl_s: 0 for the usual time; the roles may make it shorter.
        :raises LoginRefused: user, password or second factor is wrong; which of them is not said.
        :raises LockedOut: too many have been wrong. :raises LimitExceeded: too many at one time.
        """
        keys = {"public_ssh_key": public_ssh_key, "public_tls_key": public_tls_key, "ttl": ttl_s}
        body = {**credentials.to_json(), **keys, "client_address": client_address}
        return LoggedIn.from_json(await self._hashed("POST", _path(name, "ssh", "authenticate"), body))

    async def renew(
        self, public_ssh_key: str, public_tls_key: str, ttl_s: float = 0.0, requests: Sequence[str] = ()
    ) -> LoggedIn:
        """Certificates for other keys of the person that calls, never longer than the one it calls with.

        :param requests: ids of access requests, whose roles are added; nothing else in them is wider than it was.
        :raises AccessDenied: one of the requests does not count.
        """
        keys = {"public_ssh_key": public_ssh_key, "public_tls_key": public_tls_key, "ttl": ttl_s}
        body = {**keys, "requests": list(requests)}
        return LoggedIn.from_json(await self._once("POST", "/v1/ca/user/renew", body))

    async def change_password(
        self, name: str, old_password: str, new_password: str, otp_token: str, client_address: str
    ) -> None:
        """:raises LoginRefused: the old one is wrong. :raises PasswordRefused: the new one is no good."""
        body = {
            "old_password": old_password,
            "new_password": new_password,
            "otp_token": otp_token,
            "client_address": client_address,
        }
        await self._hashed("PUT", _path(name, "web", "password"), body)

    # Web sessions.

    async def open_web_session(self, name: str, credentials: Credentials, client_address: str) -> WebSession:
        """Begin a session of a browser. Raises as :meth:`log_in`."""
        body = {**credentials.to_json(), "client_address": client_address}
        return WebSession.from_json(await self._hashed("POST", _path(name, "web", "sessions"), body))

    async def web_session(self, session: str, client_address: str) -> SessionOwner:
        """Whose session it is; this is a use of it.

        :raises SessionEnded: it has ended, or never was.
        """
        body = {"session": session, "client_address": client_address}
        return SessionOwner.from_json(await self._call("POST", "/v1/web/sessions/open", body))

    async def close_web_session(self, session: str, client_address: str) -> None:
        """End a session; one that has ended already is no error."""
        await self._call("POST", "/v1/web/sessions/close", {"session": session, "client_address": client_address})

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        return await self._transport.call(Call(method, path, body=body))

    async def _hashed(self, method: str, path: str, body: Mapping[str, object]) -> object:
        """A call for which auth hashes a password.

        :raises LimitExceeded: too many wait for one.
        """
        if len(self._hashing.waiting) >= PASSWORD_CALLS_WAITING:
            raise LimitExceeded("Too many people are logging in at this moment; try again in a few seconds.")
        await self._hashing.acquire()
        try:
            return await self._once(method, path, body)
        finally:
            self._hashing.release()

    async def _once(self, method: str, path: str, body: Mapping[str, object]) -> object:
        """A call that does something else when it is sent twice."""
        return await self._transport.call(Call(method, path, body=body, repeatable=False))


def _path(name: str, *rest: str) -> str:
    """No user's name holds a slash or a percent sign, so that a name with one stays that of nobody."""
    return "/".join((_USERS, quote(name.replace("/", "%"), safe=""), *rest))
