"""Joining a cluster: first make sure that the server is the cluster's, and only then show it the token."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_conch.certs import keys
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.client.api import AuthClient
from teleport_conch.client.tls import UnverifiedPolicy, client_options
from teleport_conch.errors import BadParameter, CertificateRefused, ConnectionProblem, PinMismatch
from teleport_conch.resources.joining import JoinAnswer, JoinRequest

#: Certificates that a server may show as those of its authority; rotation needs two.
MAX_AUTHORITIES = 16

_log = Logger()


async def join(
    reactor: IReactorTime,
    addresses: Sequence[str],
    pin: str,
    request: JoinRequest,
    authorities: Sequence[str] = (),
) -> JoinAnswer:
    """Register a host.

    The server is verified by the authority that *pin* names; without a pin by *authorities*; without these by nothing
    that was known before, which is logged as a warning.

    :param addresses: ``host:port`` of each auth server, tried in this order.
    :param pin: ``sha256:<hex>``, or empty.
    :param authorities: PEMs of the host authority, as known from an earlier membership.
    :raises PinMalformed: before anything is sent.
    :raises PinMismatch: the token was not sent.
    :raises JoinRefused: what auth answered; its subclasses say why.
    :raises ConnectionProblem: no auth server was reached.
    """
    trusted = await _trusted(reactor, addresses, pin, authorities)
    client = AuthClient(reactor, addresses, client_options(None, trusted))
    try:
        return await client.register(request)
    finally:
        await client.close()


async def _trusted(
    reactor: IReactorTime, addresses: Sequence[str], pin: str, authorities: Sequence[str]
) -> Sequence[str]:
    if pin:
        with suppress(PinMismatch):
            keys.check_pin(pin, ())  # refuses a malformed pin before anything is sent
        shown = await _shown(reactor, addresses)
        matching = keys.check_pin(pin, [load_certificate_pem(pem) for pem in shown])
        return [pem for pem in shown if load_certificate_pem(pem) == matching]
    if authorities:
        return authorities
    shown = await _shown(reactor, addresses)
    _log.warn(
        "Joining without a CA pin: whoever answers at {addresses} gets the token. Set teleport.ca_pin to what "
        "`tctl status` prints on the auth server.",
        addresses=", ".join(addresses),
    )
    return shown


async def _shown(reactor: IReactorTime, addresses: Sequence[str]) -> Sequence[str]:
    """The authority that whoever answers claims to have."""
    client = AuthClient(reactor, addresses, UnverifiedPolicy())
    try:
        shown = await client.cacert()
    finally:
        await client.close()
    if not 0 < len(shown) <= MAX_AUTHORITIES:
        raise ConnectionProblem(f"The server shows {len(shown)} authorities, where 1 to {MAX_AUTHORITIES} are due.")
    return shown


def identity_of(answer: JoinAnswer, request: JoinRequest, ssh_key: str, tls_key: str) -> HostIdentity:
    """The identity that a host has once auth answered.

    :param ssh_key: the private key in OpenSSH's format, empty where it is kept elsewhere; ``tls_key`` a PEM.
    :raises BadParameter: the answer does not belong to the request.
    """
    try:
        made = HostIdentity(
            host_uuid=request.host_uuid,
            node_name=answer.node_name,
            cluster_name=answer.cluster_name,
            role=request.role,
            ssh_key=ssh_key,
            ssh_certificate=answer.ssh_certificate,
            tls_key=tls_key,
            tls_certificate=answer.tls_certificate,
            authorities=tuple(PublicAuthority.from_json(authority) for authority in answer.authorities),
        )
        checked = HostIdentity.from_json(made.to_json())
    except CertificateRefused as reason:
        raise BadParameter(f"The auth server answered a certificate that is refused: {reason.sentence}") from None
    if checked.host_key != keys.blob_of_line(request.public_ssh_key):
        raise BadParameter("The auth server answered a certificate for another key.")
    return checked
