"""``tsh ssh --local``: a command on this computer, while the forwards to a node stand."""

from __future__ import annotations

import shutil
import subprocess
from argparse import Namespace

from teleport_conch.cli.tsh import child, openssh
from teleport_conch.cli.tsh.words import command_of, config_path, openssh_words
from teleport_conch.client.profiles import Login
from teleport_conch.errors import BadParameter, NotFound

ENDING_S = 10.0
"""How long OpenSSH may take to end a connection, in seconds."""


def check(arguments: Namespace) -> None:
    """Makes sure that there is a command that can be run.

    :raises BadParameter: there is none, or nothing is to be run.
    :raises NotFound: there is no such program.
    """
    words = command_of(arguments)
    if not words or arguments.no_command:
        raise BadParameter("--local runs a COMMAND on this computer: give one, and leave -N out.")
    if shutil.which(words[0]) is None:
        raise NotFound(f"There is no program {words[0][:128]!a} here. No shell reads it; for that, write: sh -c '...'")


def run(program: str, login: Login, arguments: Namespace, account: str, host: str) -> int:
    """With OpenSSH's client, which goes into the background once its forwards stand; answers the command's status."""
    words = command_of(arguments)
    with openssh.files_of(arguments, login) as home, child.private_folder() as folder:
        control = folder / "control"
        more = ["-f", "-N", "-M", "-S", str(control), "-o", "ExitOnForwardFailure=yes", "-o", "ControlPersist=no"]
        more += [] if _names_an_ipv6(arguments) else ["-o", "AddressFamily=inet"]
        ending = ["ssh", "-F", config_path(home, login.profile), "-S", str(control), "-O", "exit", "--", host]
        try:
            return child.run(program, openssh_words(home, login, arguments, account, host, more)) or child.run(
                words[0], words
            )
        finally:  # it has ended already where nobody is there to be told
            subprocess.run(ending, executable=program, stderr=subprocess.DEVNULL, timeout=ENDING_S, check=False)
            control.unlink(missing_ok=True)  # which OpenSSH does as well, by and by


def _names_an_ipv6(arguments: Namespace) -> bool:
    """A port without an address is one of 127.0.0.1. On ::1 as well, OpenSSH is content with one of the two, and the
    command might speak with whoever has the other.
    """
    return any("[" in each for each in (*arguments.L, *arguments.D))
