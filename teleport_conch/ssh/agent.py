"""Agent forwarding (OpenSSH, PROTOCOL.agent): a socket on this host that leads to the client's agent.

The socket lies in a folder that only its maker can change, belongs to the login, and takes connections of that login
(and of root) only: who connects is asked of the kernel.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from teleport_conch.errors import SpawnFailed
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.channel import ChannelRefused
from teleport_conch.ssh.splice import StreamChannel, StreamProtocol

AGENT_CHANNEL = b"auth-agent@openssh.com"
MAX_AGENT_CONNECTIONS = 64
_CREDENTIALS = struct.Struct("3i")


class AgentSocket:
    """The socket of one session; ``path`` is what SSH_AUTH_SOCK says.

    :param open_channel: asks the client for a channel to its agent; may raise :class:`ChannelRefused`.
    :raises SpawnFailed: this host cannot make it.
    """

    def __init__(
        self,
        reactor: IReactorUNIX,
        clock: IReactorTime,
        account: Account,
        open_channel: Callable[[StreamChannel], None],
    ) -> None:
        self._port: IListeningPort | None = None
        factory = _AgentFactory(clock, account.uid, open_channel)
        try:
            self._folder = tempfile.mkdtemp(prefix="teleport-agent-")
        except OSError as problem:
            raise _failed(problem) from problem
        self.path = os.path.join(self._folder, "agent.sock")
        try:
            self._port = reactor.listenUNIX(self.path, factory, mode=0o600, backlog=16)
            if os.geteuid() == 0:
                # The folder is root's, so that nobody can have put another file in the socket's place.
                os.chown(self.path, account.uid, account.gid)
                os.chmod(self._folder, 0o711)  # noqa: S103  # passed through by the login, listed by nobody
        except (OSError, CannotListenError) as problem:
            Deferred.fromCoroutine(self.close())
            raise _failed(problem) from problem

    async def close(self) -> None:
        """Takes the socket away; connections that are open go on until their channels close."""
        if self._port is not None:
            await _stopped(self._port)
        shutil.rmtree(self._folder, ignore_errors=True)


def _failed(problem: Exception) -> SpawnFailed:
    return SpawnFailed(f"This host could not make a socket for the agent: {problem}")


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


class _AgentFactory(ServerFactory):
    noisy = False

    def __init__(self, clock: IReactorTime, uid: int, open_channel: Callable[[StreamChannel], None]) -> None:
        self.clock = clock
        self.uid = uid
        self.open_channel = open_channel
        self.connections = 0

    def buildProtocol(self, addr: object) -> Protocol:
        return _AgentClient(self, StreamChannel(self.clock))


class _AgentClient(StreamProtocol):
    """One program that talks to the agent."""

    _log = Logger()

    def __init__(self, factory: _AgentFactory, channel: StreamChannel) -> None:
        super().__init__(factory.clock, channel, channel.close)
        self._factory = factory
        self._agent_channel = channel
        channel.stream = self

    def connectionMade(self) -> None:
        self._factory.connections += 1
        uid = peer_uid(self.transport.socket)  # type: ignore[attr-defined]  # Twisted's servers have it
        if uid not in (0, self._factory.uid) or self._factory.connections > MAX_AGENT_CONNECTIONS:
            self._log.warn(
                "uid {uid} was kept from the forwarded agent of uid {owner}", uid=uid, owner=self._factory.uid
            )
            self.transport.abortConnection()
            return
        super().connectionMade()
        try:
            self._factory.open_channel(self._agent_channel)
        except ChannelRefused as refusal:
            self._log.warn("a forwarded agent cannot be asked: {why}", why=refusal.sentence)
            self.transport.abortConnection()

    def connectionLost(self, reason: object = None) -> None:
        self._factory.connections -= 1
        super().connectionLost()


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end of a Unix socket, as the kernel knows it (``SO_PEERCRED``, Linux)."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(packed)[1]
    return uid
