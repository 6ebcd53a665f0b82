"""``tsh config``: an ssh_config for OpenSSH, and for whatever runs it."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from pathlib import Path

from teleport_conch.cli.tsh import places
from teleport_conch.cli.tsh.ssh_config import Files, for_people, in_shell
from teleport_conch.client.profiles import Home, Profile
from teleport_conch.errors import BadParameter

_SYSTEMS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


def config(arguments: Namespace) -> None:
    """The command."""
    here = _SYSTEMS.get(sys.platform, "linux")
    if arguments.identity is not None:
        print(_for_identity(arguments, here), end="")
        return
    home = places.home()
    profile = places.chosen_profile(arguments, home)
    print(text(home, profile, here, arguments.system or here, program()), end="")


def _for_identity(arguments: Namespace, here: str) -> str:
    """The same with an identity file, which only this computer has.

    :raises BadParameter: it is for another system.
    """
    from teleport_conch.cli.tsh import identity

    if arguments.system not in (None, here):
        raise BadParameter(f"The identity file {arguments.identity} is on this computer: leave --os out.")
    login = identity.with_ssh_address(arguments, identity.login_in(arguments))
    files = identity.lay_beside(arguments.identity, login)
    return for_people(files, login.profile, program(), f"--identity={in_shell(arguments.identity.absolute())} ")


def text(home: Home, profile: Profile, here: str, system: str, own: str) -> str:
    """What is printed.

    :param here: the system that this runs on; ``system`` is the one that the configuration is for.
    :param own: this program, for a shell of this system.
    """
    if system == here:
        return for_people(Files.of(home, profile), profile, own)
    written = for_people(Files.anywhere(home, profile), profile, "tsh.exe" if system == "windows" else "tsh")
    if system == "windows":  # whose OpenSSH starts a ProxyCommand without a shell, to which ' would be a letter
        return written.replace("'%h:%p'", "%h:%p")
    return written


def program() -> str:
    """How this program is started again, for a shell: the script that was run, or this Python with this module."""
    script = Path(sys.argv[0])
    if script.name == "tsh" and script.exists():
        return in_shell(script.absolute())
    return f"{in_shell(sys.executable)} -m {shlex.quote('teleport_conch.cli.tsh.main')}"
