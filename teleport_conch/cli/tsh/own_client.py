"""What ``tsh ssh`` and ``tsh proxy ssh`` do where there is no OpenSSH: the same, with our own client."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from teleport_conch.cli.tsh import own_here
from teleport_conch.cli.tsh.calls import in_reactor
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.cli.tsh.jump import jump_host
from teleport_conch.cli.tsh.options import Options, parse_options
from teleport_conch.cli.tsh.words import command_of
from teleport_conch.client.profiles import Login
from teleport_conch.client.ssh import agent, running
from teleport_conch.client.ssh.forwards import Forwarder, parse_dynamic, parse_forward
from teleport_conch.client.ssh.reaching import Door, Goal, Way

NODE_PORT = 3022


Find = Callable[[Any], Awaitable[Destination]]
"""What answers which node is meant, given the reactor."""


def run(login: Login, arguments: Namespace, account: str, to: Destination | Find) -> int:
    """A shell, a command, or forwards alone; answers the exit status.

    :raises TeleportError: why there is no connection.
    """
    options = parse_options(arguments.options, sys.stderr.write)
    if options.adds_keys == "yes":
        agent.renew(login)

    async def work(reactor: Any) -> int:
        node = to if isinstance(to, Destination) else await to(reactor)
        goal = Goal(node.in_cluster(login.profile.cluster), arguments.port or NODE_PORT, account)
        return await running.run(Way(reactor, login, door(arguments)), goal, _wanted(arguments, options, reactor))

    return in_reactor(arguments.debug, work)


def _wanted(arguments: Namespace, options: Options, reactor: Any) -> running.Wanted:
    return running.Wanted(
        command=" ".join(command_of(arguments)),
        forwarder=Forwarder(
            [parse_forward(text) for text in arguments.L],
            [parse_forward(text) for text in arguments.R],
            [parse_dynamic(text) for text in arguments.D],
        ),
        terminal=wants_terminal(arguments.tty, options.terminal),
        agent=arguments.forward_agent or options.forwards_agent == "yes",
        nothing=arguments.no_command,
        escapes=arguments.escapes,
        here=partial(own_here.run, reactor, arguments) if arguments.local else None,
    )


def wants_terminal(flags: int, asked: str) -> bool | None:
    """Whether there is to be a terminal; None where that depends on what is run. One flag, or ``yes``, is for those
    who have one here, and two are for all.
    """
    if flags > 1 or (not flags and asked == "force"):
        return True
    if flags or asked == "yes":
        return sys.stdin.isatty()
    return False if asked == "no" else None


def door(arguments: Namespace) -> Door | None:
    """Where ``-J`` says that the proxy is reached."""
    host = jump_host(arguments)
    return None if host is None else Door(host.host, host.port, host.login)


def splice(login: Login, to: Destination) -> int:
    """Connects stdin and stdout to a node; answers the exit status.

    :raises TeleportError: why there is no connection.
    """
    goal = Goal(to.in_cluster(login.profile.cluster), to.port or NODE_PORT)
    return in_reactor(False, lambda reactor: running.splice(Way(reactor, login), goal))
