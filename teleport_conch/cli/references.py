"""References to resources, as ``tctl get`` and ``tctl rm`` take them: ``kind`` or ``kind/name``."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Sequence

from attrs import frozen

#: What can be had, by Teleport's names.
KINDS = (
    *("user", "role", "lock", "access_request", "node", "proxy", "token"),
    *("cert_authority", "cluster_config", "cluster_auth_preference", "cluster_name", "session", "ssh_session"),
)
#: In place of a kind: what ``tctl create`` makes again elsewhere, in an order in which it can.
ALL = "all"
IN_ALL = ("role", "user", "lock", "cluster_config", "cluster_auth_preference")
#: Of these, what can be removed.
REMOVABLE = ("user", "role", "lock", "access_request", "node", "proxy", "token", "session")
#: Of these, what can be edited.
EDITABLE = ("user", "role", "lock", "token", "cluster_config", "cluster_auth_preference")
#: Of these, what there is one of, and what that one is called.
SINGLE = {"cluster_config": "cluster-config", "cluster_auth_preference": "cluster-auth-preference"}

_SHORTCUTS = {
    "users": "user",
    "roles": "role",
    "locks": "lock",
    "access_requests": "access_request",
    "nodes": "node",
    "proxies": "proxy",
    "tokens": "token",
    "ca": "cert_authority",
    "cas": "cert_authority",
    "cert_authorities": "cert_authority",
    "cluster-config": "cluster_config",
    "cap": "cluster_auth_preference",
    "cluster-auth-preference": "cluster_auth_preference",
    "cluster-name": "cluster_name",
    "sessions": "session",
    "ssh_sessions": "ssh_session",
}
# What Teleport has and this program does not have yet, with its shortcuts.
_NOT_BUILT = frozenset(
    (
        *("namespace", "namespaces", "ns", "auth", "auth_server", "connector"),
        *("connectors", "github", "oidc", "saml", "rts", "reverse_tunnel", "reverse_tunnels", "tunnel", "tc"),
        *("cluster", "clusters", "trusted_cluster", "rc", "rcs", "remote_cluster"),
        *("sem", "sems", "semaphore"),
    )
)


@frozen
class Reference:
    """One resource of a kind, or all of them where ``name`` is empty."""

    kind: str
    name: str = ""


def parse_references(text: str) -> Sequence[Reference]:
    """References with commas between them, of which one may be ``all``."""
    return [Reference(ALL) if part.strip().lower() == ALL else parse_reference(part) for part in text.split(",")]


def parse_reference(text: str) -> Reference:
    """:raises ArgumentTypeError: there is no such kind, or not yet."""
    kind, _, name = text.strip().partition("/")
    kind = _SHORTCUTS.get(kind.lower(), kind.lower())
    if kind in _NOT_BUILT:
        raise ArgumentTypeError(f"resources of type '{kind}' are not built yet; there are {', '.join(KINDS)}")
    if kind not in KINDS:
        raise ArgumentTypeError(f"there are no resources of type '{kind[:64]}'; there are {', '.join(KINDS)}")
    return Reference(kind, name)
