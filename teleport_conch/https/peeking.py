"""Connections whose first bytes decide who speaks over them; none that has not said them yet delays another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.errors import TeleportError
from teleport_conch.https.limits import PEEK_S, SAY_AGAIN_S
from teleport_conch.https.places import host_of

Chosen = tuple[IProtocol | None, bytes]
"""Who goes on with a connection, with which bytes of it; nobody where there are too many connections."""
Choose = Callable[[bytes, IAddress], Chosen | None]
"""Chooses by the bytes so far, and where they came from; None where more of them decide. Raises a refusal."""


class Peek(Protocol):
    """One connection until its first bytes have come."""

    factory: PeekFactory
    transport: ITCPTransport
    address = ""
    _start = b""
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._deadline = self.factory.clock.callLater(PEEK_S, self.transport.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        self._start += data
        try:
            chosen = self.factory.choose(self._start, self.transport.getPeer())
        except TeleportError as reason:
            self._refuse(reason)
            return
        if chosen is not None:
            self._hand_over(*chosen)

    def _refuse(self, reason: TeleportError) -> None:
        self.factory.say_refused(self.address, reason)
        farewell = self.factory.farewell(self._start)
        self._start = b""
        if farewell:
            self.transport.write(farewell)
        self.transport.loseConnection()

    def _hand_over(self, protocol: IProtocol | None, rest: bytes) -> None:
        self._leave()
        if protocol is None:
            self.transport.abortConnection()
            return
        self.transport.protocol = protocol  # type: ignore[attr-defined]  # Twisted's transports have it
        protocol.makeConnection(self.transport)
        if rest:
            protocol.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        self.factory.forget(self)


class PeekFactory(ServerFactory):
    """Makes connections that wait for their first bytes, a bounded number of them.

    When there are as many as may be, the one that has waited longest makes room: who opens connections and says nothing
    keeps nobody out.

    :param total: how many may wait at one time, in all and from one address.
    :param farewell: what is answered to a connection that was refused, by its first bytes.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        choose: Choose,
        total: int,
        per_address: int,
        farewell: Callable[[bytes], bytes] = lambda start: b"",
    ) -> None:
        self.clock = clock
        self.choose = choose
        self.farewell = farewell
        self._total = total
        self._per_address = per_address
        self._waiting: dict[Peek, None] = {}
        self._by_address: Counter[str] = Counter()
        self._said_at = -SAY_AGAIN_S

    def buildProtocol(self, addr: IAddress | None) -> Peek | None:  # type: ignore[override]  # None refuses
        address = host_of(addr)
        if self._by_address[address] >= self._per_address:
            return None
        if len(self._waiting) >= self._total:
            next(iter(self._waiting)).transport.abortConnection()
        made = Peek()
        made.factory, made.address = self, address
        self._waiting[made] = None
        self._by_address[address] += 1
        return made

    def forget(self, peek: Peek) -> None:
        """One of them waits no longer."""
        if peek in self._waiting:
            del self._waiting[peek]
            self._by_address[peek.address] -= 1
            if not self._by_address[peek.address]:
                del self._by_address[peek.address]

    def end(self) -> None:
        """End those that wait."""
        for peek in list(self._waiting):
            peek.transport.abortConnection()

    def say_refused(self, address: str, reason: TeleportError) -> None:
        """Once a minute; who is refused again and again does not fill the log as well."""
        if self.clock.seconds() >= self._said_at + SAY_AGAIN_S:
            self._said_at = self.clock.seconds()
            self._log.warn("A connection of {address} was refused: {why}", address=address, why=reason.sentence)
