"""Critical options and extensions of SSH certificates: which are known, what form they have, and what they forbid.

The names and meanings are those of OpenSSH's PROTOCOL.certkeys, together with Teleport's extensions. An unknown
critical option is a reason to refuse a certificate; an unknown extension is ignored.
"""

from __future__ import annotations

import ipaddress

from teleport_conch import wire
from teleport_conch.certs import extensions
from teleport_conch.certs.certificate import CertificateType, SSHCertificate, unwrap
from teleport_conch.errors import (
    CertificateCriticalOption,
    CertificateMalformed,
    CertificateSourceAddress,
    EmergencyOnly,
)

FORCE_COMMAND = "force-command"
SOURCE_ADDRESS = "source-address"
VERIFY_REQUIRED = "verify-required"
EMERGENCY = "emergency@teleport-conch"
"""A certificate that was made in advance: nodes take it only while they cannot reach auth. It has no data."""

CRITICAL_OPTIONS = {
    CertificateType.USER: frozenset((FORCE_COMMAND, SOURCE_ADDRESS, VERIFY_REQUIRED, EMERGENCY)),
    CertificateType.HOST: frozenset[str](),
}

_FLAGS = frozenset(
    (
        VERIFY_REQUIRED,
        EMERGENCY,
        extensions.PERMIT_PTY,
        extensions.PERMIT_PORT_FORWARDING,
        extensions.PERMIT_AGENT_FORWARDING,
        "permit-X11-forwarding",
        "permit-user-rc",
        "no-touch-required",
    )
)
_VALUES = frozenset(
    (
        FORCE_COMMAND,
        SOURCE_ADDRESS,
        extensions.ROLES,
        extensions.TRAITS,
        extensions.ROUTE_TO_CLUSTER,
        extensions.HOST_ROLE,
        extensions.AUTHORITY,
    )
)

MAX_NETWORKS = 256

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_options(certificate: SSHCertificate) -> None:
    """That every critical option is known, and that all that is known has its form.

    :raises CertificateCriticalOption: a critical option is unknown or malformed.
    :raises CertificateMalformed: a known extension is malformed.
    """
    for name, data in certificate.critical_options:
        check_critical_option(certificate.type, name, data)
    for name, data in certificate.extensions:
        if not _well_formed(name, data):
            raise CertificateMalformed(f"The extension {name} of the certificate is malformed.")


def check_critical_option(type_: CertificateType, name: str, data: bytes) -> None:
    """That a certificate of this type may have this option, with this data.

    :raises CertificateCriticalOption: it may not.
    """
    if name not in CRITICAL_OPTIONS[type_]:
        shown = name[:64].encode("unicode_escape").decode("ascii")
        raise CertificateCriticalOption(f"The certificate has the critical option '{shown}', which is not known here.")
    if not _well_formed(name, data):
        raise CertificateCriticalOption(f"The critical option {name} of the certificate is malformed.")
    if name == SOURCE_ADDRESS:
        networks(unwrap(data))


def _well_formed(name: str, data: bytes) -> bool:
    """A flag has no data; a value is one text that is not empty; what is unknown may be anything."""
    if name in _FLAGS:
        return data == b""
    if name not in _VALUES:
        return True
    try:
        return unwrap(data) != ""
    except wire.WireError:
        return False


def is_emergency(certificate: SSHCertificate) -> bool:
    """Whether the certificate was made in advance, for the time when there is no other."""
    return certificate.critical_option(EMERGENCY) is not None


def check_emergency(certificate: SSHCertificate, is_one: bool) -> None:
    """That a certificate for emergencies is used in one, and from the addresses that it has to name.

    :param is_one: whether this is an emergency.
    :raises EmergencyOnly: it is not.
    :raises CertificateSourceAddress: the certificate names no addresses.
    """
    if not is_emergency(certificate):
        return
    if not is_one:
        raise EmergencyOnly(
            "This is an emergency certificate: a node takes it only while it cannot reach the auth server. Log in as on"
            " any other day."
        )
    if certificate.critical_option(SOURCE_ADDRESS) is None:
        raise CertificateSourceAddress("An emergency certificate has to say from which addresses it may be used.")


def check_source_address(certificate: SSHCertificate, address: str | None) -> None:
    """That the certificate may be used from ``address``; None, or what is no IP address, may use an unlimited one only.

    An IPv4 address that a dual-stack socket shows as ``::ffff:a.b.c.d`` is taken for what it is.

    :raises CertificateSourceAddress: it may not.
    :raises CertificateCriticalOption: the list of networks is malformed.
    """
    listed = certificate.critical_option(SOURCE_ADDRESS)
    if listed is not None:
        check_listed(listed, address)


def check_listed(listed: str, address: str | None) -> None:
    """The same for the list of networks in a certificate.

    :raises CertificateSourceAddress: ``address`` is in none of them.
    :raises CertificateCriticalOption: the list is malformed.
    """
    allowed = networks(listed)
    try:
        client = ipaddress.ip_address(address or "")
    except ValueError:
        raise CertificateSourceAddress(
            "The certificate may only be used from certain addresses, and the client's is not known."
        ) from None
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    if not any(client in network for network in allowed):
        raise CertificateSourceAddress(f"The certificate may not be used from the address {client}.")


def networks(listed: str) -> tuple[Network, ...]:
    """The networks of a ``source-address`` option: addresses and CIDR blocks with commas between them.

    :raises CertificateCriticalOption: one of them is not of that form, or there are none.
    """
    items = listed.split(",")
    if len(items) > MAX_NETWORKS:
        raise CertificateCriticalOption(f"The certificate lists more than {MAX_NETWORKS} source addresses.")
    return tuple(map(_network, items))


def _network(item: str) -> Network:
    _, slash, prefix = item.partition("/")
    try:
        # Without this, ipaddress would take a netmask or a wildcard mask as well, which no other reader does.
        if slash and not (prefix.isascii() and prefix.isdigit()):
            raise ValueError(prefix)
        return ipaddress.ip_network(item, strict=True)
    except ValueError:
        shown = item[:64].encode("unicode_escape").decode("ascii")
        raise CertificateCriticalOption(
            f"The certificate's list of source addresses holds '{shown}', which is no address or CIDR block."
        ) from None
