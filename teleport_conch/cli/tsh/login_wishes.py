"""What somebody may ask of a login by flags: what cannot be is refused before anything else."""

from __future__ import annotations

import sys
from argparse import Namespace

from teleport_conch.cli.tsh.flags import AGENT_VARIABLE
from teleport_conch.errors import BadParameter

LOCAL = "local"
_YES = ("1", "t", "true", "yes")
_NO = ("0", "f", "false", "no")


def check(arguments: Namespace) -> None:
    """Makes sure that a login can be as it is asked for; says what has no effect.

    :raises BadParameter: it cannot.
    """
    if arguments.auth not in ("", LOCAL):
        raise BadParameter(
            f"Logins by way of the connector {arguments.auth[:64]!a} are not built yet: there is password and code."
            " Leave --auth and TELEPORT_AUTH out, or say: local."
        )
    if arguments.out is None and (arguments.form or arguments.overwrite):
        raise BadParameter("--format and --overwrite are about the file of --out=FILE: give that as well.")
    uses_agent(arguments)
    if arguments.bind_addr:
        sys.stderr.write(
            "Note: --bind-addr and TELEPORT_LOGIN_BIND_ADDR have no effect: they are for logins with a browser, which"
            " are not built yet.\n"
        )


def uses_agent(arguments: Namespace) -> bool:
    """Whether a running ssh-agent is to have the certificates.

    :raises BadParameter: the variable says something else.
    """
    said = arguments.agent.lower()
    if said in _NO:
        return False
    if said in ("", *_YES):
        return True
    raise BadParameter(f"{AGENT_VARIABLE} is true or false, and not {said[:32]!a}.")


def repeated(arguments: Namespace) -> list[str]:
    """The flags by which another ``tsh login`` asks for the same."""
    words = []
    for name in ("proxy", "user", "cluster", "ca_pin", "auth", "bind_addr"):
        value = getattr(arguments, name)
        words += [f"--{name.replace('_', '-')}={value}"] if value else []
    words += [f"--ttl={round(arguments.ttl)}s"] if arguments.ttl else []
    words += [f"--{'' if uses_agent(arguments) else 'no-'}use-local-ssh-agent"] if arguments.agent else []
    words += ["--insecure"] if arguments.insecure else []
    words += ["--skip-version-check"] if arguments.skip_version_check else []
    return words
