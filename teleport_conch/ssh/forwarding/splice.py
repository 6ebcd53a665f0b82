"""Couples a channel with a byte stream: TCP or a Unix socket, both ways, with back-pressure and half-close.

A stream's end of input becomes the channel's EOF and the reverse, each without closing the other direction: protocols
of the kind "send, shut down, then read the answer" need that.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.transport.tcp import push

READ_BYTES = 256 << 10
"""How much is read of a stream at once; Twisted's own 64 KiB cost bulk data four times as many turns."""
PUSHED_BYTES = 4 << 10
"""What is shorter is passed on at once, as somebody may wait for it; behind the rest, more is about to come."""
LINGER_S = 60.0
"""How long a stream that is over may take for what it has not sent yet; who reads nothing is cut off then."""


class StreamChannel(Channel):
    """A channel whose bytes go to a stream, and whose stream's bytes come to it.

    :param clock: see :class:`StreamProtocol`.
    """

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self.stream = StreamProtocol(clock, self, self.close)

    def opened(self) -> None:
        self.stream.start()

    def data_received(self, data: bytes) -> None:
        self.stream.send(data)

    def eof_received(self) -> None:
        self.stream.end_sending()

    def closed(self) -> None:
        self.stream.abandon()


@implementer(IHalfCloseableProtocol)
class StreamProtocol(Protocol):
    """The stream's side of any channel.

    :param clock: for the time that is left to a stream when it is over.
    :param channel: where the stream's bytes go, and which is told when its own have been passed on.
    :param ended: called when the stream is gone.
    """

    transport: ITCPTransport

    def __init__(self, clock: IReactorTime, channel: Channel, ended: Callable[[], None]) -> None:
        self.preface = b""
        """What the stream is sent before anything of the channel's; to be set before the stream is connected."""
        self._clock = clock
        self._channel = channel
        self._ended = ended
        self._started = self._connected = self._congested = self._shut = False
        self._ended_reading = False
        self._unsent = 0
        self._held = bytearray()
        self._limit: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._connected = True
        self.transport.registerProducer(_Congestion(self), True)  # type: ignore[attr-defined]  # it is a consumer, too
        if not self._started:
            self.pauseProducing()
        if self.preface:
            self.transport.write(self.preface)
        self._channel.registerProducer(self)

    def start(self) -> None:
        """The channel is open: what the stream says may be passed on from now on."""
        self._started = True
        if self._connected:
            self.transport.bufferSize = READ_BYTES  # type: ignore[attr-defined]  # Twisted's streams have it
        self.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self._channel.write(data)

    def readConnectionLost(self) -> None:
        """The stream has no more input for us; where we have nothing more for it either, it is over."""
        self._ended_reading = True
        self._channel.send_eof()
        self._end_if_both_did()

    def writeConnectionLost(self) -> None:
        """We have nothing more for the stream."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connected = False
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._channel.unregisterProducer()
        self._ended()

    # From the channel.

    def send(self, data: bytes) -> None:
        """Passes ``data`` on, and the credit for it as soon as the stream has room."""
        if not self._connected or self._shut:
            return
        if self._congested:
            self._held += data
        else:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        self.transport.write(data)
        if len(data) < PUSHED_BYTES:
            push(self.transport)
        if self._congested:
            self._unsent += len(data)
        else:
            self._channel.consumed(len(data))

    def congestion(self, congested: bool) -> None:
        """The stream's buffer is full, or has room again."""
        self._congested = congested
        if not congested:
            unsent, self._unsent = self._unsent, 0
            self._channel.consumed(unsent)
            self._pass_on(self._take_held())

    def _take_held(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return held

    def end_sending(self) -> None:
        """Half-closes the stream behind what has been written."""
        if self._connected and not self._shut:
            self._finish_writing()
            self.transport.loseWriteConnection()
            self._end_if_both_did()

    def _finish_writing(self) -> None:
        """Hands over what is held; nobody is told any more when the stream has room."""
        self._shut = True
        self.transport.unregisterProducer()  # type: ignore[attr-defined]
        self.transport.write(self._take_held())

    def _end_if_both_did(self) -> None:
        """Twisted keeps a connection whose halves are both closed, for ever."""
        if self._shut and self._ended_reading:
            self.abandon()

    def abandon(self) -> None:
        """The channel is gone, or both directions have ended: the stream is closed behind what has been written."""
        if self._connected and self._limit is None:
            if not self._shut:
                self._finish_writing()
            self._limit = self._clock.callLater(LINGER_S, self.transport.abortConnection)
            self.transport.loseConnection()  # which may say at once that the connection is lost

    # The producer of the channel.

    def pauseProducing(self) -> None:
        if self._connected:
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    def resumeProducing(self) -> None:
        if self._connected:
            self.transport.resumeProducing()  # type: ignore[attr-defined]

    def stopProducing(self) -> None:
        """The channel is gone; :meth:`abandon` says so, too."""


class _Congestion:
    """Hears from the stream's transport when its buffer fills and empties."""

    def __init__(self, protocol: StreamProtocol) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        self._protocol.congestion(True)

    def resumeProducing(self) -> None:
        self._protocol.congestion(False)

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so."""
