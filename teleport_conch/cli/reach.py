"""Where ``tctl`` finds the auth service, and as whom it speaks to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from teleport_conch.certs.identity import HostIdentity, UserIdentity
from teleport_conch.cli.identity_file import read_identity
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.config.addresses import Address, as_ip
from teleport_conch.config.loading import load
from teleport_conch.config.settings import Settings
from teleport_conch.errors import StartError, UnsafePath

#: The role of the identity that the auth service leaves for ``tctl`` on its own host.
ADMIN = "Admin"

# Documentation's own network (RFC 5737). Connecting a UDP socket sends nothing; it only looks the route up.
_ELSEWHERE = ("192.0.2.1", 9)


@frozen
class Reach:
    """How to get to the auth service.

    :ivar addresses: ``host:port`` each, to be tried in this order.
    :ivar identity: None on an auth host whose service has never run.
    :ivar settings: of this host, where it is the auth host; None for a cluster that is administered from elsewhere.
    """

    addresses: tuple[str, ...]
    identity: HostIdentity | UserIdentity | None
    settings: Settings | None = None

    def advertised(self) -> tuple[str, ...]:
        """Addresses of the auth service for the command line of a host that is to join."""
        if self.settings is None:
            return self.addresses
        return tuple(map(str, _advertised(self.settings)))


def find(config: Path | None, auth_servers: Sequence[str], identity: Path | None) -> Reach:
    """What the flags mean: with an identity file any cluster, without one the auth service of this host.

    :param auth_servers: ``host:port`` each.
    :raises BadParameter: the identity file cannot be used.
    :raises StartError: the configuration cannot be used, or this is not an auth host.
    """
    given = tuple(auth_servers)
    if identity is None:
        return _local(load(config, {}), given)
    if not given or config is not None:
        given = given or tuple(map(str, load(config, {}).teleport.auth_servers))
    return Reach(given, read_identity(identity))


def _local(settings: Settings, given: tuple[str, ...]) -> Reach:
    if not settings.auth.enabled:
        raise StartError(
            "This host runs no auth service (auth_service.enabled: no), so that tctl has no identity here. Run tctl on"
            " the auth host, or give --identity and --auth-server."
        )
    own = str(Address(_dialled(settings.auth.listen_addr.host), settings.auth.listen_addr.port))
    try:
        identity = IdentityStore(settings.teleport.data_dir, os.urandom).load(ADMIN)
    except UnsafePath as reason:
        raise UnsafePath(f"{reason.sentence} tctl runs as the account that the auth service has, or as root.") from None
    return Reach(given or (own,), identity, settings)


def _dialled(host: str) -> str:
    """Where to dial what listens on ``host``."""
    ip = as_ip(host)
    if ip is None or not ip.is_unspecified:
        return host
    return "127.0.0.1" if ip.version == 4 else "::1"


def _advertised(settings: Settings) -> Sequence[Address]:
    listening = settings.auth.listen_addr
    if settings.auth.public_addr:
        return settings.auth.public_addr
    if settings.teleport.advertise_ip is not None:
        return (Address(settings.teleport.advertise_ip.host, listening.port),)
    ip = as_ip(listening.host)
    if ip is None or not ip.is_unspecified:
        return (listening,)
    return (Address(_own_address(), listening.port),)


def _own_address() -> str:
    """The address that this host has for those elsewhere, or loopback where it has no way there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
