"""How services start: step by step, with each failure as one sentence for the person who starts them."""

from __future__ import annotations

import errno
import gc
import os
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import cast

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.config.settings import Settings
from teleport_conch.errors import PortInUse, StartError, TeleportError
from teleport_conch.steady import SteadyTimers

_log = Logger()

COLLECTED_OBJECTS = 5000
"""How many objects more there have to be before the garbage collector looks at the new ones."""


class Reactor(
    IReactorCore, IReactorFDSet, IReactorFromThreads, IReactorSocket, IReactorTCP, IReactorTime, IReactorUNIX
):
    """What our services need of a reactor; Twisted's on Unix have it all."""


class StartingService(MultiService):
    """A service whose start takes several steps; :meth:`start_up` is what subclasses write.

    When a step fails, the whole process stops with the sentence of the failure and exit code 1.
    """

    def __init__(self, reactor: IReactorCore) -> None:
        super().__init__()
        self._reactor = reactor
        self._starting: Deferred[None] | None = None
        self.started: Deferred[None] = Deferred()
        """Fires when the service is up; never where it fails, as the process ends then."""

    async def start_up(self) -> None:
        """The steps, each of which may raise :class:`TeleportError`."""
        raise NotImplementedError

    def startService(self) -> None:
        super().startService()
        self._starting = Deferred.fromCoroutine(self.start_up())
        self._starting.addCallbacks(self.started.callback, self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            stop_with(self._reactor, failure)

    def stopService(self) -> Deferred[None]:
        """Gives up a start in progress, then stops the parts."""
        if self._starting is not None:
            self._starting.cancel()
        stopped: Deferred[None] = Deferred.fromCoroutine(_stopped(super().stopService()))
        return stopped


class PidFile(Service):
    """Holds the number of this process in a file while the service runs.

    :param path: of the file; None for none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def startService(self) -> None:
        super().startService()
        if self._path is not None:
            try:
                self._path.write_text(f"{os.getpid()}\n")
            except OSError as problem:
                _log.error("The pid_file {path} cannot be written: {why}", path=str(self._path), why=problem.strerror)

    def stopService(self) -> None:
        super().stopService()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def as_plugin(service: StartingService, settings: Settings) -> IService:
    """What every ``makeService`` adds to its service: the sentences of each start, steady timers, and the pid file."""
    for notice in settings.notices:
        _log.warn("{notice}", notice=notice)
    PidFile(settings.teleport.pid_file).setServiceParent(service)
    return as_part(service)


def as_part(service: StartingService) -> IService:
    """The same for a process that another one of ours started."""
    reactor = cast(Reactor, service._reactor)
    SteadyTimers(reactor, reactor.callFromThread, time.time, time.monotonic).setServiceParent(service)
    service.started.addCallback(_spare_the_collector)
    return service


def _spare_the_collector(up: None) -> None:
    """What a service is made of stays for good: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_OBJECTS)


async def _stopped(stopping: Deferred[None] | Awaitable[None] | None) -> None:
    if stopping is not None:
        await stopping


def stop_with(reactor: IReactorCore, failure: Failure) -> None:
    """Ends the process with exit code 1, once its services have stopped; the reason is the last line on stderr."""
    error = failure.value
    if isinstance(error, TeleportError):
        sentence = error.sentence
    else:
        _log.failure("a service could not be started", failure=failure)
        sentence = f"A service could not be started: {error!r}"
    reactor.addSystemEventTrigger("after", "shutdown", _exit, sentence)
    if reactor.running:
        reactor.stop()
    else:
        reactor.callWhenRunning(reactor.stop)


def _exit(sentence: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()
    # The runner above us would exit with 0, whatever has happened.
    os._exit(1)


async def listen(reactor: IReactorCore, endpoint: str, factory: IProtocolFactory, what: str) -> IListeningPort:
    """Listens at an endpoint string. Raises :class:`PortInUse` that says for ``what``, and who has the port."""
    try:
        port: IListeningPort = await serverFromString(reactor, endpoint).listen(factory)
    except CannotListenError as problem:
        raise _cannot_listen(problem, what) from problem
    return port


def port_number(port: IListeningPort) -> int:
    """The TCP port that is listened on, also where any was asked for."""
    number: int = getattr(port.getHost(), "port", 0)
    return number


def _cannot_listen(problem: CannotListenError, what: str) -> StartError:
    where = f"port {problem.port}" + (f" of {problem.interface}" if problem.interface else "")
    if getattr(problem.socketError, "errno", None) != errno.EADDRINUSE:
        return StartError(f"{what} cannot listen on {where}: {problem.socketError}.")
    holder = holder_of(int(problem.port))
    by = f" by {holder}" if holder else " by another process"
    return PortInUse(f"{what} cannot listen on {where}: it is in use{by}. Stop that, or set another listen_addr.")


def holder_of(port: int) -> str:
    """Which process listens on a TCP port of this host, as far as we may know: ``sshd (pid 812)``, or nothing."""
    sockets = _listening_sockets(port)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in sockets for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
        except OSError:
            continue
    return ""


def _listening_sockets(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found
