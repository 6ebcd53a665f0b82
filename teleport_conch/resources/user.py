"""People: who they are to the cluster, and which roles and traits they have. Never a secret of theirs."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope

MAX_NAME_CHARS = 64
MAX_ROLES = 64
MAX_TRAITS = 64
MAX_TRAIT_VALUES = 256
MAX_VALUE_CHARS = 1024
MAX_REVISION_DIGITS = 18

KEYS = ("roles", "traits", "status", "created_by", "expires", "oidc_identities", "saml_identities", "github_identities")
"""Of ``spec``, what Teleport's users have; beside roles and traits it is told by auth, or nothing is made of it."""
_SECRETS = "local_auth"

Traits = Mapping[str, tuple[str, ...]]


@frozen
class LoginLock:
    """Why nobody can log in as the user with a password at the moment.

    :ivar until: POSIX seconds.
    """

    until: float
    message: str = ""


@frozen
class User:
    """A person of the cluster, in the shape of Teleport's ``user`` v2.

    :ivar traits: lists by name; ``logins`` are the accounts that ``{{internal.logins}}`` stands for.
    :ivar expires_at: POSIX seconds from which on the user has no roles and no login; None for never.
    :ivar created_at: POSIX seconds; certificates from before are those of another user of this name.
    :ivar lock: set by auth after too many failed logins.
    :ivar revision: the one that was read from storage, and that an update is checked against; empty for no check.
    """

    name: str
    roles: tuple[str, ...]
    traits: Traits = field(factory=dict)
    expires_at: float | None = None
    created_at: float = 0.0
    created_by: str = ""
    lock: LoginLock | None = None
    revision: str = field(default="", eq=False, kw_only=True)

    @property
    def logins(self) -> tuple[str, ...]:
        return self.traits.get("logins", ())

    def in_force_at(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at

    def narrow(self) -> User:
        """What nodes and proxies have to know: the roles, and from when to when they hold."""
        return evolve(self, traits={}, created_by="", lock=None)

    def to_json(self) -> dict[str, object]:
        about = {"name": self.name, "namespace": "default", "expires": self.expires_at, "id": self.revision}
        status: dict[str, object] = {"is_locked": False}
        if self.lock is not None:
            status = {"is_locked": True, "locked_message": self.lock.message, "lock_expires": self.lock.until}
        return {
            "kind": "user",
            "version": "v2",
            "metadata": about,
            "spec": {
                "roles": list(self.roles),
                "traits": {name: list(values) for name, values in self.traits.items()},
                "status": status,
                "created_by": {"user": {"name": self.created_by}, "time": self.created_at},
            },
        }

    @classmethod
    def from_json(cls, value: object) -> User:
        """:raises BadParameter: it is no such resource."""
        _, metadata, spec = envelope(value, "user")
        made, status = spec.child("created_by"), spec.child("status")
        locked = status.boolean("is_locked", default=False)
        return cls(
            name=metadata.text("name", max_chars=MAX_NAME_CHARS),
            roles=spec.texts("roles", MAX_ROLES, max_chars=255),
            traits=_traits(spec.child("traits")),
            expires_at=metadata.instant("expires"),
            created_at=made.number("time", default=0.0),
            created_by=made.child("user").text("name", default="", max_chars=255),
            lock=LoginLock(status.number("lock_expires", 0.0), status.text("locked_message", "")) if locked else None,
            revision=metadata.text("id", default="", max_chars=MAX_REVISION_DIGITS),
        )


def check_written(value: object) -> None:
    """What somebody wrote is refused where something is misspelt: a user without ``roles`` is one that has none.

    :raises BadParameter: a key of ``spec`` that no user has, or secrets, which would not be kept.
    """
    _, _, spec = envelope(value, "user")
    for key in spec.raw():
        if key == _SECRETS:
            raise BadParameter(
                f"{spec.where}.{key}: passwords and second factors come from no file; 'tctl users reset' gives a link."
            )
        if key not in KEYS:
            raise BadParameter(f"{spec.where}.{key[:64]!a} is not known.")


def _traits(fields: Fields) -> dict[str, tuple[str, ...]]:
    names = fields.raw()
    if len(names) > MAX_TRAITS or not all(name and len(name) <= MAX_VALUE_CHARS for name in names):
        raise BadParameter(f"{fields.where} has at most {MAX_TRAITS} entries, each with a name.")
    return {name: fields.texts(name, MAX_TRAIT_VALUES, MAX_VALUE_CHARS) for name in names}
