"""TCP servers on loopback that a test plays the other end of."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

clock = cast(IReactorTime, installed_reactor)
tcp = cast(IReactorTCP, installed_reactor)


@implementer(IHalfCloseableProtocol)
class FarEnd(Protocol):
    """What a stream is connected to: takes down what happens, and does what the test says."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self.received = bytearray()
        self.ends: list[str] = []
        self.greeting = b""

    def connectionMade(self) -> None:
        if self.greeting:
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.ends.append("eof")

    def writeConnectionLost(self) -> None:
        self.ends.append("shut")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append("lost")


class FarEnds(ServerFactory):
    """Makes far ends, all with the same greeting."""

    noisy = False

    def __init__(self, greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.made: list[FarEnd] = []

    def buildProtocol(self, addr: object) -> FarEnd:
        end = FarEnd()
        end.greeting = self.greeting
        self.made.append(end)
        return end


class StreamCase(TestCase):
    """Real sockets on loopback, closed when the test is over."""

    timeout = 30

    def listen(self, factory: IProtocolFactory) -> int:
        """The port on which ``factory`` is served."""
        port = self.successResultOf(TCP4ServerEndpoint(tcp, 0, interface="127.0.0.1").listen(factory))
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        return address.port

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits, turn by turn of the reactor, for something that has to come; the test's own limit ends the wait."""
        while not is_so():
            await deferLater(clock, 0.001)

    async def turns(self, count: int = 20) -> None:
        """Lets the reactor do what it has to do, so many times."""
        for _ in range(count):
            await deferLater(clock, 0)

    def start(self, coroutine: object) -> Deferred[object]:
        return Deferred.fromCoroutine(coroutine)  # type: ignore[arg-type]  # any coroutine will do

    def close_of(self, end: FarEnd) -> None:
        end.transport.abortConnection()
