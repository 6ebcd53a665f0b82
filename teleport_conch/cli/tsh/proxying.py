"""``tsh proxy ssh``: what an ssh_config of ``tsh config`` runs as ProxyCommand."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from teleport_conch.cli.tsh import destination as destinations
from teleport_conch.cli.tsh import openssh, places
from teleport_conch.cli.tsh.session import current_login, current_profile
from teleport_conch.cli.tsh.ssh_config import ALIAS
from teleport_conch.errors import BadParameter


def login(arguments: Namespace) -> None:
    """What ``Match exec`` runs: OpenSSH reads the certificate when it has started the ProxyCommand, and not later."""
    current_profile(arguments, places.home())


def ssh(arguments: Namespace) -> None:
    """The command: stdin and stdout are the connection. Who has to log in again is asked on the terminal."""
    home, wanted = places.home(), destinations.parse(arguments.destination, with_port=True)
    if wanted.labels:
        raise BadParameter("Name one node: a connection has one other end.")
    program = openssh.find("ssh")
    if program is None:
        from teleport_conch.cli.tsh.own_client import splice  # loads an SSH engine

        sys.exit(splice(home, current_login(arguments, home), wanted))
    profile = current_profile(arguments, home)
    where = f"[{wanted.host}]:{wanted.port or 3022}"
    config = str(home.ssh_config(profile).absolute())
    os.execv(program, ["ssh", "-F", config, "-W", where, "--", ALIAS])  # noqa: S606 - there is no shell to want
