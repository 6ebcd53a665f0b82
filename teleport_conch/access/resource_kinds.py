"""The kinds of resources that rules of roles may name: those of this program, and those of Teleport besides."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from teleport_conch.access.builtin import SYSTEM_ROLES, USER_ROLES
from teleport_conch.access.labels import ANY
from teleport_conch.access.roles import Role
from teleport_conch.errors import BadParameter

TELEPORTS = frozenset(
    {
        *("auth_connector", "connectors", "github", "github_request", "oidc", "oidc_request", "saml", "saml_request"),
        *("remote_cluster", "reverse_tunnel", "trusted_cluster", "tunnel", "tunnel_connection", "kube_service"),
        *("identity", "key_pair", "license", "namespace", "plugin_data", "state", "static_tokens"),
        *("reset_password_token", "user_token", "web_session"),
    }
)
"""Kinds that roles of Teleport's name, so that these can be taken as they are. Nothing here asks about them."""


def _named() -> Iterator[str]:
    for role in (*USER_ROLES.values(), *SYSTEM_ROLES.values()):
        for rule in (*role.allow.rules, *role.deny.rules):
            yield from rule.resources


KINDS = frozenset(_named()) - {ANY}
"""Kinds that some route asks about; the built-in roles have all of them."""


def check_kinds(role: Role) -> None:
    """Refuses a rule about what does not exist: of a misspelt denial nobody would notice that it denies nothing.

    Only what somebody writes is checked. What is stored may come from a newer auth server, and has to be read.

    :raises BadParameter: with the place, and the kind that may have been meant.
    """
    for part, conditions in (("allow", role.allow), ("deny", role.deny)):
        for at, rule in enumerate(conditions.rules):
            for kind in rule.resources:
                if kind not in KINDS | TELEPORTS | {ANY}:
                    near = get_close_matches(kind[:64], KINDS | TELEPORTS, 1)
                    meant = f"did you mean {near[0]}?" if near else "'tctl get role/admin' shows most of them."
                    raise BadParameter(f"role.spec.{part}.rules[{at}].resources: {kind[:64]!a} is no kind; {meant}")
