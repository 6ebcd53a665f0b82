"""``tsh ls``: the nodes that a person may log in to."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from twisted.internet.interfaces import IReactorTime

from teleport_conch.cli.forms import as_written
from teleport_conch.cli.table import fitted, inert, table, terminal_width
from teleport_conch.cli.tsh.calls import with_auth
from teleport_conch.cli.tsh.destination import parse_labels
from teleport_conch.cli.tsh.prompts import progress
from teleport_conch.cli.tsh.session import current_login, is_logged_in
from teleport_conch.client.api import AuthClient
from teleport_conch.resources.server import Server

LABELS_IN_LINE = 2
"""How many labels stand in one line of the table, as Teleport's has it."""


def listing(arguments: Namespace) -> None:
    """The command."""
    wanted = parse_labels(arguments.labels)
    if arguments.no_login and not is_logged_in(arguments):
        return
    login = current_login(arguments)

    async def ask(reactor: IReactorTime, client: AuthClient) -> Sequence[Server]:
        with progress("Asking for the nodes ..."):
            return await matching(client, wanted, arguments.search)

    nodes = with_auth(arguments, login, ask)
    print(shown(nodes, arguments.format, arguments.verbose, terminal_width(sys.stdout)), end="")


async def matching(client: AuthClient, labels: Mapping[str, str], search: str = "") -> Sequence[Server]:
    """The nodes with all of these labels that somebody may log in to, sorted by their names."""
    found = await client.nodes(labels, search)
    return sorted(found, key=lambda node: (node.hostname, node.name))


def shown(nodes: Sequence[Server], form: str, verbose: bool, width: int | None) -> str:
    """What is printed.

    :param form: ``text``, ``json`` or ``names``.
    :param width: of the terminal, which the table is made to fit.
    """
    if form == "json":
        return json.dumps(as_written([node.to_json() for node in nodes]), indent=2) + "\n"
    if form == "names":
        return "".join(f"{inert(node.hostname)}\n" for node in nodes)
    return _table(nodes, verbose, width, sys.stdout)


def verbose_table(nodes: Sequence[Server], stream: TextIO) -> str:
    """What ``tsh ls -v`` shows of them, for a stream."""
    return _table(nodes, True, terminal_width(stream), stream)


def _table(nodes: Sequence[Server], verbose: bool, width: int | None, stream: TextIO) -> str:
    heads = ("Node Name", "Node ID", "Address", "Labels") if verbose else ("Node Name", "Address", "Labels")
    rows = [row for node in nodes for row in _rows(node, verbose)]
    return table(heads, fitted(heads, rows, len(heads) - 1, width), stream)


def _rows(node: Server, verbose: bool) -> Iterable[tuple[str, ...]]:
    """A node's lines: the labels that do not fit into the first one follow below it."""
    labels = [f"{key}={value}" for key, value in sorted(node.all_labels.items())]
    step = len(labels) or 1 if verbose else LABELS_IN_LINE
    lines = [", ".join(labels[at : at + step]) for at in range(0, len(labels), step)] or [""]
    own = (node.hostname, node.name, node.addr) if verbose else (node.hostname, node.addr)
    yield (*own, lines[0])
    yield from (("",) * len(own) + (line,) for line in lines[1:])
