"""``tsh proxy``: what an ssh_config of ``tsh config`` runs as ProxyCommand, and before it."""

from __future__ import annotations

import sys
from argparse import Namespace

from teleport_conch.cli.tsh import destination as destinations
from teleport_conch.cli.tsh import openssh, places
from teleport_conch.cli.tsh.session import current_login, current_profile
from teleport_conch.cli.tsh.ssh_config import ALIAS
from teleport_conch.cli.tsh.words import config_path
from teleport_conch.client.profiles import Home, Profile
from teleport_conch.errors import BadParameter


def login(arguments: Namespace) -> None:
    """What ``Match exec`` runs: OpenSSH reads the certificate when it has started the ProxyCommand, and not later."""
    if arguments.identity is None:
        current_profile(arguments)
        return
    from teleport_conch.cli.tsh import identity

    identity.lay_beside(arguments.identity, identity.login_in(arguments))


def ssh(arguments: Namespace) -> None:
    """The command: stdin and stdout are the connection. Who has to log in again is asked on the terminal."""
    wanted = destinations.parse(arguments.destination, with_port=True)
    if wanted.labels:
        raise BadParameter("Name one node: a connection has one other end.")
    program = openssh.find("ssh")
    if program is None:
        from teleport_conch.cli.tsh.own_client import splice  # loads an SSH engine

        sys.exit(splice(current_login(arguments, by_ssh=True), wanted))
    where = f"[{wanted.host}]:{wanted.port or 3022}"
    if arguments.identity is None:  # no key is read here: this runs at each connection
        openssh.become(program, _words(places.home(), current_profile(arguments), where))
    found = current_login(arguments, by_ssh=True)
    openssh.go_on(program, arguments, found, lambda home: _words(home, found.profile, where))


def _words(home: Home, profile: Profile, where: str) -> list[str]:
    return ["ssh", "-F", config_path(home, profile), "-W", where, "--", ALIAS]
