"""Runs ``xauth`` as the account of a login, which keeps the cookies of its displays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from teleport_conch.errors import SpawnFailed
from teleport_conch.ssh.monitor.orders import NO_RC, Program
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.processes.running import Spawner

XAUTH_S = 10.0
COMMAND = "exec xauth -q -"


class _Events:
    """Waits for the end; what the program prints is nobody's business."""

    def __init__(self) -> None:
        self.ended: Deferred[ExitStatus] = Deferred()

    def output_received(self, data: bytes) -> None:
        """Dropped."""

    def error_received(self, data: bytes) -> None:
        """Dropped."""

    def output_ended(self) -> None:
        """See :meth:`exited`."""

    def error_ended(self) -> None:
        """See :meth:`exited`."""

    def exited(self, status: ExitStatus) -> None:
        if not self.ended.called:
            self.ended.callback(status)


async def tell_xauth(
    reactor: IReactorFDSet, clock: IReactorTime, spawner: Spawner, environment: Mapping[str, str], lines: str
) -> None:
    """Gives ``lines`` to the ``xauth`` of the login.

    :raises SpawnFailed: it is not there, or does not do it.
    """
    events = _Events()
    process = Process(reactor, clock, await spawner.spawn(Program(COMMAND, environment, None, NO_RC)), events)
    process.write(lines.encode())
    process.end_input()
    try:
        status = await events.ended.addTimeout(XAUTH_S, clock, _too_slow)
    except SpawnFailed:
        process.hang_up()
        raise
    if status.code != 0:
        raise SpawnFailed("X11 forwarding needs xauth on this host, and a home to keep its cookies in.")


def _too_slow(result: object, timeout_s: float) -> NoReturn:
    raise SpawnFailed(f"xauth has not ended for {timeout_s:.0f} seconds.")
