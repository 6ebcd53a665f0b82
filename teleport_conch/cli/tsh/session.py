"""A login that is still good: that of an identity file, the one that there is, or a new one where that has ended."""

from __future__ import annotations

import sys
import time
from argparse import Namespace

from teleport_conch.cli.tsh import login_wishes, places
from teleport_conch.client.profiles import Home, Login, Profile
from teleport_conch.errors import NotFound, TeleportError

MARGIN_S = 5.0
"""A certificate that ends sooner is not worth beginning with, in seconds."""


def current_login(arguments: Namespace, by_ssh: bool = False) -> Login:
    """The login that a command line means; whose certificates have ended is asked to log in again.

    :param by_ssh: the SSH address of the proxy is needed, too.
    :raises TeleportError: there is none, and it cannot be made.
    """
    if arguments.identity is not None:
        from teleport_conch.cli.tsh import identity

        found = identity.login_in(arguments)
        return identity.with_ssh_address(arguments, found) if by_ssh else found
    return places.home().login(current_profile(arguments))


def is_logged_in(arguments: Namespace) -> bool:
    """Whether :func:`current_login` would ask nobody anything."""
    try:
        return arguments.identity is not None or _is_good(arguments, places.home())
    except TeleportError:
        return False


def current_profile(arguments: Namespace) -> Profile:
    """That of a login in the folder, for who needs no more than to know that it is good."""
    home = places.home()
    if _is_good(arguments, home):
        return places.chosen_profile(arguments, home)
    if not arguments.proxy:
        places.chosen_profile(arguments, home)  # whose refusal says what to do
    again_by_itself(arguments)
    return places.chosen_profile(arguments, home)


def _is_good(arguments: Namespace, home: Home) -> bool:
    try:
        certificate = home.shown(places.chosen_profile(arguments, home))
    except NotFound:
        return False
    return certificate.valid_before > time.time() + MARGIN_S


def again_by_itself(arguments: Namespace) -> None:
    """Logs in, in a process of its own: this one's reactor is needed for what comes then, and runs once only."""
    import subprocess

    words = [sys.executable, "-m", "teleport_conch.cli.tsh.main", "login", *login_wishes.repeated(arguments)]
    sys.stderr.write("The certificates have expired, or there are none; log in.\n")
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
