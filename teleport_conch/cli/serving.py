"""Runs services in the foreground until a signal ends them: what ``teleport start`` and ``teleport demo`` do."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.python.reflect import namedAny

from teleport_conch.cli.edge import Interrupted
from teleport_conch.cli.logs import begin_log, observer
from teleport_conch.cli.running import run_to_end
from teleport_conch.client import private_files
from teleport_conch.config.log import open_log
from teleport_conch.config.options import TeleportOptions
from teleport_conch.errors import StartError

_MAKE_SERVICE = "teleport_conch.process.makeService"
_PID_MODE = 0o644

Then = Callable[[IReactorCore], Awaitable[None]]


class Startable(Protocol):
    """A service that says when it is up. One that cannot start ends the process with a sentence and exit code 1."""

    started: Deferred[None]

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...


def serve(options: TeleportOptions, then: Then | None = None) -> None:
    """Start the services of a configuration, and return once a signal has stopped them.

    :param then: is called when all services are up; what it raises stops them, and is raised here.
    :raises TeleportError: why they cannot be started.
    """
    settings = options.settings.teleport
    begin_log(observer(open_log(settings.log.output), settings.log.severity))
    make_service: Callable[[TeleportOptions], Startable] = namedAny(_MAKE_SERVICE)
    service = make_service(options)
    from twisted.internet import reactor

    if settings.pid_file is not None:
        _keep_pid(reactor, settings.pid_file)
    with suppress(Interrupted):
        run_to_end(reactor, lambda: _live(reactor, service, then))


async def _live(reactor: IReactorCore, service: Startable, then: Then | None) -> None:
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    await service.started
    if then is not None:
        await then(reactor)
    await Deferred()  # until the reactor is stopped


def _keep_pid(reactor: IReactorCore, path: Path) -> None:
    """Write the number of this process to a file, and remove that when the process stops."""
    try:
        private_files.write(path, f"{os.getpid()}\n", _PID_MODE)
    except OSError as reason:
        raise StartError(f"The pid_file {path} cannot be written: {reason.strerror}.") from None
    reactor.addSystemEventTrigger("during", "shutdown", private_files.remove, path)
