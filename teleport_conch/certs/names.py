"""The names that a certificate of ours may carry. What is refused here is signed nowhere."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from teleport_conch.errors import BadParameter, PrincipalForbidden

SERVER_NAME = "teleport.cluster.local"
"""What clients of the API verify, whatever address they dial; only auth servers get it in a certificate."""
PROXY_SERVER_NAME = f"proxy.{SERVER_NAME}"
"""What a client verifies that knows the cluster's authority, and nothing of a proxy's web certificate."""
HOST_ROLES = ("Admin", "Auth", "Node", "Proxy")
"""The system roles that a host certificate may have."""

MAX_NAME_BYTES = 64
"""Of a user, login or role: X.509 holds no longer common name (RFC 5280, ub-common-name)."""
MAX_TRAIT_CHARS = 1024
MAX_HOST_NAME_CHARS = 253
MAX_CLUSTER_NAME_CHARS = 200
"""So that ``<uuid>.<cluster>`` is still a host name."""

_NO_LOGIN = "-teleport-nologin-"
_SYSTEM_ROLES = frozenset(
    (
        *("admin", "auth", "node", "proxy", "nop", "web", "signup"),
        *("provision", "provisiontoken", "trusted_cluster", "remoteproxy", "instance"),
    )
)
_BUILT_IN_USER_ROLES = frozenset(("admin",))
_FORBIDDEN = re.compile(r"[\s,*?/%]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def no_login_principal(unique: UUID) -> str:
    """The one principal of a user without logins: a certificate needs one, and no account is called that."""
    return f"{_NO_LOGIN}{unique}"


def user_name(name: str) -> str:
    """``name``, once it is one that a certificate may carry.

    :raises PrincipalForbidden: it is not; the sentence says why. So do the functions below.
    """
    return _plain(name, "user name")


def login(name: str) -> str:
    """An account of an operating system."""
    return _plain(name, "login")


def logins(names: Sequence[str]) -> tuple[str, ...]:
    """The principals of a user certificate: at least one login, or :func:`no_login_principal` alone."""
    if not names:
        raise PrincipalForbidden("A certificate without principals is never signed: name at least one login.")
    if len(names) == 1 and names[0].startswith(_NO_LOGIN):
        host_uuid(names[0].removeprefix(_NO_LOGIN))
        return (names[0],)
    return tuple(dict.fromkeys(login(name) for name in names))


def role(name: str) -> str:
    """A role of a user; the names of system roles are not among them, ``admin`` excepted, which is built in."""
    _plain(name, "role")
    if name.lower() in _SYSTEM_ROLES and name not in _BUILT_IN_USER_ROLES:
        raise PrincipalForbidden(f"The role name {name!r} is reserved for the services of the cluster.")
    return name


def traits(values: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """Traits whose names and values are short, and hold nothing that cannot be printed."""
    for text in (*values, *(value for each in values.values() for value in each)):
        if len(text) > MAX_TRAIT_CHARS or not text.isprintable():
            raise PrincipalForbidden(
                f"The traits of a user are printable texts of at most {MAX_TRAIT_CHARS} characters each."
            )
    return values


def _plain(name: str, what: str) -> str:
    if not name or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise PrincipalForbidden(f"A {what} has 1 to {MAX_NAME_BYTES} bytes.")
    if not name.isprintable() or _FORBIDDEN.search(name):
        raise PrincipalForbidden(
            f"The {what} '{_escaped(name)}' holds a comma, a wildcard, a slash, a percent sign, white space or a "
            "character that cannot be printed."
        )
    if name.startswith("-") or name in (".", ".."):
        raise PrincipalForbidden(f"The {what} '{_escaped(name)}' begins with a hyphen, or means a folder.")
    _not_reserved(name.lower())
    return name


def _escaped(name: str) -> str:
    return name.encode("unicode_escape").decode("ascii")


def _not_reserved(name: str) -> None:
    if name == SERVER_NAME or name.endswith("." + SERVER_NAME):
        raise PrincipalForbidden(f"The name {name!r} is reserved for the auth servers of the cluster.")


def host_name(name: str) -> str:
    """A host name or an address in its usual form: lower case, no trailing dot, an IPv6 address compressed."""
    address = _address(name)
    if address is not None:
        return address
    usual = name.lower().removesuffix(".")
    labels = usual.split(".")
    # Lower case makes ASCII of some letters that are not, such as the sign for kelvin.
    if not name.isascii() or len(usual) > MAX_HOST_NAME_CHARS or not all(map(_LABEL.fullmatch, labels)):
        shown = name[:MAX_HOST_NAME_CHARS].encode("unicode_escape").decode("ascii")
        raise PrincipalForbidden(
            f"'{shown}' is not a host name: letters, digits, hyphens and underscores, in parts of at most 63 with dots "
            "between them."
        )
    if len(labels) > 1 and labels[-1].isdigit():
        raise PrincipalForbidden(f"{usual!r} is neither an address nor a host name.")
    _not_reserved(usual)
    return usual


def _address(name: str) -> str | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    if address.is_unspecified or address.is_multicast or "%" in name:
        raise PrincipalForbidden(f"The address {name} is not one that a host has for itself.")
    return str(address)


def cluster_name(name: str) -> str:
    """A cluster's name in its usual form, which is that of a host name."""
    usual = host_name(name)
    if _address(usual) is not None or len(usual) > MAX_CLUSTER_NAME_CHARS:
        raise PrincipalForbidden(
            f"A cluster is called like a host, not like an address, in at most {MAX_CLUSTER_NAME_CHARS} characters."
        )
    return usual


def host_uuid(text: str) -> str:
    """A UUID in its usual form: lower case, with hyphens."""
    try:
        unique = str(UUID(text))
    except ValueError:
        unique = ""
    if not unique or unique != text.lower():
        raise BadParameter("A host UUID has the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal digits.")
    return unique


def host_role(name: str) -> str:
    if name not in HOST_ROLES:
        raise BadParameter(f"A host certificate has the role {', '.join(HOST_ROLES)}, and not {name[:64]!r}.")
    return name


def host_principals(unique: str, node_name: str, cluster: str, others: Sequence[str]) -> tuple[str, ...]:
    """What a host may be called: UUID and nodename, each with and without the cluster, and then ``others``."""
    node = host_name(node_name)
    own = [f"{unique}.{cluster}", unique]
    own += [node] if _address(node) is not None else [host_name(f"{node}.{cluster}"), node]
    return tuple(dict.fromkeys([*own, *map(host_name, others)]))
