"""Robots: programs with certificates of their own, which they renew by themselves."""

from __future__ import annotations

from attrs import field, frozen

from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope
from teleport_conch.resources.user import MAX_ROLES, MAX_VALUE_CHARS

PREFIX_OF_USERS = "bot-"
"""Of the name of a robot's user; the rest is the robot's own name."""
MAX_NAME_CHARS = 60
MAX_LOGINS = 64


@frozen
class Bot:
    """A robot, which is the user ``bot-<name>`` to the cluster.

    :ivar generation: of its newest certificates: how often it has got some; 0 before it joined.
    :ivar renewed_at: when that was, POSIX seconds; ``address`` is where it was then.
    """

    name: str
    roles: tuple[str, ...]
    logins: tuple[str, ...] = ()
    created_at: float = 0.0
    created_by: str = ""
    generation: int = 0
    renewed_at: float | None = None
    address: str = ""
    revision: str = field(default="", eq=False, kw_only=True)

    @property
    def user(self) -> str:
        """The name of its user, which certificates and events have."""
        return PREFIX_OF_USERS + self.name

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "bot",
            "version": "v1",
            "metadata": {"name": self.name, "namespace": "default", "id": self.revision},
            "spec": {
                "roles": list(self.roles),
                "logins": list(self.logins),
                "created": self.created_at,
                "created_by": self.created_by,
            },
            "status": {"generation": self.generation, "renewed": self.renewed_at, "address": self.address},
        }

    @classmethod
    def from_json(cls, value: object) -> Bot:
        """:raises BadParameter: it is no such resource."""
        resource, metadata, spec = envelope(value, "bot")
        status = resource.child("status")
        return cls(
            name=metadata.text("name", max_chars=MAX_NAME_CHARS),
            roles=spec.texts("roles", MAX_ROLES, max_chars=255),
            logins=spec.texts("logins", MAX_LOGINS, MAX_VALUE_CHARS),
            created_at=spec.number("created", default=0.0),
            created_by=spec.text("created_by", default="", max_chars=255),
            generation=_whole(status, "generation"),
            renewed_at=status.instant("renewed"),
            address=status.text("address", default="", max_chars=64),
            revision=metadata.text("id", default="", max_chars=18),
        )


def _whole(fields: Fields, key: str) -> int:
    number = fields.number(key, default=0.0)
    if number < 0 or not number.is_integer():
        raise BadParameter(f"{fields.where}.{key} has to be a whole number.")
    return int(number)
