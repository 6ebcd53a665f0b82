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

from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from teleport_conch.ssh.account import Account
from teleport_conch.ssh.splice import StreamChannel, StreamProtocol

AGENT_CHANNEL = b"auth-agent@openssh.com"
MAX_AGENT_CONNECTIONS = 64
_CREDENTIALS = struct.Struct("3i")


class AgentSocket:
    """The socket of one session; ``path`` is what SSH_AUTH_SOCK says.

    :param open_channel: asks the client for a channel to its agent.
    """

    def __init__(self, reactor: IReactorUNIX, account: Account, open_channel: Callable[[StreamChannel], None]) -> None:
        self._folder = tempfile.mkdtemp(prefix="teleport-agent-")
        self.path = os.path.join(self._folder, "agent.sock")
        factory = _AgentFactory(account.uid, open_channel)
        self._port = reactor.listenUNIX(self.path, factory, mode=0o600, backlog=16)
        if os.geteuid() == 0:
            # The folder is root's, so that nobody can have put another file in the socket's place.
            os.chown(self.path, account.uid, account.gid)
            os.chmod(self._folder, 0o711)  # noqa: S103  # passed through by the login, listed by nobody

    async def close(self) -> None:
        """Takes the socket away; connections that are open go on until their channels close."""
        await _stopped(self._port)
        shutil.rmtree(self._folder, ignore_errors=True)


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


class _AgentFactory(ServerFactory):
    noisy = False

    def __init__(self, uid: int, open_channel: Callable[[StreamChannel], None]) -> None:
        self.uid = uid
        self.open_channel = open_channel
        self.connections = 0

    def buildProtocol(self, addr: object) -> Protocol:
        return _AgentClient(self, StreamChannel())


class _AgentClient(StreamProtocol):
    """One program that talks to the agent."""

    _log = Logger()

    def __init__(self, factory: _AgentFactory, channel: StreamChannel) -> None:
        super().__init__(channel, channel.close)
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
        self._factory.open_channel(self._agent_channel)

    def connectionLost(self, reason: object = None) -> None:
        self._factory.connections -= 1
        super().connectionLost()


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end of a Unix socket, as the kernel knows it (``SO_PEERCRED``, Linux)."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(packed)[1]
    return uid
