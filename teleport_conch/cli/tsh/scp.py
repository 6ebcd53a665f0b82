"""``tsh scp``: OpenSSH's ``scp`` with the right files."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from attrs import frozen

from teleport_conch.cli.tsh import destination as destinations
from teleport_conch.cli.tsh import jump, openssh
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.cli.tsh.session import current_login
from teleport_conch.cli.tsh.words import config_path
from teleport_conch.client.profiles import Home, Login
from teleport_conch.errors import BadParameter


@frozen
class Place:
    """One end of a copy; ``on`` is None here."""

    on: Destination | None
    path: str


def scp(arguments: Namespace) -> None:
    """The command."""
    found = [parse_place(each) for each in arguments.paths]
    if len(found) < 2:
        raise BadParameter("Name what to copy, and where to.")
    if not any(place.on for place in found):
        raise BadParameter("Both ends are on this computer: name a node as [LOGIN@]NODE:PATH.")
    login = current_login(arguments, by_ssh=True)
    program = openssh.find("scp")
    if program is None:
        from teleport_conch.cli.tsh.own_scp import run  # loads an SSH engine

        sys.exit(run(login, arguments, [(place.on, place.path) for place in found]))
    openssh.go_on(program, arguments, login, lambda home: words_for(home, login, arguments, found))


def parse_place(text: str) -> Place:
    """Reads ``[[login@]host:]path``; a colon behind a slash belongs to a path, as ``scp`` has it."""
    host, colon, path = text.partition("]:") if text.rpartition("@")[2].startswith("[") else text.partition(":")
    if not colon or "/" in host:
        return Place(None, text)
    on = destinations.parse(host + colon[:-1])
    if on.labels:
        raise BadParameter("Name one node: files are copied from or to one at a time.")
    return Place(on, path)


def words_for(home: Home, login: Login, arguments: Namespace, found: Sequence[Place]) -> list[str]:
    """The command line of OpenSSH's ``scp``."""
    words = ["scp", "-F", config_path(home, login.profile), *jump.options(arguments, home, login.profile)]
    words += ["-r"] if arguments.recursive else []
    words += ["-p"] if arguments.preserve else []
    words += ["-q"] if arguments.quiet else []
    words += ["-P", str(arguments.port)] if arguments.port else []
    return [*words, "--", *(_written(place, login, arguments) for place in found)]


def _written(place: Place, login: Login, arguments: Namespace) -> str:
    if place.on is None:  # with a folder before it, so that no name is taken for a host
        return place.path if "/" in place.path else f"./{place.path}"
    account = place.on.account(arguments.login)
    return f"{account}@{place.on.in_cluster(login.profile.cluster)}:{place.path}"
