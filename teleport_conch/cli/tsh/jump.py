"""``-J [USER@]HOST[:PORT]``: another name by which the SSH port of the proxy is reached. The proxy it has to be."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from teleport_conch.cli.tsh import destination as destinations
from teleport_conch.cli.tsh import openssh
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.cli.tsh.places import SSH_PORT
from teleport_conch.cli.tsh.ssh_config import through_proxy
from teleport_conch.client.profiles import Home, Profile
from teleport_conch.errors import BadParameter


def jump_host(arguments: Namespace) -> Destination | None:
    """The host that was named, with the port that the proxy usually has; None where none was.

    :raises BadParameter: it is several, or none.
    """
    text: str = arguments.jumphost
    if not text:
        return None
    if "," in text:
        raise BadParameter("Name one jump host: it takes the place of the proxy, and behind that stands the node.")
    if "=" in text:
        raise BadParameter(f"{text[:128]!a} is not a host: write --jumphost=[USER@]HOST[:PORT].")
    found = destinations.parse(text, with_port=True)
    return Destination(found.login, found.host, port=found.port or SSH_PORT)


def options(arguments: Namespace, home: Home, profile: Profile) -> Sequence[str]:
    """What OpenSSH's programs are told of it: the address is another, and the host key is still the proxy's."""
    host = jump_host(arguments)
    if host is None:
        return ()
    proxy = profile.ssh_proxy_addr.rpartition(":")[0].strip("[]")
    told = {"HostName": host.host, "Port": host.port, "HostKeyAlias": proxy}
    told |= {"User": host.login} if host.login else {}
    program = openssh.find("ssh") or "ssh"
    words = [word for key, value in told.items() for word in ("-o", f"{key}={value}")]
    return ("-o", f"ProxyCommand={through_proxy(program, home.ssh_config(profile).absolute(), *words)}")
