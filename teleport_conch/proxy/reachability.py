"""Dials back to nodes that join or move: an address that cannot be reached is said at once, at both ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.errors import ConnectionProblem, TeleportError
from teleport_conch.resources.server import Server, State

AGAIN_S = 60.0
SECOND_TRY_S = 3.0
"""One failure says little: who has just joined announces itself a moment before it listens."""
MAX_PROBES = 8


class Reporter(Protocol):
    """The part of auth's API that hears of it."""

    async def report_reachability(self, uuid: str, error: str) -> None:
        """``error`` is why the node cannot be dialled, empty where it can."""


class Prober(Protocol):
    """What dials."""

    async def probe(self, node: str, address: str) -> None:
        """Raises :class:`ConnectionProblem`."""


class Reachability(Service):
    """Probes each node once for each address that it announces, and those that failed again every minute.

    :param nodes: the nodes as the proxy knows them.
    :param reporter: answers the client of the moment, None while there is none.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        nodes: Callable[[], Sequence[Server]],
        prober: Prober,
        reporter: Callable[[], Reporter | None],
    ) -> None:
        self._clock = clock
        self._nodes = nodes
        self._prober = prober
        self._reporter = reporter
        self._known: dict[str, tuple[str, str]] = {}
        self._waiting: deque[Server] = deque()
        self._probes: set[Deferred[None]] = set()
        self._loop = LoopingCall(self._again)
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(AGAIN_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()
        self._waiting.clear()
        for probe in list(self._probes):
            probe.cancel()

    def nodes_changed(self) -> None:
        """Probes whoever is there at an address that has not been tried."""
        nodes = self._nodes()
        present = {node.name for node in nodes}
        self._known = {name: tried for name, tried in self._known.items() if name in present}
        for node in nodes:
            tried, _ = self._known.get(node.name, ("", ""))
            if node.presence.state is State.ONLINE and node.addr != tried:
                self._known[node.name] = (node.addr, "")
                self._waiting.append(node)
        self._next()

    def _again(self) -> None:
        failed = {name for name, (_, error) in self._known.items() if error}
        self._waiting.extend(node for node in self._nodes() if node.name in failed)
        self._next()

    def _next(self) -> None:
        while self.running and self._waiting and len(self._probes) < MAX_PROBES:
            probe = Deferred.fromCoroutine(self._probe(self._waiting.popleft()))
            if not probe.called:
                self._probes.add(probe)
            probe.addBoth(self._probed, probe)

    def _probed(self, result: object, probe: Deferred[None]) -> None:
        self._probes.discard(probe)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("a node could not be probed", failure=result)
        self._next()

    async def _probe(self, node: Server) -> None:
        before = self._known.get(node.name, ("", ""))[1]
        error = await self._why_not(node)
        if error and not before:
            await deferLater(self._clock, SECOND_TRY_S)
            error = await self._why_not(node)
        self._known[node.name] = (node.addr, error)
        if error and error != before:
            self._log.warn("The node {name} cannot be reached: {error}", name=node.hostname, error=error)
        reporter = self._reporter()
        if reporter is not None and error != node.presence.unreachable:
            try:
                await reporter.report_reachability(node.name, error)
            except TeleportError as problem:
                self._log.info("auth was not told that {name} was probed: {why}", name=node.name, why=problem.sentence)

    async def _why_not(self, node: Server) -> str:
        """Why the node cannot be dialled, empty where it can."""
        try:
            await self._prober.probe(node.name, node.addr)
        except ConnectionProblem as problem:
            return problem.sentence
        return ""
