"""``tsh clusters``: the clusters that can be reached, and whether they answer."""

from __future__ import annotations

from argparse import Namespace

from twisted.internet.interfaces import IReactorTime

from teleport_conch.cli.table import table
from teleport_conch.cli.tsh.calls import with_auth
from teleport_conch.cli.tsh.session import current_login
from teleport_conch.client.api import AuthClient
from teleport_conch.errors import ConnectionProblem


def clusters(arguments: Namespace) -> None:
    """The command."""
    login = current_login(arguments)

    async def ask(reactor: IReactorTime, client: AuthClient) -> str:
        try:
            await client.ping()
        except ConnectionProblem:
            return "offline"
        return "online"

    row = (login.profile.cluster, with_auth(arguments, login, ask))
    print(f"{' '.join(row)}\n" if arguments.quiet else table(("Cluster Name", "Status"), [row]), end="")
