"""What a guest of a node may forward: connections from it, and connections to the client from ports of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.logger import Logger

from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.account import Account
from teleport_conch.ssh.connection.channel import Channel, Opener
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.forwarding.account_sockets import BrokeredSockets, MonitoredSockets, Sockets
from teleport_conch.ssh.forwarding.direct import DirectTCPIP, connect, connect_unix, parse_direct_streamlocal
from teleport_conch.ssh.forwarding.listening import ListenRequest, ListenRules, RemoteForwards
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.ssh.processes.monitored import MonitoredLogin
from teleport_conch.starting import Reactor


@define(eq=False)
class Forwarding:
    """The forwards of one connection; each is decided on and is an event of its own.

    :param permit: whether the guest may forward to or from this host and port (0 for a Unix socket, whose path is the
        host); raises :class:`TeleportError` to refuse.
    :param everywhere: whether the guest may listen on all interfaces, and not on loopback alone.
    :param told: makes what happens in it known as the event of a forward to or from this address, also where it fails.
    """

    reactor: Reactor
    account: Account
    permit: Callable[[str, int], None]
    told: Callable[[str], AbstractContextManager[None]]
    everywhere: bool
    login: MonitoredLogin | None = None
    _connection: Opener | None = None
    _sockets: Sockets | None = None
    _listening: RemoteForwards | None = None
    _log = Logger()

    def started(self, connection: Opener) -> None:
        """The connection on which it happens."""
        self._connection = connection

    def stop(self) -> None:
        """The connection is over: nothing is listened on any more."""
        stopping = Deferred.fromCoroutine(self._stop())
        stopping.addErrback(lambda failure: self._log.failure("a forward did not end as it should", failure=failure))

    def withdraw(self) -> None:
        """The guest may not forward any more: nothing is listened on, and what was connected is closed."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            stopping = Deferred.fromCoroutine(listening.stop())
            stopping.addErrback(lambda failure: self._log.failure("a forward did not end", failure=failure))
        for channel in self._connection.channels if isinstance(self._connection, Connection) else ():
            if isinstance(channel, StreamChannel):
                channel.stream.abandon()

    async def _stop(self) -> None:
        if self._listening is not None:
            await self._listening.stop()
        if self._sockets is not None:
            await self._sockets.stop()

    async def direct_tcpip(self, payload: bytes) -> Channel:
        """A connection to a port, from here."""
        request = DirectTCPIP.parse(payload)
        called = f"{request.host}:{request.port}"
        with self.told(called):
            self.permit(request.host, request.port)
            endpoint = HostnameEndpoint(self.reactor, request.host, request.port)
            return await connect(self.reactor, endpoint, called)

    async def direct_streamlocal(self, payload: bytes) -> Channel:
        """A connection to a Unix socket of this host, made as the account of the login."""
        path = parse_direct_streamlocal(payload)
        with self.told(path):
            self.permit(path, 0)
            return await connect_unix(self.reactor, self.as_account(), path)

    async def listen(self, name: bytes, payload: bytes) -> bytes:
        """One of :data:`~teleport_conch.ssh.forwarding.listening.REQUESTS`; to stop listening needs no permission."""
        request = ListenRequest.parse(name, payload)
        if request.ends:
            return await self._remote().answer(request)
        with self.told(str(request)):
            self.permit(request.where, request.port or 0)
            return await self._remote().answer(request)

    def as_account(self) -> Sockets:
        """Sockets of the account; where we are not root, the monitor has them made."""
        if self._sockets is None and self.login is not None and os.geteuid() != 0:
            reactor = self.reactor
            self._sockets = MonitoredSockets(reactor, reactor, reactor, self.account, self.login)
        elif self._sockets is None:
            self._sockets = BrokeredSockets(self.reactor, self.reactor, self.reactor, self.account)
        return self._sockets

    def _remote(self) -> RemoteForwards:
        if self._connection is None:
            raise AccessDenied("The connection has not started.")
        if self._listening is None:
            rules = ListenRules(self.everywhere, privileged=self.account.uid == 0)
            reactor = self.reactor
            self._listening = RemoteForwards(reactor, reactor, self._connection, rules, self.as_account())
        return self._listening
