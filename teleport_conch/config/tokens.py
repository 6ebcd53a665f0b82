"""Static join tokens: ``role[,role]:value`` or ``role[,role]:/absolute/path``."""

from __future__ import annotations

from attrs import frozen

from teleport_conch.config.secret import Secret, parse_token

#: What a join token may let in, in the order in which it is shown.
JOIN_ROLES = ("node", "proxy", "auth")


@frozen
class StaticToken:
    """A token of the configuration: it never expires, and is used any number of times.

    :ivar roles: some of :data:`JOIN_ROLES`.
    :ivar value: the token, or the path of its file; :func:`~teleport_conch.config.secret.read_token` answers the token.
    :ivar created_by: who is shown as having made it.
    """

    roles: tuple[str, ...]
    value: Secret
    created_by: str = "configuration"


def parse_static_token(text: str) -> StaticToken:
    """:raises ValueError: with a sentence that does not repeat the token."""
    roles, colon, value = text.partition(":")
    if not colon or not value:
        raise ValueError("invalid static token spec: write role[,role]:token or role[,role]:/absolute/path")
    return StaticToken(parse_roles(roles), parse_token(value))


def parse_roles(text: str) -> tuple[str, ...]:
    """The roles of a comma list, each once.

    :raises ValueError: with a sentence. What is no role is not repeated: it may be a token whose role was forgotten.
    """
    roles = tuple(dict.fromkeys(role.strip().lower() for role in text.split(",")))
    if "trusted_cluster" in roles:
        raise ValueError("the token role trusted_cluster is not built yet: clusters do not trust one another")
    if not set(roles) <= set(JOIN_ROLES):
        raise ValueError(f"invalid static token spec: the roles before the colon are {', '.join(JOIN_ROLES)}")
    return roles
