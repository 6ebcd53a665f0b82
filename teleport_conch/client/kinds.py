"""The kinds of resources that a host can follow: how their JSON is read, and what of them lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve

from teleport_conch.access.roles import Role
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.errors import NotFound
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.preference import AuthPreference
from teleport_conch.resources.server import Presence, Server, State
from teleport_conch.resources.user import User

Resource = PublicAuthority | AuthPreference | ClusterConfig | ClusterName | Role | User | Lock | AccessRequest | Server

READERS: Mapping[str, Callable[[object], Resource]] = {
    "cert_authority": PublicAuthority.from_json,
    "cluster_auth_preference": AuthPreference.from_json,
    "cluster_config": ClusterConfig.from_json,
    "cluster_name": ClusterName.from_json,
    "role": Role.from_json,
    "user": User.from_json,
    "lock": Lock.from_json,
    "access_request": AccessRequest.from_json,
    "node": Server.from_json,
    "proxy": Server.from_json,
}
"""The kinds that can be kept."""

SERVERS = ("node", "proxy")
REMOVABLE = (*SERVERS, "role", "user", "lock", "access_request")
"""The kinds of which one can be removed while the cluster goes on."""
GRANTING = ("role", "access_request")
"""The kinds by which somebody may do something."""


def read(resource: object) -> tuple[str, str, Resource]:
    """Kind, name and value of a resource's JSON.

    :raises TeleportError: it cannot be read, or is of a kind that is not kept.
    """
    fields = Fields(resource, "resource")
    kind = fields.text("kind", max_chars=64)
    if kind not in READERS:
        raise NotFound(f"The kind {kind!r} is not kept.")
    value = READERS[kind](resource)
    name = fields.child("metadata").text("name", max_chars=255)
    return kind, f"{value.kind}/{name}" if isinstance(value, PublicAuthority) else name, value


def lasting(value: Resource) -> Resource:
    """What of a resource is true for longer than auth is heard: of a server's presence, no more than that it left."""
    if not isinstance(value, Server):
        return value
    gone = value.presence.state is State.OFFLINE
    return evolve(value, presence=Presence(State.OFFLINE if gone else State.UNKNOWN))
