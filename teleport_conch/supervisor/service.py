"""The process of a service that starts as root: it holds the listening sockets, and lets others do everything else.

What parses bytes from the network is a *worker*: the same command again, as the account ``teleport``, with the
listening sockets and a socket to the monitor. When the supervisor is stopped, or told to begin anew (``SIGHUP``), a
worker stops accepting, leaves the cluster to its successor, and lives until its last client has gone.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from twisted.application.service import IService
from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.config.settings import Settings
from teleport_conch.errors import StartError
from teleport_conch.starting import Reactor, StartingService, as_part, as_plugin, stop_with
from teleport_conch.supervisor.account import give_folder, give_log
from teleport_conch.supervisor.apart import check_apart
from teleport_conch.supervisor.given import Given, given_to_us
from teleport_conch.supervisor.host_key import take_over_host_key
from teleport_conch.supervisor.listening import bind
from teleport_conch.supervisor.plan import Plan
from teleport_conch.supervisor.tracing import check_tracing
from teleport_conch.supervisor.worker import Seat, Worker
from teleport_conch.supervisor.working import Retiring, Working

RETIRE_S = 15.0
"""How long a worker may take to leave the cluster before its successor starts, in seconds."""

AGAIN_S = 1.0
"""Before another worker replaces one that ended by itself, in seconds."""


class Supervisor(StartingService):
    """Keeps a worker serving in each seat."""

    _log = Logger()

    def __init__(self, reactor: Reactor, plan: Plan) -> None:
        super().__init__(reactor)
        self._supervised = reactor
        self._plan = plan
        self._seats: Sequence[Seat] = ()
        self._workers: dict[int, Worker] = {}
        self._renewals = DeferredLock()

    async def start_up(self) -> None:
        """Sockets, folder, workers: the one that leads first, as the others follow what it keeps on disk."""
        plan = self._plan
        check_apart(plan)
        check_tracing(plan.sessions)
        self._seats = _seats(plan)
        if plan.account is not None:
            for folder in (plan.data_dir, *((plan.storage,) if plan.has_auth else ())):
                give_folder(folder, plan.account)
            take_over_host_key(plan)
        signal.signal(signal.SIGHUP, lambda *_: self._supervised.callFromThread(self.hang_up))
        leader, *others = self._seats
        await self._start(leader).up
        await gatherResults([self._start(seat).up for seat in others])
        if plan.account is not None:
            self._log.info("{what} is served by the account {name}.", what=plan.what, name=plan.account.pw_name)
        if others:
            self._log.info("{what} has {count} workers.", what=plan.what, count=plan.workers)

    def stopService(self) -> Deferred[None]:
        """Goes as soon as a successor may start; each worker goes when its last client has gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.running = 0
        await gatherResults([Deferred.fromCoroutine(self._retire(seat)) for seat in self._seats])
        await super().stopService()
        for seat in self._seats:
            for each in seat.sockets.values():
                each.close()

    async def _retire(self, seat: Seat) -> None:
        worker = self._workers.pop(seat.number, None)
        if worker is not None:
            worker.retire()
            with suppress(Exception):
                await worker.retired.addTimeout(RETIRE_S, self._supervised)

    def hang_up(self) -> None:
        """Exchanges the workers, one after the other; while that goes on, it will be done once more."""
        if self._renewals.waiting:
            return  # it will be done once more anyway
        self._log.info("{what} starts anew; sessions go on.", what=self._plan.what)
        self._renewals.run(lambda: Deferred.fromCoroutine(self._renew())).addErrback(self._failed)

    async def _renew(self) -> None:
        for seat in self._seats:
            await self._retire(seat)
            if self.running:
                await self._start(seat).up

    def _start(self, seat: Seat) -> Worker:
        if self._plan.account is not None and self._plan.log:
            give_log(self._plan.log, self._plan.account)  # each time, as logs are rotated
        worker = Worker.start(self._supervised, self._plan, seat, partial(self._ended, seat))
        self._workers[seat.number] = worker
        return worker

    def _ended(self, seat: Seat, worker: Worker) -> None:
        """A worker is gone. One that never served said why itself, and the next would say the same."""
        if worker is not self._workers.get(seat.number):
            return
        del self._workers[seat.number]
        if not worker.served:
            stop_with(self._supervised, Failure(self._not_started()))
        elif self.running:
            self._log.error("A worker has ended by itself; another is started.")
            self._supervised.callLater(AGAIN_S, self._again, seat)

    def _not_started(self) -> StartError:
        account = self._plan.account
        who = "" if account is None else f" as the account {account.pw_name}"
        return StartError(f"{self._plan.what} could not be started{who}; the reason stands above.")

    def _again(self, seat: Seat) -> None:
        if self.running and seat.number not in self._workers:
            try:
                self._start(seat)
            except StartError as problem:
                stop_with(self._supervised, Failure(problem))


def _seats(plan: Plan) -> Sequence[Seat]:
    bound: list[dict[str, socket.socket]] = [{} for _ in range(plan.workers)]
    for listener in plan.listeners:
        for sockets, each in zip(bound, bind(listener, plan.workers), strict=True):
            sockets[listener.name] = each
    return [Seat(number, sockets) for number, sockets in enumerate(bound)]


def supervised(
    reactor: Reactor, settings: Settings, plan: Plan | None, serve: Callable[[Given | None], Retiring]
) -> IService:
    """What a plugin starts: the supervisor of a plan, one of its workers, or where there is no plan the service itself.

    :param serve: makes the service, from what a worker was given.
    """
    given = given_to_us(os.environ)
    if given is not None:
        return as_part(Working(reactor, given, serve(given)))
    if plan is None:
        return as_plugin(serve(None), settings)
    return as_plugin(Supervisor(reactor, plan), settings)
