"""Hosts that may be dialled although no node is registered there: those that the configuration names, and no others."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from attrs import define

from teleport_conch.errors import AccessDenied

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
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

    async def resolve(self, host: str) -> str:
        """The address to dial for ``host``, empty where it has none.

        It is looked up once, and what is dialled is what was checked.

        :raises AccessDenied: the configuration does not allow it.
        """
        found = await self.resolver.addresses(host)
        if not found:
            return ""
        named = host.lower().rstrip(".") in self._names()
        for address in map(_plain, found):
            if self._in_networks(address) or (named and not _is_near(address)):
                return str(address)
        if named:
            rule = "which takes a network in proxy_service.unregistered_hosts to be allowed"
            raise AccessDenied(f'"{host}" leads to {found[0]}, {rule}.')
        raise AccessDenied(f'"{host}" is no node, and proxy_service.unregistered_hosts does not allow it.')

    def _names(self) -> set[str]:
        return {rule.lower().rstrip(".") for rule in self.rules if _network(rule) is None}

    def _in_networks(self, address: Address) -> bool:
        return any(network is not None and address in network for network in map(_network, self.rules))


def _plain(text: str) -> Address:
    """The address, and an IPv4 address that is written as IPv6 in its own form."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_near(address: Address) -> bool:
    """Whether it leads to the proxy's own host, or its own link: whoever answers for an allowed name may say so."""
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast


def _network(rule: str) -> Network | None:
    try:
        return ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return None
