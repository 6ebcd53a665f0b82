"""Where the files are, and which proxy a command line means."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from teleport_conch.client.profiles import Home, Profile, host_name
from teleport_conch.config.addresses import Address
from teleport_conch.errors import BadParameter

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
    profile = where.profile(parse_proxy(arguments.proxy).host if arguments.proxy else "")
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
