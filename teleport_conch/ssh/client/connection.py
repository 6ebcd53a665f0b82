"""An SSH client: connects through any endpoint, knows whom it talks to before it logs in, and gives a connection.

::

    options = ClientOptions(HostName("web1"), Credentials("alice", [KeyIdentity.of(key, certificate)]), hosts)
    client = await connect(clock, endpoint, options)
    done = await client.run("uname -a")

Through another host: ``connect(clock, client.to("web2", 22), ...)``. With an agent for what runs there:
``ClientOptions(..., agent=SocketAgent(endpoint))``. Every failure is an error of ours with a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from teleport_conch.errors import ConnectionProblem, TeleportError
from teleport_conch.ssh.client.host_offer import HostName
from teleport_conch.ssh.client.jump import JumpEndpoint
from teleport_conch.ssh.client.session import MAX_OUTPUT_BYTES, ClientSession, Collected, Finished, Receiver
from teleport_conch.ssh.client.transport import ClientOptions, ClientTransport
from teleport_conch.ssh.session.channel import SessionStart


class ClientConnection:
    """A server that has let us in.

    :ivar connection: for channels of any kind and requests of the connection.
    """

    def __init__(self, transport: ClientTransport) -> None:
        self._transport = transport
        self.name = transport.options.name
        self.connection = transport.connection
        self._agent = transport.options.agent is not None

    async def open_session(self, start: SessionStart, receiver: Receiver) -> ClientSession:
        """Starts a program, whose output goes to ``receiver``; with an agent, where one is offered and permitted.

        :raises ChannelRefused: the server opens no session.
        :raises RequestRefused: it does not start this.
        """
        session = ClientSession(receiver)
        try:
            await session.open(self.connection)
            await session.start(start, self._agent)
        except BaseException:
            session.close()
            raise
        return session

    async def run(self, command: str, stdin: bytes = b"", max_bytes: int = MAX_OUTPUT_BYTES) -> Finished:
        """Runs a command with this input to its end. Raises as :meth:`open_session` does, and TooLarge."""
        collected = Collected(max_bytes)
        session = await self.open_session(SessionStart("exec", command), collected)
        try:
            session.write(stdin)
            session.send_eof()
            return await collected.finished()
        except BaseException:
            session.close()
            raise

    def to(self, host: str, port: int) -> JumpEndpoint:
        """An endpoint that connects from the server to somewhere else."""
        return JumpEndpoint(self.connection, host, port)

    async def ended(self) -> TeleportError | None:
        """Waits until the connection is gone; what ended it, or None where it was :meth:`close`."""
        waiting: Deferred[TeleportError | None] = Deferred()
        self._transport.gone.addCallback(_passed_on, waiting)
        return await waiting

    def close(self) -> None:
        """Says goodbye. Channels that are open end."""
        self._transport.close()


def _passed_on(problem: TeleportError | None, waiting: Deferred[TeleportError | None]) -> TeleportError | None:
    if not waiting.called:
        waiting.callback(problem)
    return problem


async def connect(clock: IReactorTime, endpoint: IStreamClientEndpoint, options: ClientOptions) -> ClientConnection:
    """Connects and logs in.

    :param clock: for all that may take too long.
    :raises ConnectionProblem: the server cannot be reached, ends the connection, or does not speak SSH.
    :raises HostKeyRefused: it is not believed to be the one that was meant.
    :raises LoginRefused: it does not let us in.
    """
    working = Deferred.fromCoroutine(_connect(clock, endpoint, options))
    if options.login_s is not None:
        working.addTimeout(options.login_s, clock, _too_slow(options.name))
    return await working


async def _connect(clock: IReactorTime, endpoint: IStreamClientEndpoint, options: ClientOptions) -> ClientConnection:
    transport = ClientTransport(clock, options)
    try:
        await endpoint.connect(_OneTransport(transport))
    except ConnectingCancelledError as given_up:
        raise CancelledError from given_up
    except (TeleportError, CancelledError):
        raise
    except Exception as problem:
        raise ConnectionProblem(f"{options.name} cannot be reached: {_reason(problem)}.") from problem
    try:
        await transport.ready
    except CancelledError:
        transport.abort()
        raise
    except TeleportError:
        await transport.gone  # which is soon: who fails leaves nothing open behind
        raise
    return ClientConnection(transport)


class _OneTransport(Factory):
    noisy = False

    def __init__(self, transport: ClientTransport) -> None:
        self._transport = transport

    def buildProtocol(self, addr: object) -> ClientTransport:
        return self._transport


def _too_slow(name: HostName) -> Callable[[object, float], NoReturn]:
    def too_slow(result: object, limit_s: float) -> NoReturn:
        raise ConnectionProblem(f"{name} did not let us in within {limit_s:.0f} seconds.")

    return too_slow


def _reason(problem: Exception) -> str:
    number = getattr(problem, "osError", None)
    text = os.strerror(number) if isinstance(number, int) else str(problem).strip().rstrip(".")
    return text or type(problem).__name__
