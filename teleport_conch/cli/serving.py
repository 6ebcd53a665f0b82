"""Runs services in the foreground until a signal ends them: what ``teleport start`` and ``teleport demo`` do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.python.reflect import namedAny

from teleport_conch.cli.edge import Interrupted
from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.config.log import open_log
from teleport_conch.config.options import TeleportOptions

SUPERVISED = "teleport_conch.process.makeService"
ONE_PROCESS = "teleport_conch.process.make_one_process"

Then = Callable[[IReactorCore], Awaitable[None]]


class Startable(Protocol):
    """A service that says when it is up. One that cannot start ends the process with a sentence and exit code 1."""

    started: Deferred[None]

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...


def serve(options: TeleportOptions, then: Then | None = None, form: str = SUPERVISED) -> None:
    """Start the services of a configuration, and return once a signal has stopped them.

    :param then: is called when all services are up; what it raises stops them, and is raised here.
    :param form: where root starts them: a supervisor with workers, or one process all the same.
    :raises TeleportError: why they cannot be started.
    """
    log = options.settings.teleport.log
    begin_log(observer(open_log(log.output), log.severity))
    make_service: Callable[[TeleportOptions], Startable] = namedAny(form)
    service = make_service(options)
    from twisted.internet import reactor

    with suppress(Interrupted):
        run_to_end(reactor, lambda: _live(reactor, service, then))


async def _live(reactor: IReactorCore, service: Startable, then: Then | None) -> None:
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    await service.started
    if then is not None:
        await then(reactor)
    await Deferred()  # until the reactor is stopped
