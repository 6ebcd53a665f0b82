"""Connections through another host: a channel of a client's that behaves like TCP (RFC 4254, section 7.2)."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch import wire
from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.connection.channel import Channel, ChannelRefused, Opener, PushProducer

DIRECT_TCPIP = b"direct-tcpip"


@implementer(IAddress)
@frozen
class FarAddress:
    """An address as the host in between knows it."""

    host: str
    port: int


@implementer(ITransport)
class ChannelTransport(Channel):
    """A channel as the transport of a protocol."""

    disconnecting = False

    def __init__(self, factory: IProtocolFactory, address: FarAddress) -> None:
        super().__init__()
        self.bufferSize = self.SEND_LIMIT = 0  # of a socket; a channel's packets have their own size
        self.connected: Deferred[IProtocol] = Deferred(lambda _: self.abortConnection())
        self._factory = factory
        self._address = address
        self._protocol: IProtocol | None = None
        self._reason: Exception = ConnectionDone()
        self._paused = self._eof = False
        self._held: list[bytes] = []

    # From the connection.

    def opened(self) -> None:
        if self.disconnecting:
            return  # given up meanwhile; the channel closes now
        protocol = self._factory.buildProtocol(self._address)
        if protocol is None:
            self.abortConnection()
            return
        self._protocol = protocol
        protocol.makeConnection(self)
        self.connected.callback(protocol)

    def refused(self, refusal: ChannelRefused) -> None:
        self._reason = refusal

    def data_received(self, data: bytes) -> None:
        if self._paused:
            self._held.append(data)  # at most a window of it, as no credit is given
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        self.consumed(len(data))
        if self._protocol is not None:
            self._protocol.dataReceived(data)

    def eof_received(self) -> None:
        self._eof = True
        self._end_reading()

    def _end_reading(self) -> None:
        if self._held or self._paused:
            return
        self._eof = False
        protocol: IHalfCloseableProtocol | None = IHalfCloseableProtocol(self._protocol, None)
        if protocol is None:
            self.loseConnection()
        else:
            protocol.readConnectionLost()

    def closed(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            for data in self._held:
                protocol.dataReceived(data)
            protocol.connectionLost(Failure(self._reason))
        elif not self.connected.called:
            self.connected.errback(_not_connected(self._address, self._reason))

    # What protocols call.

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Closes behind what has been written."""
        self.disconnecting = True
        self.close()

    def loseWriteConnection(self) -> None:
        self.send_eof()

    def abortConnection(self) -> None:
        """Closes, and drops what has not been sent."""
        self._reason = ConnectionAborted()
        self._queue.clear()
        self._queued_bytes = 0
        self.loseConnection()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._held and not self._paused:
            self._deliver(self._held.pop(0))
        if self._eof:
            self._end_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: PushProducer, streaming: bool = True) -> None:
        super().registerProducer(producer)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """The host in between decides for its own socket."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Likewise."""

    def getPeer(self) -> IAddress:
        return self._address

    def getHost(self) -> IAddress:
        return FarAddress("", 0)


@implementer(IStreamClientEndpoint)
@frozen
class JumpEndpoint:
    """Connects from the host that a client of ours is logged in to.

    :ivar connection: that client's connection.
    :ivar host: a name or address, as that host understands it.
    """

    connection: Opener
    host: str
    port: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fails with :class:`~teleport_conch.errors.ConnectionProblem` where that host does not connect us."""
        channel = ChannelTransport(protocolFactory, FarAddress(self.host, self.port))
        payload = wire.text(self.host) + wire.uint32(self.port) + wire.text("127.0.0.1") + wire.uint32(0)
        try:
            self.connection.open(DIRECT_TCPIP, channel, payload)
        except ChannelRefused as refusal:
            channel.connected.errback(refusal)
        return channel.connected


def _not_connected(address: FarAddress, reason: Exception) -> ConnectionProblem:
    why = reason.sentence if isinstance(reason, ChannelRefused) else "the connection in between ended"
    return ConnectionProblem(f"{address.host}:{address.port} cannot be reached through the host in between: {why}")
