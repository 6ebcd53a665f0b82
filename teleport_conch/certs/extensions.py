"""What certificates of ours say beside OpenSSH's fields: Teleport's extensions and their JSON.

=============================  ==========================================================
``teleport-roles``             ``{"version":"v1","roles":["access"]}``
``teleport-traits``            ``{"logins":["root"]}``, a list for each name
``teleport-route-to-cluster``  the cluster that the user chose
``teleport-active-requests``   ``{"access_requests":["<uuid>"]}``
``x-teleport-role``            of a host: ``Node``, ``Proxy``, ``Auth`` or ``Admin``
``x-teleport-authority``       of a host: the cluster's name
=============================  ==========================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import CertificateMalformed

ROLES = "teleport-roles"
TRAITS = "teleport-traits"
ROUTE_TO_CLUSTER = "teleport-route-to-cluster"
ACTIVE_REQUESTS = "teleport-active-requests"
HOST_ROLE = "x-teleport-role"
AUTHORITY = "x-teleport-authority"

PERMIT_PTY = "permit-pty"
PERMIT_PORT_FORWARDING = "permit-port-forwarding"
PERMIT_AGENT_FORWARDING = "permit-agent-forwarding"
PERMIT_X11_FORWARDING = "permit-X11-forwarding"

Traits = Mapping[str, tuple[str, ...]]

_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def write_roles(roles: Sequence[str]) -> str:
    return _compact({"version": "v1", "roles": list(roles)})


def write_traits(traits: Mapping[str, Sequence[str]]) -> str:
    return _compact({name: list(values) for name, values in sorted(traits.items())})


def write_requests(ids: Sequence[str]) -> str:
    return _compact({"access_requests": list(ids)})


def says_roles(certificate: SSHCertificate) -> bool:
    """Whether it speaks of roles, if only to say that there are none; one for OpenSSH up to 7.1 does not."""
    return bool(certificate.extension(ROLES))


def roles_of(certificate: SSHCertificate) -> tuple[str, ...]:
    """The roles that a user certificate names; none where it has no such extension (one made by OpenSSH's tools).

    :raises CertificateMalformed: the extension is not as above. So do the functions below.
    """
    text = certificate.extension(ROLES)
    if not text:
        return ()
    value = _decoded(text, ROLES)
    if not isinstance(value, dict) or value.get("version") != "v1":
        raise CertificateMalformed(f"The extension {ROLES} of the certificate is not of version v1.")
    return _texts(value.get("roles"), ROLES)


def requests_of(certificate: SSHCertificate) -> tuple[str, ...]:
    """The ids of the access requests that lent some of the roles."""
    text = certificate.extension(ACTIVE_REQUESTS)
    if not text:
        return ()
    value = _decoded(text, ACTIVE_REQUESTS)
    if not isinstance(value, dict):
        raise CertificateMalformed(f"The extension {ACTIVE_REQUESTS} of the certificate is not an object.")
    return _texts(value.get("access_requests"), ACTIVE_REQUESTS)


def traits_of(certificate: SSHCertificate) -> dict[str, tuple[str, ...]]:
    """The traits of the user."""
    return read_traits(certificate.extension(TRAITS) or "{}", TRAITS)


def read_traits(text: str, where: str) -> dict[str, tuple[str, ...]]:
    """The traits of their JSON.

    :param where: the field that holds it, for the refusal.
    :raises CertificateMalformed: it is not an object of lists of strings.
    """
    value = _decoded(text, where)
    if not isinstance(value, dict):
        raise CertificateMalformed(f"The traits in {where} of the certificate are not an object.")
    return {str(name): _texts(values, where) for name, values in value.items()}


def _decoded(text: str, where: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        raise CertificateMalformed(f"The field {where} of the certificate is not JSON.") from None
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and _encodable(item) for item in value):
        raise CertificateMalformed(f"The field {where} of the certificate does not hold a list of strings.")
    return tuple(value)


def _encodable(text: str) -> bool:
    """JSON can escape half of a surrogate pair, and UTF-8 cannot hold one."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
