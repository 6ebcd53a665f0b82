"""What a cluster knows of people at one moment, and what of a certificate therefore counts.

A certificate says what was true when it was signed. Since then roles may have changed, and a person may have lost some
of them, or may not be there any more; auth, nodes and proxies all look here before they decide anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen

from teleport_conch.access.builtin import USER_ROLES, resolve
from teleport_conch.access.roles import Role
from teleport_conch.certs.certificate import BACKDATED_S
from teleport_conch.errors import AccessDenied


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
class Directory:
    """Roles and users by name, built-in roles included; they may be views of what changes."""

    roles: Mapping[str, Role] = field(default=USER_ROLES)
    users: Mapping[str, KnownUser] = field(factory=dict)

    def roles_of(self, user: str, named: tuple[str, ...], signed_at: float, now: float) -> tuple[Role, ...]:
        """The roles of a person with a certificate.

        Of the roles that it names those count which the person still has. Somebody who is not stored, for whom the
        administrator signed, has what the certificate says.

        :param named: the names of roles in the certificate.
        :param signed_at: when the certificate was signed, POSIX seconds.
        :raises AccessDenied: a role does not exist, the user has expired, or is another of the same name.
        """
        self.check(user, signed_at, now)
        known = self.users.get(user)
        if known is not None:
            named = tuple(role for role in named if role in known.roles)
        return resolve(named, "user", self.roles)

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


def signed_at(valid_after: float) -> float:
    """When a certificate of ours was signed, by when it begins to hold."""
    return valid_after + BACKDATED_S
