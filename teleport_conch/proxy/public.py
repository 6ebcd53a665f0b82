"""Under which addresses the proxy is known: what it listens on, and what people and programs are told."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from teleport_conch.config.addresses import Address, as_ip
from teleport_conch.config.settings import Settings


@frozen
class PublicAddresses:
    """:ivar ssh_port, web_port: that are really listened on, also where any were asked for."""

    _settings: Settings
    ssh_port: int
    web_port: int

    @property
    def ssh(self) -> Address:
        """Where SSH clients find the proxy; auth puts our address for one that means every interface."""
        proxy = self._settings.proxy
        if proxy.ssh_public_addr:
            return proxy.ssh_public_addr[0]
        return Address(self._host(proxy.listen_addr.host), self.ssh_port)

    @property
    def web(self) -> Address:
        """The same for the web port."""
        proxy = self._settings.proxy
        if proxy.public_addr:
            return proxy.public_addr[0]
        return Address(self._advertised(proxy.web_listen_addr.host), self.web_port)

    def _host(self, listening: str) -> str:
        public = self._settings.proxy.public_addr
        return public[0].host if public else self._advertised(listening)

    def _advertised(self, listening: str) -> str:
        advertised = self._settings.teleport.advertise_ip
        return listening if advertised is None else advertised.host

    def hosts(self) -> list[str]:
        """Names, beside the nodename, under which clients look for this proxy."""
        proxy, advertised = self._settings.proxy, self._settings.teleport.advertise_ip
        public = (*proxy.ssh_public_addr, *proxy.public_addr, *proxy.tunnel_public_addr)
        return list(dict.fromkeys([each.host for each in public] + ([advertised.host] if advertised else [])))

    def web_hosts(self) -> Sequence[str]:
        """Names for a web certificate of our own; the canonical one comes first."""
        proxy, advertised = self._settings.proxy, self._settings.teleport.advertise_ip
        listening = as_ip(proxy.web_listen_addr.host)
        named = [each.host for each in proxy.public_addr]
        named += [advertised.host] if advertised else []
        named += [str(listening)] if listening is not None and not listening.is_unspecified else []
        return tuple(dict.fromkeys([*named, self._settings.teleport.nodename]))
