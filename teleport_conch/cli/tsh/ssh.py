"""``tsh ssh``: OpenSSH's client with the right files, so that every option and escape of it works."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from ipaddress import ip_address

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh import destination as destinations
from teleport_conch.cli.tsh import openssh, places
from teleport_conch.cli.tsh.calls import with_auth
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.cli.tsh.many import Run, run_on_all
from teleport_conch.cli.tsh.nodes import matching
from teleport_conch.cli.tsh.prompts import progress
from teleport_conch.cli.tsh.session import current_login
from teleport_conch.client.api import AuthClient
from teleport_conch.client.profiles import Home, Login
from teleport_conch.errors import NotFound
from teleport_conch.resources.server import Server


def ssh(arguments: Namespace) -> None:
    """The command. The exit status is that of what ran on the node, or the highest of them."""
    home, wanted = places.home(), destinations.parse(arguments.destination)
    login = current_login(arguments, home)
    account = wanted.account(arguments.login)
    if not wanted.labels and not _is_address(wanted.host):
        connect(home, login, arguments, account, wanted)
    if arguments.command and wanted.labels:
        sys.exit(_on_all(home, login, arguments, account, wanted))
    connect(home, login, arguments, account, _first(arguments, login, wanted))


def connect(home: Home, login: Login, arguments: Namespace, account: str, to: Destination) -> None:
    """Becomes OpenSSH's client, or does what it would do where there is none."""
    words = words_for(home, login, arguments, account, to.in_cluster(login.profile.cluster))
    program = openssh.find("ssh")
    if program is None:
        from teleport_conch.cli.tsh.own_client import run  # loads an SSH engine

        sys.exit(run(home, login, arguments, account, to))
    sys.stdout.flush()
    os.execv(program, words)  # noqa: S606 - there is no shell to want


def words_for(home: Home, login: Login, arguments: Namespace, account: str, host: str) -> list[str]:
    """The command line of OpenSSH's client. What comes from elsewhere stands behind ``--``, or belongs to a flag."""
    words = ["ssh", "-F", str(home.ssh_config(login.profile).absolute()), "-l", account]
    words += ["-p", str(arguments.port)] if arguments.port else []
    words += ["-A"] if arguments.forward_agent else []
    words += ["-N"] if arguments.no_command else []
    words += ["-t"] * arguments.tty
    for flag, values in (("-L", arguments.L), ("-R", arguments.R), ("-D", arguments.D), ("-o", arguments.options)):
        words += [word for value in values for word in (flag, value)]
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return [*words, "--", host, *command]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _nodes(arguments: Namespace, login: Login, wanted: Destination) -> Sequence[Server]:
    async def ask(reactor: IReactorTime, client: AuthClient) -> Sequence[Server]:
        with progress("Asking for the nodes ..."):
            return await matching(client, wanted.labels)

    return with_auth(arguments, login, ask)


def _first(arguments: Namespace, login: Login, wanted: Destination) -> Destination:
    """The one node of an address, or the first one of labels: its UUID, which names it whatever else is true."""
    found = _nodes(arguments, login, wanted)
    if not wanted.labels:
        found = [node for node in found if node.addr.rpartition(":")[0].strip("[]") == wanted.host]
    if not found:
        raise _no_node(wanted)
    return evolve(wanted, host=found[0].name, labels={})


def _on_all(home: Home, login: Login, arguments: Namespace, account: str, wanted: Destination) -> int:
    async def work(reactor: IReactorTime, client: AuthClient) -> int:
        nodes = await matching(client, wanted.labels)
        if not nodes:
            raise _no_node(wanted)
        sys.stderr.write(f"Running on {len(nodes)} nodes: {', '.join(inert(node.hostname) for node in nodes)}\n")
        runs = [Run(node.hostname, _words(home, login, arguments, account, node)) for node in nodes]
        return await run_on_all(reactor, runs)

    return with_auth(arguments, login, work)


def _words(home: Home, login: Login, arguments: Namespace, account: str, node: Server) -> Sequence[str]:
    program, to = openssh.find("ssh"), Destination(account, node.name)
    if program is None:
        return _own_words(login, arguments, account, node.name)
    return [program, *words_for(home, login, arguments, account, to.in_cluster(login.profile.cluster))[1:]]


def _own_words(login: Login, arguments: Namespace, account: str, node: str) -> Sequence[str]:
    """The command line of this program for one node."""
    own = [sys.executable, "-m", "teleport_conch.cli.tsh.main", f"--proxy={login.profile.web_proxy_addr}", "ssh"]
    own += ["-p", str(arguments.port)] if arguments.port else []
    own += ["-A"] if arguments.forward_agent else []
    own += ["-t"] * arguments.tty
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return [*own, f"{account}@{node}", *command]


def _no_node(wanted: Destination) -> NotFound:
    what = wanted.host or ",".join(f"{key}={value}" for key, value in wanted.labels.items())
    return NotFound(f"There is no node {inert(what)} that you may log in to; 'tsh ls' lists those that there are.")
