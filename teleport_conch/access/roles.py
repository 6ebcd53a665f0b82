"""Roles: named sets of permissions, in the shape of Teleport's role v3."""

from __future__ import annotations

from attrs import field, frozen

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.options import Options, check_keys
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields, envelope

RESERVED_NAMES = ("Admin", "Auth", "Node", "Nop", "Proxy", "ProvisionToken", "Signup", "Web")
"""The names of system roles, which only hosts have; in a host certificate, never in a user's."""


@frozen
class Role:
    """What somebody may do (``allow``), may never do (``deny``), and how (``options``).

    :param expires_at: POSIX seconds from which on the role neither allows nor denies anything, None for never.
    :param request: of a role that somebody has for a while only, the access request that lends it; it is never stored.
    :param system: a role of hosts. It is built in, has a reserved name, and no JSON makes one.
    :param revision: the one that was read from storage, and that an update is checked against; empty for no check.
    """

    name: str
    options: Options = field(factory=Options)
    allow: Conditions = field(factory=Conditions)
    deny: Conditions = field(factory=Conditions)
    description: str = ""
    expires_at: float | None = None
    system: bool = field(default=False, kw_only=True)
    request: str = field(default="", kw_only=True)
    revision: str = field(default="", eq=False, kw_only=True)

    def holds_at(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at

    def to_json(self) -> dict[str, object]:
        return {
            "kind": "role",
            "version": "v3",
            "metadata": {
                "name": self.name,
                "description": self.description,
                "expires": self.expires_at,
                "id": self.revision,
            },
            "spec": {
                "options": self.options.to_json(),
                "allow": self.allow.to_json(),
                "deny": self.deny.to_json(),
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Role:
        """:raises BadParameter: a reserved name, an unknown key (a misspelt ``deny`` must not pass), a wrong value."""
        resource, metadata, spec = envelope(value, "role")
        if resource.text("version", default="v3") != "v3":
            raise BadParameter("role.version has to be v3.")
        check_keys(resource, ("kind", "version", "metadata", "spec"))
        check_keys(metadata, ("name", "description", "expires", "id"), {"namespace": ("", "default"), "labels": ({},)})
        check_keys(spec, ("options", "allow", "deny"))
        return cls(
            name=_name(metadata),
            options=Options.from_json(spec.child("options")),
            allow=Conditions.from_json(spec.child("allow"), labels_by_default=True),
            deny=Conditions.from_json(spec.child("deny"), labels_by_default=False),
            description=metadata.text("description", default=""),
            expires_at=metadata.instant("expires"),
            revision=metadata.text("id", default=""),
        )


def _name(metadata: Fields) -> str:
    name = metadata.text("name", max_chars=255)
    if name in RESERVED_NAMES:
        raise BadParameter(f"the role name {name} is reserved for hosts; choose another.")
    if not name.isprintable() or any(char in name for char in ', "'):
        raise BadParameter(f"{name!a} cannot be the name of a role: no spaces, commas, quotes or control characters.")
    return name
