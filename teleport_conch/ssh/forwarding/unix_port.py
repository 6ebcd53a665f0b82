"""A Unix socket that somebody else has bound, on which we accept.

Twisted's own port would change the mode of the path, and remove it in the end, with our rights; the path lies where an
account of this host may put anything in its place.
"""

from __future__ import annotations

import socket

from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

ACCEPTS_PER_TURN = 16
REST_S = 1.0
"""How long nothing is accepted when this host has no descriptors left."""


@implementer(IReadDescriptor)
class UnixPort:
    """Accepts connections until :meth:`stop`; touches no path.

    :param descriptor: listens, does not block, and is owned by the port.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        adopting: IReactorSocket,
        clock: IReactorTime,
        descriptor: int,
        factory: IProtocolFactory,
    ) -> None:
        self._reactor = reactor
        self._adopting = adopting
        self._clock = clock
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._factory = factory
        self._resting: IDelayedCall | None = None
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "UnixPort"

    def doRead(self) -> Failure | None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as problem:
                self._log.warn("a connection cannot be accepted: {why}", why=problem.strerror)
                self._rest()
                break
            with accepted:
                accepted.setblocking(False)
                descriptor = accepted.fileno()
                self._adopting.adoptStreamConnection(descriptor, socket.AF_UNIX, self._factory)  # type: ignore[arg-type]
        return None

    def _rest(self) -> None:
        self._reactor.removeReader(self)
        self._resting = self._clock.callLater(REST_S, self._reactor.addReader, self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor cannot watch it any more."""
        self.stop()

    def stop(self) -> None:
        """Nobody is accepted any more; may be called again."""
        if self._resting is not None and self._resting.active():
            self._resting.cancel()
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()
