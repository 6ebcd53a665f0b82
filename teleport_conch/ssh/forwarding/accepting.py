"""Sockets of ours that lead to the client: every connection that is made to one becomes a channel of its own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.forwarding.splice import StreamChannel, StreamProtocol

MAX_ACCEPTED = 64
"""How many connections one socket may have at a time."""

_CREDENTIALS = struct.Struct("3i")

OpenFor = Callable[[StreamChannel, object], None]
"""Asks the client for a channel that is coupled with a connection from this address; may raise ChannelRefused."""


class Accepting(ServerFactory):
    """Opens a channel for each connection to one socket.

    :param open_channel: asks the client for it.
    :param called: what the socket is called in the log.
    :param admits: which account of this host, by its uid, may connect to a Unix socket; None for all.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        open_channel: OpenFor,
        called: str,
        admits: Callable[[int], bool] | None = None,
    ) -> None:
        self.clock = clock
        self.open_channel = open_channel
        self.called = called
        self.admits = admits
        self.connections = 0

    def buildProtocol(self, addr: object) -> Protocol:
        return Accepted(self, addr, StreamChannel(self.clock))


class Accepted(StreamProtocol):
    """One connection to the socket."""

    _log = Logger()

    def __init__(self, factory: Accepting, address: object, channel: StreamChannel) -> None:
        super().__init__(factory.clock, channel, channel.close)
        self._factory = factory
        self._address = address
        self._stream_channel = channel
        channel.stream = self

    def connectionMade(self) -> None:
        factory = self._factory
        factory.connections += 1
        if factory.connections > MAX_ACCEPTED:
            self._cut_off(f"more than {MAX_ACCEPTED} connections")
        elif factory.admits is not None and not factory.admits(uid := peer_uid(self._socket())):
            self._cut_off(f"uid {uid} may not connect")
        else:
            self.accepted()

    def accepted(self) -> None:
        """The connection may be there: asks the client for a channel, and couples the two."""
        super().connectionMade()
        try:
            self._factory.open_channel(self._stream_channel, self._address)
        except ChannelRefused as refusal:
            self._cut_off(refusal.sentence)

    def _socket(self) -> socket.socket:
        connected: socket.socket = self.transport.socket  # type: ignore[attr-defined]  # Twisted's servers have it
        return connected

    def _cut_off(self, why: str) -> None:
        self._log.warn("a connection to {called} is cut off: {why}", called=self._factory.called, why=why)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.connections -= 1
        super().connectionLost(reason)


async def stopped(port: IListeningPort) -> None:
    """Accepts nothing more at ``port``; what was accepted goes on."""
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end of a Unix socket, as the kernel knows it (``SO_PEERCRED``, Linux)."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(packed)[1]
    return uid
