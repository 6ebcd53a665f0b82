"""Hosts that may be dialled although no node is registered there: those that the configuration names, and no others."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from attrs import define

from teleport_conch.errors import AccessDenied, NotFound

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Resolver(Protocol):
    """Looks names up."""

    async def addresses(self, host: str) -> Sequence[str]:
        """The IP addresses of ``host``, none where it has none."""


@define
class OutsideHosts:
    """The rule of ``proxy_service.unregistered_hosts``: networks, and exact names."""

    rules: Sequence[str]
    resolver: Resolver

    @property
    def any_allowed(self) -> bool:
        return bool(self.rules)

    async def resolve(self, host: str, port: int) -> str:
        """The address to dial for ``host``. It is looked up once, and what is dialled is what was checked.

        :raises NotFound: it has no address.
        :raises AccessDenied: the configuration does not allow it.
        """
        found = await self.resolver.addresses(host)
        if not found:
            raise NotFound(f'no node is called "{host}", and no host either')
        if host.lower().rstrip(".") in self._names():
            return found[0]
        for address in found:
            if self._in_networks(address):
                return address
        raise AccessDenied(f'"{host}" is no node, and proxy_service.unregistered_hosts does not allow it.')

    def _names(self) -> set[str]:
        return {rule.lower().rstrip(".") for rule in self.rules if _network(rule) is None}

    def _in_networks(self, address: str) -> bool:
        own = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(own, ipaddress.IPv6Address) and own.ipv4_mapped is not None:
            own = own.ipv4_mapped
        return any(network is not None and own in network for network in map(_network, self.rules))


def _network(rule: str) -> Network | None:
    try:
        return ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return None
