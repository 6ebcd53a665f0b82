"""Requests that may be answered later, and whose answers leave in order all the same (RFC 4254, section 4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

MAX_WAITING_REQUESTS = 128


class ProtocolViolation(ValueError):
    """The peer broke RFC 4254 in a way that ends the connection."""


class RequestQueue:
    """Runs requests one after the other, so that replies leave in the order of the requests (RFC 4254, section 4)."""

    def __init__(self, failed: Callable[[Failure], None]) -> None:
        self._waiting: deque[Callable[[], Coroutine[Deferred[object], object, None]]] = deque()
        self._busy = False
        self._running: Deferred[None] | None = None
        self._failed = failed

    def put(self, request: Callable[[], Coroutine[Deferred[object], object, None]]) -> None:
        """Runs ``request`` behind all that wait. Raises :class:`ProtocolViolation` where too many do."""
        if len(self._waiting) >= MAX_WAITING_REQUESTS:
            raise ProtocolViolation("too many requests wait for their answers")
        self._waiting.append(request)
        if not self._busy:
            self._busy = True
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._failed)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._waiting.popleft()()
        finally:
            self._busy = False

    def stop(self) -> None:
        """Cancels what runs and forgets what waits."""
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()
