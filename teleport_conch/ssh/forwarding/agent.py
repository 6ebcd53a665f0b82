"""Agent forwarding (OpenSSH, PROTOCOL.agent): a socket on this host that leads to the client's agent.

The socket lies in a folder that only its maker can change, belongs to the login, and takes connections of that login
(and of root) only: who connects is asked of the kernel.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUNIX

from teleport_conch.errors import ConnectionProblem, SpawnFailed
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.forwarding.accepting import Accepting, stopped
from teleport_conch.ssh.forwarding.account_sockets import Sockets, Stop
from teleport_conch.ssh.forwarding.splice import StreamChannel

AGENT_CHANNEL = b"auth-agent@openssh.com"


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
        factory = _accepting(clock, account, open_channel)
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
            await stopped(self._port)
        shutil.rmtree(self._folder, ignore_errors=True)


@frozen
class BrokeredAgent:
    """The same, made by a process of the account (:mod:`teleport_conch.ssh.forwarding.account_sockets`)."""

    path: str
    _stop: Stop

    async def close(self) -> None:
        """See :meth:`AgentSocket.close`."""
        await self._stop()


async def brokered(
    clock: IReactorTime, account: Account, sockets: Sockets, open_channel: Callable[[StreamChannel], None]
) -> BrokeredAgent:
    """A socket where we may not become the account: in the folder for temporary files, where nobody else can remove it.

    :raises SpawnFailed: this host cannot make it.
    """
    path = os.path.join(tempfile.gettempdir(), f"teleport-agent-{uuid.uuid4().hex}.sock")
    try:
        return BrokeredAgent(path, await sockets.listen(path, _accepting(clock, account, open_channel)))
    except ConnectionProblem as problem:
        raise _failed(problem) from problem


def _accepting(clock: IReactorTime, account: Account, open_channel: Callable[[StreamChannel], None]) -> Accepting:
    return Accepting(
        clock,
        lambda channel, _address: open_channel(channel),
        f"the agent of {account.name}",
        admits=(0, account.uid).__contains__,
    )


def _failed(problem: Exception) -> SpawnFailed:
    return SpawnFailed(f"This host could not make a socket for the agent: {problem}")
