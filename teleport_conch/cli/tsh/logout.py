"""``tsh logout``: the keys are gone from the disk and from the ssh-agent."""

from __future__ import annotations

from argparse import Namespace

from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh import places
from teleport_conch.client.ssh import agent


def logout(arguments: Namespace) -> None:
    """The command: one proxy where one was named, otherwise all."""
    home = places.home()
    named = bool(arguments.proxy or arguments.user)
    chosen = [places.chosen_profile(arguments, home)] if named else list(home.profiles())
    for profile in chosen:
        agent.forget(profile)
        home.forget(profile)
    if named:
        print(f"Logged out {inert(chosen[0].user)} from {chosen[0].proxy_host}.")
    elif chosen:
        print("Logged out all users from all proxies.")
    else:
        print("Not logged in.")
