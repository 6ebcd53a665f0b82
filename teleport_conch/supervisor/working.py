"""The worker's side: says how far it is, and lives on until its last client has gone."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.starting import Reactor, StartingService
from teleport_conch.supervisor.given import Given
from teleport_conch.supervisor.worker import RETIRED, UP

DRAIN_POLL_S = 0.5
"""How often a worker that retired looks whether its last client has gone."""


async def emptied(clock: IReactorTime, count: Callable[[], int]) -> None:
    """Answers when nobody is left."""
    while count():
        await deferLater(clock, DRAIN_POLL_S)


class Retiring(StartingService):
    """A service that can leave its place to another process before it ends."""

    async def retire(self) -> None:
        """Takes no more clients, and leaves the host's place in the cluster to a successor."""
        raise NotImplementedError

    async def drained(self) -> None:
        """Answers when the last client has gone."""
        raise NotImplementedError


class Working(StartingService):
    """What a worker runs: told to stop, it retires, says so, and ends with its last client."""

    def __init__(self, reactor: Reactor, given: Given, part: Retiring) -> None:
        super().__init__(reactor)
        self._control = Control(reactor, given.control)
        self._part = part
        self._serves = False

    async def start_up(self) -> None:
        """The service, and the word that it is up."""
        self._control.setServiceParent(self)
        self._part.setServiceParent(self)
        await self._part.started
        self._serves = True
        self._control.say(UP)

    def stopService(self) -> Deferred[None]:
        """See the class; a worker that does not serve yet has nobody to wait for."""
        return Deferred.fromCoroutine(self._drain()) if self._serves else super().stopService()

    async def _drain(self) -> None:
        await self._part.retire()
        self._control.say(RETIRED)
        await self._part.drained()
        await super().stopService()


@implementer(IReadDescriptor)
class Control(Service):
    """The worker's end of the socket to its supervisor."""

    def __init__(self, reactor: Reactor, fd: int) -> None:
        self._reactor = reactor
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)

    def startService(self) -> None:
        super().startService()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
        self._reactor.addReader(self)

    def say(self, message: bytes) -> None:
        """:data:`UP` or :data:`RETIRED`; a supervisor that has gone does not have to know."""
        with suppress(OSError):
            self._socket.send(message)

    def stopService(self) -> None:
        super().stopService()
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> Failure | None:
        """The supervisor says nothing, so this is its end."""
        self._reactor.removeReader(self)
        with suppress(ReactorNotRunning):  # it is stopping already
            self._reactor.stop()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`doRead`."""
