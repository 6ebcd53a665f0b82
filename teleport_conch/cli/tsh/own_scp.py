"""What ``tsh scp`` does where there is no OpenSSH: the same, by SFTP, with our own client."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from teleport_conch.cli.tsh.calls import in_reactor
from teleport_conch.cli.tsh.destination import Destination
from teleport_conch.cli.tsh.own_client import NODE_PORT, door
from teleport_conch.client.profiles import Login
from teleport_conch.client.ssh.copying import Copying, OnTerminal, Silent
from teleport_conch.client.ssh.forwards import Forwarder
from teleport_conch.client.ssh.reaching import Goal, Way
from teleport_conch.client.ssh.sftp import SFTPClient
from teleport_conch.errors import BadParameter

Ends = Sequence[tuple[Destination | None, str]]
"""What is copied, and where to, which is the last; None is this computer."""


def run(login: Login, arguments: Namespace, ends: Ends) -> int:
    """Copies; answers the exit status.

    :raises TeleportError: the first thing that went wrong.
    """
    nodes = {(on.host, on.account(arguments.login)) for on, _ in ends if on is not None}
    to_node = ends[-1][0] is not None
    if len(nodes) != 1 or any((on is None) != to_node for on, _ in ends[:-1]):
        raise BadParameter("Without OpenSSH, files are copied between here and one node: name one, at one end.")
    ((host, account),) = nodes
    name = Destination(account, host).in_cluster(login.profile.cluster)
    goal = Goal(name, arguments.port or NODE_PORT, account)
    return in_reactor(
        arguments.debug, lambda reactor: _copy(Way(reactor, login, door(arguments)), goal, arguments, ends)
    )


async def _copy(way: Way, goal: Goal, arguments: Namespace, ends: Ends) -> int:
    async with AsyncExitStack() as opened:
        proxy = await way.proxy()
        opened.callback(proxy.close)
        node = await way.node(proxy, goal, Forwarder([], [], []).owner(way.reactor), None)
        opened.callback(node.close)
        sftp = await SFTPClient.open(node)
        opened.callback(sftp.close)
        copying = Copying(sftp, _progress(arguments.quiet), arguments.recursive, arguments.preserve)
        *sources, (to_node, target) = ends
        if to_node is None:
            await copying.get([path for _, path in sources], Path(target))
        else:
            await copying.put([Path(path) for _, path in sources], target)
    return 0


def _progress(quiet: bool) -> Any:
    return Silent() if quiet or not sys.stderr.isatty() else OnTerminal(_write)


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
