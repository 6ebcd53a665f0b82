"""``tsh ssh``: OpenSSH's client with the right files, so that every option and escape of it works."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from typing import NoReturn

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh import destination as destinations
from teleport_conch.cli.tsh import here, openssh
from teleport_conch.cli.tsh.calls import asked, with_auth
from teleport_conch.cli.tsh.candidates import only
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.cli.tsh.many import Run, run_on_all
from teleport_conch.cli.tsh.nodes import matching
from teleport_conch.cli.tsh.options import Options, parse_options
from teleport_conch.cli.tsh.prompts import progress
from teleport_conch.cli.tsh.session import current_login
from teleport_conch.cli.tsh.words import openssh_words, own_words
from teleport_conch.client.api import AuthClient
from teleport_conch.client.profiles import Login
from teleport_conch.errors import NotFound
from teleport_conch.resources.server import Server


def ssh(arguments: Namespace) -> None:
    """The command. The exit status is that of what ran on the node, or the highest of them."""
    wanted = destinations.parse(arguments.destination)
    if arguments.local:
        here.check(arguments)
    login = current_login(arguments, by_ssh=True)
    account = wanted.account(arguments.login)
    if arguments.command and wanted.labels and not arguments.local:
        sys.exit(_on_all(login, arguments, account, wanted))
    program, is_named = openssh.find("ssh"), not wanted.labels and not _is_address(wanted.host)
    if program is None:
        from teleport_conch.cli.tsh.own_client import run  # loads an SSH engine

        sys.exit(run(login, arguments, account, wanted if is_named else partial(_first, login, wanted)))
    _go_on(program, login, arguments, account, wanted if is_named else _looked_up(arguments, login, wanted))


def _go_on(program: str, login: Login, arguments: Namespace, account: str, to: Destination) -> NoReturn:
    """With OpenSSH's client."""
    host = to.in_cluster(login.profile.cluster)
    if arguments.local:
        sys.exit(here.run(program, login, arguments, account, host))
    openssh.go_on(program, arguments, login, lambda home: openssh_words(home, login, arguments, account, host))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _looked_up(arguments: Namespace, login: Login, wanted: Destination) -> Destination:
    return with_auth(arguments, login, lambda _, client: _first_of(client, wanted))


async def _first(login: Login, wanted: Destination, reactor: IReactorTime) -> Destination:
    return await asked(reactor, login, lambda _, client: _first_of(client, wanted))


async def _first_of(client: AuthClient, wanted: Destination) -> Destination:
    """The one node of an address, or the first one of labels: its UUID, which names it whatever else is true.

    :raises NotFound: there is none.
    :raises AmbiguousName: several have the address.
    """
    with progress("Asking for the nodes ..."):
        found = await matching(client, wanted.labels)
    if not wanted.labels:
        found = [node for node in found if node.addr.rpartition(":")[0].strip("[]") == wanted.host]
    if not found:
        raise _no_node(wanted)
    return evolve(wanted, host=(found[0] if wanted.labels else only(found, wanted.host)).name, labels={})


def _on_all(login: Login, arguments: Namespace, account: str, wanted: Destination) -> int:
    program = openssh.find("ssh")
    options = parse_options(arguments.options, sys.stderr.write) if program is None else Options()

    async def work(reactor: IReactorTime, client: AuthClient) -> int:
        nodes = await matching(client, wanted.labels)
        if not nodes:
            raise _no_node(wanted)
        counted = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
        sys.stderr.write(f"Running on {counted}: {', '.join(inert(node.hostname) for node in nodes)}\n")
        return await run_on_all(reactor, [Run(node.hostname, words(node)) for node in nodes])

    def words(node: Server) -> Sequence[str]:
        if program is None:
            return own_words(login, arguments, options, account, node.name)
        host = Destination(account, node.name).in_cluster(login.profile.cluster)
        return [program, *openssh_words(home, login, arguments, account, host)[1:]]

    with openssh.files_of(arguments, login) as home:
        return with_auth(arguments, login, work)


def _no_node(wanted: Destination) -> NotFound:
    what = wanted.host or ",".join(f"{key}={value}" for key, value in wanted.labels.items())
    return NotFound(f"There is no node {inert(what)} that you may log in to; 'tsh ls' lists those that there are.")
