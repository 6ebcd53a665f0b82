"""The byte stream under a transport: what is asked of Twisted's TCP connections, and of whatever stands for one."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.abstract import FileDescriptor


def push(stream: object) -> None:
    """Sends at once what has been written, where Twisted would wait for the next turn of its reactor.

    Where something is left of earlier, the socket is full, and the reactor says when it is not. What goes wrong is left
    to the reactor, too: it tries again, and ends the connection.
    """
    if isinstance(stream, FileDescriptor) and stream.connected and not stream.disconnecting and not stream.dataBuffer:
        stream.doWrite()


class TCPTransport(Protocol):
    """A TCP connection, or what behaves like one.

    :ivar bufferSize: how much is read at once, and how much waits to be written before producers are paused, in bytes.
    :ivar SEND_LIMIT: how much is handed to the kernel at once.
    """

    bufferSize: int
    SEND_LIMIT: int

    def write(self, data: bytes) -> None:
        """See ``ITransport``."""

    def loseConnection(self) -> None:
        """See ``ITransport``."""

    def loseWriteConnection(self) -> None:
        """See ``ITCPTransport``."""

    def abortConnection(self) -> None:
        """See ``ITCPTransport``."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See ``IConsumer``."""

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""

    def pauseProducing(self) -> None:
        """See ``IPushProducer``."""

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ``ITCPTransport``."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ``ITCPTransport``."""
