"""``tsh recordings ls``: the recorded sessions that a person may see."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from teleport_conch.cli.forms import as_written
from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh.calls import with_auth
from teleport_conch.cli.tsh.prompts import progress
from teleport_conch.cli.tsh.session import current_login, is_logged_in
from teleport_conch.cli.views import recording_table
from teleport_conch.client.api import AuthClient
from teleport_conch.resources.recording import Recording


def listing(arguments: Namespace) -> None:
    """The command."""
    if arguments.no_login and not is_logged_in(arguments):
        return
    login = current_login(arguments)

    async def ask(reactor: IReactorTime, client: AuthClient) -> Sequence[Recording]:
        with progress("Asking for the recordings ..."):
            return await client.recordings.all(
                from_=arguments.start, to=arguments.end, user=arguments.of, node=arguments.node, limit=arguments.limit
            )

    print(shown(with_auth(arguments, login, ask), arguments.format), end="")


def shown(found: Sequence[Recording], form: str) -> str:
    """What is printed.

    :param form: ``table``, ``json`` or ``names``, which are the ids that ``tsh play`` takes.
    """
    if form == "json":
        return json.dumps(as_written([each.to_json() for each in found]), indent=2) + "\n"
    if form == "names":
        return "".join(f"{inert(each.id)}\n" for each in found)
    return recording_table(found) if found else "No recordings found.\n"
