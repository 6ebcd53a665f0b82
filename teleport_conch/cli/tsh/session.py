"""A login that is still good: the one that there is, or a new one where that has ended."""

from __future__ import annotations

import sys
import time
from argparse import Namespace

from teleport_conch.cli.tsh import places
from teleport_conch.client.profiles import Home, Login, Profile
from teleport_conch.errors import NotFound

MARGIN_S = 5.0
"""A certificate that ends sooner is not worth beginning with, in seconds."""


def current_login(arguments: Namespace, home: Home) -> Login:
    """The login that a command line means; whose certificates have ended is asked to log in again.

    :raises TeleportError: there is none, and it cannot be made.
    """
    return home.login(current_profile(arguments, home))


def current_profile(arguments: Namespace, home: Home) -> Profile:
    """The same, for who needs no more than to know that it is good."""
    if _is_good(arguments, home):
        return places.chosen_profile(arguments, home)
    if not arguments.proxy:
        places.chosen_profile(arguments, home)  # whose refusal says what to do
    again_by_itself(arguments, home)
    return places.chosen_profile(arguments, home)


def _is_good(arguments: Namespace, home: Home) -> bool:
    try:
        certificate = home.shown(places.chosen_profile(arguments, home))
    except NotFound:
        return False
    return certificate.valid_before > time.time() + MARGIN_S


def again_by_itself(arguments: Namespace, home: Home) -> None:
    """Logs in, in a process of its own: this one's reactor is needed for what comes then, and runs once only."""
    import subprocess

    words = [sys.executable, "-m", "teleport_conch.cli.tsh.main", "login"]
    for name in ("proxy", "user", "cluster", "ca_pin"):
        value = getattr(arguments, name)
        words += [f"--{name.replace('_', '-')}={value}"] if value else []
    words += ["--insecure"] if arguments.insecure else []
    sys.stderr.write("The certificates have expired, or there are none; log in.\n")
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
