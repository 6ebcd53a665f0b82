"""Passes the TLS connections of clients on to an auth server, which hears in front of each whose it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.client.connections import CONNECT_TIMEOUT_S, split_address
from teleport_conch.client.failures import NETWORK_ERRORS, unanswered
from teleport_conch.errors import ConnectionProblem, TeleportError
from teleport_conch.https.limits import SAY_AGAIN_S
from teleport_conch.https.places import Places, host_of

LINGER_S = 60.0
"""How long a connection whose other side has ended may take for what it has not sent yet."""


class End(Protocol):
    """One end of a passage; what it reads is written to the other one, no faster than that one takes it."""

    transport: ITCPTransport
    other: End | None = None
    _linger: IDelayedCall | None = None

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.gone = False

    def join(self, other: End) -> None:
        """Couple the two, both of which are connected."""
        for one, two in ((self, other), (other, self)):
            one.other = two
            one.transport.setTcpNoDelay(True)
            one.transport.setTcpKeepAlive(True)
            one.transport.registerProducer(two.transport, True)  # type: ignore[attr-defined]  # it is a consumer, too

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        other, self.other = self.other, None
        if other is not None:
            other.finish()

    def finish(self) -> None:
        """Close behind what was written."""
        self.other = None
        if not self.gone and self._linger is None:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]  # likewise
            self._linger = self._clock.callLater(LINGER_S, self.transport.abortConnection)
            self.transport.loseConnection()


class ClientEnd(End):
    """The client's. It is not read from before there is somebody to pass it on to."""

    def __init__(self, passage: Passage, peer: IAddress) -> None:
        super().__init__(passage.clock)
        self._passage = passage
        self._peer = peer
        self._start = b""
        self._connecting: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self._passage.enter(self, host_of(self._peer))
        self.transport.pauseProducing()  # type: ignore[attr-defined]  # it is a producer, too
        self._connecting = Deferred.fromCoroutine(self._connect())
        self._connecting.addErrback(self._failed)

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self._start += data  # what was read before, and no more than that
        else:
            super().dataReceived(data)

    async def _connect(self) -> None:
        auth = await self._passage.dial()
        if self.gone:
            auth.transport.abortConnection()
            return
        auth.transport.write(self._passage.header(self._peer) + self._start)
        self._start = b""
        self.join(auth)
        self.transport.resumeProducing()  # type: ignore[attr-defined]  # likewise

    def _failed(self, failure: Failure) -> None:
        if not self.gone:
            self._passage.say_failed(failure)
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._connecting is not None:
            self._connecting.cancel()
        self._passage.leave(self, host_of(self._peer))


@define(eq=False)
class Passage:
    """Connects clients with the first auth server that takes the connection.

    :ivar header: what auth is told of a client before anything of its own.
    """

    clock: IReactorTime
    _addresses: Sequence[str]
    header: Callable[[IAddress], bytes]
    _places: Places
    _ends: set[ClientEnd] = field(init=False, factory=set)
    _answered: str = field(init=False, default="")
    _said_at: float = field(init=False, default=-SAY_AGAIN_S)
    _log = Logger()

    def begin(self, peer: IAddress) -> ClientEnd | None:
        """One more; None where there are too many."""
        return ClientEnd(self, peer) if self._places.has_room(host_of(peer)) else None

    def enter(self, end: ClientEnd, address: str) -> None:
        """A client is connected."""
        self._ends.add(end)
        self._places.enter(address)

    def leave(self, end: ClientEnd, address: str) -> None:
        """It is gone."""
        self._ends.discard(end)
        self._places.leave(address)

    def end(self) -> None:
        """End all of them."""
        for end in list(self._ends):
            end.transport.abortConnection()

    async def dial(self) -> End:
        """The connection to an auth server.

        :raises ConnectionProblem: none takes one; the sentence is that of the first.
        """
        first: TeleportError | None = None
        for address in sorted(self._addresses, key=lambda address: address != self._answered):
            try:
                end = await self._dial(address)
            except NETWORK_ERRORS as reason:
                first = first or unanswered(reason, address).error
                continue
            self._answered = address
            return end
        raise first or ConnectionProblem("There is no auth server to pass a connection on to.")

    async def _dial(self, address: str) -> End:
        host, port = split_address(address)
        endpoint = HostnameEndpoint(self.clock, host, port, CONNECT_TIMEOUT_S)
        factory = Factory.forProtocol(lambda: End(self.clock))
        factory.noisy = False
        end = await endpoint.connect(factory)
        assert isinstance(end, End), "of our factory"
        return end

    def say_failed(self, failure: Failure) -> None:
        """Once a minute: clients try again and again."""
        if self.clock.seconds() >= self._said_at + SAY_AGAIN_S:
            self._said_at = self.clock.seconds()
            reason = failure.value
            if isinstance(reason, TeleportError):
                self._log.warn("A client cannot be passed on to auth: {why}", why=reason.sentence)
            else:
                self._log.failure("A client could not be passed on to auth.", failure=failure)
