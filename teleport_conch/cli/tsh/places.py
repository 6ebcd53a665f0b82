"""Where the files are, and which proxy a command line means."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from teleport_conch.client.profiles import Home, Profile, host_name
from teleport_conch.config.addresses import Address
from teleport_conch.errors import BadParameter, NotFound

WEB_PORT = 3080
SSH_PORT = 3023


def home(environment: Mapping[str, str] = os.environ) -> Home:
    """The folder ``~/.tsh``, unless ``TELEPORT_HOME`` names another one.

    :raises UnsafePath: others decide what is in it.
    """
    found = Home(Path(environment.get("TELEPORT_HOME") or "~/.tsh").expanduser())
    found.check()
    return found


@frozen
class ProxyAddress:
    """What ``--proxy=host[:web[,ssh]]`` says. A port that it does not name is 0."""

    host: str
    web_port: int = 0
    ssh_port: int = 0

    @property
    def web(self) -> str:
        """``host:port`` of HTTPS."""
        return str(Address(self.host, self.web_port or WEB_PORT))

    def leads_to(self, profile: Profile) -> bool:
        """Whether the profile is that of this proxy: by its host, and by the ports that were named."""
        return (
            self.host == profile.proxy_host
            and self.web_port in (0, _port(profile.web_proxy_addr))
            and self.ssh_port in (0, _port(profile.ssh_proxy_addr))
        )

    def ssh(self, told: str, listening: str) -> str:
        """``host:port`` of SSH: what was typed, else what the proxy told, else the port on which it says it listens."""
        if self.ssh_port or not told:
            port = self.ssh_port or _port(listening) or SSH_PORT
            return str(Address(self.host, port))
        return told


def parse_proxy(text: str) -> ProxyAddress:
    """Reads ``host``, ``host:3080``, ``host:3080,3023`` and ``host:,3023``; an IPv6 address stands in brackets.

    :raises BadParameter: anything else.
    """
    host, ports = _split(text.removeprefix("https://").rstrip("/"))
    web, _, ssh = ports.partition(",")
    try:
        return ProxyAddress(host_name(host), *(int(port) if port else 0 for port in (web, ssh)))
    except ValueError:
        raise _not_a_proxy(text) from None


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise _not_a_proxy(text)
        return host, rest[1:]
    host, _, ports = text.partition(":")
    if not all(each.isascii() and each.isdigit() and int(each) < 1 << 16 for each in ports.split(",", 1) if each):
        raise _not_a_proxy(text)
    return host, ports


def _not_a_proxy(text: str) -> BadParameter:
    return BadParameter(f"{text[:128]!a} is not the address of a proxy: write --proxy=proxy.example.com[:3080[,3023]].")


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0


def chosen_profile(arguments: Namespace, where: Home) -> Profile:
    """The profile that a command line means: that of ``--proxy``, or the current one.

    :raises NotFound: nobody is logged in there.
    :raises BadParameter: somebody else is, or with another cluster.
    """
    proxy = parse_proxy(arguments.proxy) if arguments.proxy else None
    profile = where.profile(proxy.host if proxy else "")
    if proxy and not proxy.leads_to(profile):
        raise NotFound(
            f"{profile.user} is logged in at {_ways(profile)}, and not at {arguments.proxy[:128]}. Log in with:"
            f" tsh login --proxy={arguments.proxy[:128]}"
        )
    if arguments.user and arguments.user != profile.user:
        raise BadParameter(
            f"{profile.user} is logged in at {profile.proxy_host}, and not {arguments.user[:64]}. Log in with:"
            f" tsh login --proxy={profile.web_proxy_addr.removesuffix(f':{WEB_PORT}')} --user={arguments.user[:64]}"
        )
    if arguments.cluster and arguments.cluster != profile.cluster:
        raise BadParameter(
            f"{profile.proxy_host} leads to {profile.cluster}, and to no cluster {arguments.cluster[:64]!a}."
        )
    return profile


def _ways(profile: Profile) -> str:
    """Its proxy as ``--proxy`` takes it."""
    return f"{profile.web_proxy_addr},{_port(profile.ssh_proxy_addr)}"


def is_meant(arguments: Namespace, profile: Profile) -> bool:
    """Whether a profile is one of those that a command line names; without a name, all are."""
    return (
        (not arguments.proxy or parse_proxy(arguments.proxy).leads_to(profile))
        and arguments.user in ("", profile.user)
        and arguments.cluster in ("", profile.cluster)
    )
