"""What a person does on a node with our own client: a shell, a command, forwards; or just bytes to and fro."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint

from teleport_conch.client.ssh.forwards import Forwarder, direct
from teleport_conch.client.ssh.reaching import Goal, Way
from teleport_conch.client.ssh.terminal import Keyboard, Screen, Window, terminal_request, write_all
from teleport_conch.errors import BadParameter, ConnectionProblem
from teleport_conch.ssh.client.agent_offer import AgentOffer, SocketAgent
from teleport_conch.ssh.client.connection import ClientConnection
from teleport_conch.ssh.client.jump import DIRECT_TCPIP
from teleport_conch.ssh.connection.channel import Channel, ChannelRefused
from teleport_conch.ssh.session.channel import SessionStart

NO_STATUS = 255
"""The exit status where the program said none, as OpenSSH has it."""
_SENT = ("LANG", "LANGUAGE")
"""Variables that go with a session, as Teleport's clients send them."""


@frozen
class Wanted:
    """What is to happen on the node.

    :ivar command: for the account's shell; empty for the shell itself.
    :ivar terminal: whether there is to be one; None for the usual: a shell has one where there is one here.
    :ivar nothing: run nothing, and forward only.
    :ivar escapes: whether ``~.`` after a new line ends the connection; else it is for the program.
    :ivar here: what is run on this computer instead, while the forwards stand; answers the exit status.
    """

    command: str
    forwarder: Forwarder
    terminal: bool | None = None
    agent: bool = False
    nothing: bool = False
    escapes: bool = True
    here: Callable[[], Awaitable[int]] | None = None


async def run(way: Way, goal: Goal, wanted: Wanted) -> int:
    """Does it, and answers the exit status.

    :raises TeleportError: why there is no connection, or no session.
    """
    async with AsyncExitStack() as opened:
        proxy = await way.proxy()
        opened.callback(proxy.close)
        agent = _agent(way.reactor) if wanted.agent else None
        node = await way.node(proxy, goal, wanted.forwarder.owner(way.reactor), agent)
        opened.callback(node.close)
        opened.push_async_callback(await wanted.forwarder.start(way.reactor, node))
        if wanted.here is not None:
            return await wanted.here()
        if wanted.nothing:
            raise await node.ended() or ConnectionProblem("The connection has ended.")
        return await _session(way.reactor, wanted, node)


async def _session(reactor: Any, wanted: Wanted, node: ClientConnection) -> int:
    is_terminal = sys.stdin.isatty()
    terminal = wanted.terminal if wanted.terminal is not None else is_terminal and not wanted.command
    request = terminal_request(os.environ) if terminal else None
    environment = {name: os.environ[name] for name in _SENT if os.environ.get(name)}
    start = SessionStart("exec" if wanted.command else "shell", wanted.command, request, environment)
    screen = Screen(sys.stdout.fileno(), sys.stderr.fileno())
    session = await node.open_session(start, screen)
    window = Window(sys.stdin.fileno(), session.resize) if terminal and is_terminal else None
    keyboard = Keyboard(reactor, session, sys.stdin.fileno(), window, wanted.escapes)
    keyboard.start()
    try:
        ending = await screen.finished()
    finally:
        keyboard.stop()
    if ending.signal:
        sys.stderr.write(f"The program was killed by the signal {ending.signal}. {ending.message}\n")
    return NO_STATUS if ending.status is None else ending.status


def _agent(reactor: Any) -> AgentOffer:
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise BadParameter("There is no ssh-agent to forward: SSH_AUTH_SOCK is not set.")
    return SocketAgent(UNIXClientEndpoint(reactor, path))


async def splice(way: Way, goal: Goal) -> int:
    """Connects stdin and stdout to a node, through the proxy, until one of them has ended.

    :raises TeleportError: why there is no connection.
    """
    proxy, channel = await way.proxy(), _Splice()
    try:
        proxy.connection.open(DIRECT_TCPIP, channel, direct(goal.host, goal.port))
        await channel.is_open
        keyboard = Keyboard(way.reactor, channel, sys.stdin.fileno())
        keyboard.start()
        await channel.is_closed
        keyboard.stop()
    finally:
        proxy.close()
    return 0


class _Splice(Channel):
    """A channel whose bytes go to stdout."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open: Deferred[None] = Deferred()
        self.is_closed: Deferred[None] = Deferred()

    def opened(self) -> None:
        self.is_open.callback(None)

    def refused(self, refusal: ChannelRefused) -> None:
        self.is_open.errback(refusal)

    def data_received(self, data: bytes) -> None:
        write_all(sys.stdout.fileno(), data)
        self.consumed(len(data))

    def eof_received(self) -> None:
        self.close()

    def closed(self) -> None:
        self.is_closed.callback(None)
