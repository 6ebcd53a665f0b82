"""What a cluster knows of people at one moment, and what of a certificate therefore counts.

A certificate says what was true when it was signed. Since then roles may have changed, and a person may have lost some
of them, or may not be there any more, or what an access request lent is over; auth, nodes and proxies all look here
before they decide anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from attrs import field, frozen

from teleport_conch.access.aged import NOT_AGED, Aged
from teleport_conch.access.builtin import USER_ROLES, resolve
from teleport_conch.access.lending import lent, why_not
from teleport_conch.access.roles import Role
from teleport_conch.certs.certificate import BACKDATED_S
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.access_request import AccessRequest


class KnownUser(Protocol):
    """What counts of a stored user. Instants are POSIX seconds."""

    @property
    def name(self) -> str:
        """The name in certificates."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the user has now, by name."""

    @property
    def created_at(self) -> float:
        """Certificates from before that are not the user's."""

    @property
    def expires_at(self) -> float | None:
        """From then on there is no such user; None for never."""


@frozen
class Claims:
    """What a certificate says of its person.

    :ivar roles: their names, those included that access requests lend.
    :ivar signed_at: POSIX seconds.
    :ivar requests: the ids of these requests.
    :ivar silent: whether it leaves roles out (``cert_format: oldssh``), and so speaks of all that the person has.
    :ivar bound: whether it is good from some addresses only.
    """

    user: str
    roles: tuple[str, ...]
    signed_at: float
    requests: tuple[str, ...] = ()
    silent: bool = False
    bound: bool = False


@frozen
class Directory:
    """Roles, users and access requests by name, built-in roles included; they may be views of what changes."""

    roles: Mapping[str, Role] = field(default=USER_ROLES)
    users: Mapping[str, KnownUser] = field(factory=dict)
    requests: Mapping[str, AccessRequest] = field(factory=dict)

    def roles_of(self, claims: Claims, now: float) -> tuple[Role, ...]:
        """The roles of a person with a certificate.

        Of the roles that it names those count which the person still has, and those which a request of it lends. Where
        it is silent about them, all count that the person has. Somebody who is not stored, for whom the administrator
        signed, has what the certificate says.

        :raises AccessDenied: a role does not exist, or the user has expired, is another of the same name, or is gone;
            or a certificate that is silent would not have been signed so for a role that counts.
        """
        self.check(claims.user, claims.signed_at, now)
        known, named = self.users.get(claims.user), claims.roles
        if known is None:
            if claims.requests:
                raise AccessDenied(f"There is no user {claims.user[:64]!a} any more; ask an administrator.")
            return resolve(named, "user", self.roles)
        own = resolve((role for role in known.roles if claims.silent or role in named), "user", self.roles)
        if claims.silent:
            _check_silent((role for role in own if role.holds_at(now)), claims.bound)
        if not claims.requests:
            return own
        counting = (self.requests[each] for each in claims.requests if not self.why_not(claims.user, each, now))
        return (*own, *(role for role in lent(counting, self.roles, known.roles) if role.name in named))

    def lent_to(self, user: str, request_ids: Iterable[str], now: float) -> tuple[Role, ...]:
        """The roles that requests lend to a stored user.

        :raises AccessDenied: one of them does not count, and why.
        """
        found = []
        for request_id in dict.fromkeys(request_ids):
            if why := self.why_not(user, request_id, now):
                raise AccessDenied(f"{why}.")
            found.append(self.requests[request_id])
        return lent(found, self.roles, self.users[user].roles) if found else ()

    def in_force(self, user: str, now: float) -> tuple[str, ...]:
        """The ids of all requests that lend something to a user."""
        of_user = (each.name for each in self.requests.values() if each.user == user)
        return tuple(sorted(each for each in of_user if not self.why_not(user, each, now)))

    def lent_now(self, user: str, now: float) -> tuple[Role, ...]:
        """All that requests lend to a user, whatever certificate names it."""
        return self.lent_to(user, self.in_force(user, now), now)

    def why_not(self, user: str, request_id: str, now: float) -> str:
        """Why an access request does not count for somebody; empty where it does."""
        known = self.users.get(user)
        since = float("inf") if known is None else known.created_at
        return why_not(request_id, self.requests.get(request_id), user, since, now)

    def aged(self, claims: Claims, now: float) -> Aged:
        """What of a certificate does not count any more, and what it lacks; nothing of somebody who is not stored.

        Of the roles in one with requests it cannot be told which of them were lent, so that only these are spoken of.
        """
        known = self.users.get(claims.user)
        if known is None or claims.silent:
            return NOT_AGED
        reasons = (self.why_not(claims.user, each, now) for each in claims.requests)
        gone = () if claims.requests else tuple(role for role in claims.roles if role not in known.roles)
        unnamed = tuple(role for role in known.roles if role not in claims.roles)
        lapsed = tuple(reason for reason in reasons if reason)
        return Aged(lapsed, gone, unnamed)

    def check(self, user: str, signed_at: float, now: float) -> None:
        """:raises AccessDenied: the user has expired, or is another of the same name."""
        known = self.users.get(user)
        if known is None:
            return
        if known.expires_at is not None and now >= known.expires_at:
            raise AccessDenied(f"The user {user[:64]!a} has expired; ask an administrator.")
        if signed_at < int(known.created_at):  # certificates count whole seconds
            raise AccessDenied(f"The certificate is older than the user {user[:64]!a}: log in again.")

    def until(self, user: str) -> float:
        """When the user expires, POSIX seconds."""
        known = self.users.get(user)
        return float("inf") if known is None or known.expires_at is None else known.expires_at


def _check_silent(roles: Iterable[Role], bound: bool) -> None:
    """That a certificate which names no roles can stand for these, some of which may have been given since.

    :raises AccessDenied: one is for certificates with an address, or denies by traits, which are left out as well.
    """
    for role in roles:
        if role.options.pin_source_ip and not bound:
            raise AccessDenied(
                f"role {role.name[:64]!a} is for certificates that are bound to an address, and this one is bound to"
                " none; log in again."
            )
        if role.deny.by_traits:
            raise AccessDenied(
                f"role {role.name[:64]!a} denies by traits, and the certificate says none (cert_format: oldssh); ask an"
                " administrator."
            )


def signed_at(valid_after: float) -> float:
    """When a certificate of ours was signed, by when it begins to hold."""
    return valid_after + BACKDATED_S
