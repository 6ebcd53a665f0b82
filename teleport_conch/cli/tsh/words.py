"""The command lines of ``ssh``. What comes from elsewhere stands behind ``--``, or belongs to a flag."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from teleport_conch.cli.tsh import jump
from teleport_conch.cli.tsh.options import Options
from teleport_conch.client.profiles import Home, Login, Profile


def openssh_words(
    home: Home, login: Login, arguments: Namespace, account: str, host: str, more: Sequence[str] = ()
) -> list[str]:
    """For OpenSSH's client.

    :param more: flags of ours, which count before those of the person.
    """
    words = ["ssh", "-F", config_path(home, login.profile), *more]
    words += [*jump.options(arguments, home, login.profile), "-l", account]
    words += ["-p", str(arguments.port)] if arguments.port else []
    words += ["-A"] if arguments.forward_agent else []
    words += ["-N"] if arguments.no_command else []
    words += ["-t"] * arguments.tty
    words += [] if arguments.escapes else ["-o", "EscapeChar=none"]
    for flag, values in (("-L", arguments.L), ("-R", arguments.R), ("-D", arguments.D), ("-o", arguments.options)):
        words += [word for value in values for word in (flag, value)]
    return [*words, "--", host, *([] if arguments.local else command_of(arguments))]


def config_path(home: Home, profile: Profile) -> str:
    """The ssh_config that the programs of OpenSSH are given."""
    return str(home.ssh_config(profile).absolute())


def command_of(arguments: Namespace) -> list[str]:
    """What is to be run, without the ``--`` that may stand before it."""
    words: list[str] = arguments.command
    return words[1:] if words[:1] == ["--"] else words


def own_words(login: Login, arguments: Namespace, options: Options, account: str, node: str) -> list[str]:
    """For this program, to run a command on one node."""
    own = [sys.executable, "-m", "teleport_conch.cli.tsh.main", f"--proxy={_proxy(arguments, login)}"]
    own += [f"--identity={Path(arguments.identity).absolute()}"] if arguments.identity is not None else []
    own += [] if arguments.escapes else ["--no-enable-escape-sequences"]
    own += ["ssh"]
    own += ["-J", arguments.jumphost] if arguments.jumphost else []
    own += ["-p", str(arguments.port)] if arguments.port else []
    own += ["-A"] if arguments.forward_agent else []
    own += ["-t"] * arguments.tty
    return [*own, *options.words(), f"{account}@{node}", *command_of(arguments)]


def _proxy(arguments: Namespace, login: Login) -> str:
    return arguments.proxy if arguments.identity is not None else login.profile.web_proxy_addr
