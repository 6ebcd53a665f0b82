"""What ``tsh ssh`` and ``tsh proxy ssh`` do where there is no OpenSSH: the same, with our own client."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any, cast

from twisted.internet.interfaces import IReactorCore

from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.client.profiles import Home, Login
from teleport_conch.client.ssh import running
from teleport_conch.client.ssh.forwards import Forwarder, parse_dynamic, parse_forward
from teleport_conch.client.ssh.reaching import Goal, Way
from teleport_conch.errors import BadParameter

NODE_PORT = 3022


def run(home: Home, login: Login, arguments: Namespace, account: str, to: Destination) -> int:
    """A shell, a command, or forwards alone; answers the exit status.

    :raises TeleportError: why there is no connection.
    """
    if arguments.options:
        raise BadParameter("Options of OpenSSH (-o) need OpenSSH's client, and there is no program ssh here.")
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    wanted = running.Wanted(
        command=" ".join(words),
        forwarder=Forwarder(
            [parse_forward(text) for text in arguments.L],
            [parse_forward(text) for text in arguments.R],
            [parse_dynamic(text) for text in arguments.D],
        ),
        terminal=arguments.tty > 1 or (arguments.tty > 0 and sys.stdin.isatty()),
        agent=arguments.forward_agent,
        nothing=arguments.no_command,
    )
    goal = Goal(to.in_cluster(login.profile.cluster), arguments.port or NODE_PORT, account)
    return in_reactor(arguments.debug, lambda reactor: running.run(Way(reactor, home, login), goal, wanted))


def splice(home: Home, login: Login, to: Destination) -> int:
    """Connects stdin and stdout to a node; answers the exit status.

    :raises TeleportError: why there is no connection.
    """
    goal = Goal(to.in_cluster(login.profile.cluster), to.port or NODE_PORT)
    return in_reactor(False, lambda reactor: running.splice(Way(reactor, home, login), goal))


def in_reactor(debug: bool, work: Callable[[Any], Awaitable[int]]) -> int:
    """What a coroutine answers that needs a reactor."""
    from twisted.internet import reactor

    begin_log(*([observer(sys.stderr, "debug")] if debug else []))
    return run_to_end(cast(IReactorCore, reactor), lambda: work(reactor))
