"""Dials back to nodes that join or move: an address that cannot be reached is said at once, at both ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
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


@frozen
class Tried:
    """How it went to dial a node at an address, the last time; ``told`` is false while auth has not heard of it."""

    addr: str = ""
    error: str = ""
    told: bool = True


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
        self._known: dict[str, Tried] = {}
        self._waiting: deque[Server] = deque()
        self._probes: set[Deferred[None]] = set()
        self._loop = LoopingCall(self._again)
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(AGAIN_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self._waiting.clear()
        for probe in list(self._probes):
            probe.cancel()

    def nodes_changed(self) -> None:
        """Probes whoever is there at an address that has not been tried, before those that are tried again."""
        nodes = self._present()
        if nodes is None:
            return
        present = {node.name for node in nodes}
        self._known = {name: tried for name, tried in self._known.items() if name in present}
        for node in nodes:
            if node.presence.state is State.ONLINE and node.addr != self._tried(node).addr:
                self._known[node.name] = Tried(node.addr)
                self._waiting.appendleft(node)
        self._next()

    def _present(self) -> Sequence[Server] | None:
        """The nodes; None where the proxy knows nothing any more."""
        try:
            return self._nodes()
        except TeleportError as problem:
            self._log.info("no node is probed: {why}", why=problem.sentence)
            return None

    def _tried(self, node: Server) -> Tried:
        return self._known.get(node.name, Tried())

    def _again(self) -> None:
        """Tries those that failed, and tells what could not be told; not while the last round still goes on."""
        if not self._waiting:
            self._waiting.extend(filter(self._in_doubt, self._present() or ()))
            self._next()

    def _in_doubt(self, node: Server) -> bool:
        tried = self._tried(node)
        return node.presence.state is not State.OFFLINE and (tried.error != "" or not tried.told)

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
        before = self._tried(node).error
        error = await self._why_not(node)
        if error and not before:
            await deferLater(self._clock, SECOND_TRY_S)
            error = await self._why_not(node)
        if self._tried(node).addr != node.addr:
            return  # it has moved, or gone, meanwhile
        if error and error != before:
            self._log.warn("The node {name} cannot be reached: {error}", name=node.hostname, error=error)
        self._known[node.name] = Tried(node.addr, error, told=False)
        told = error == node.presence.unreachable or await self._tell(node, error)
        if self._tried(node).addr == node.addr:
            self._known[node.name] = Tried(node.addr, error, told)

    async def _tell(self, node: Server, error: str) -> bool:
        """Whether auth has heard of it."""
        reporter = self._reporter()
        if reporter is None:
            return False
        try:
            await reporter.report_reachability(node.name, error)
        except TeleportError as problem:
            self._log.info("auth was not told that {name} was probed: {why}", name=node.name, why=problem.sentence)
            return False
        return True

    async def _why_not(self, node: Server) -> str:
        """Why the node cannot be dialled, empty where it can."""
        try:
            await self._prober.probe(node.name, node.addr)
        except ConnectionProblem as problem:
            return problem.sentence
        return ""
