"""Requests that may be answered later, and whose answers leave in order all the same (RFC 4254, section 4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

MAX_WAITING_REQUESTS = 128
MAX_WAITING_BYTES = 1 << 20
"""What the payloads of the requests of one queue may hold while they wait."""

Request = Callable[[], Coroutine[Deferred[object], object, None]]


class ProtocolViolation(ValueError):
    """The peer broke RFC 4254 in a way that ends the connection."""


class RequestQueue:
    """Runs requests one after the other, so that replies leave in the order of the requests (RFC 4254, section 4)."""

    def __init__(self, failed: Callable[[Failure], None]) -> None:
        self._waiting: deque[tuple[Request, int]] = deque()
        self._waiting_bytes = 0
        self._busy = False
        self._running: Deferred[None] | None = None
        self._failed = failed

    def put(self, request: Request, size: int = 0) -> None:
        """Runs ``request``, which holds ``size`` bytes, behind all that wait.

        :raises ProtocolViolation: too many do.
        """
        if len(self._waiting) >= MAX_WAITING_REQUESTS or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise ProtocolViolation("too many requests wait for their answers")
        self._waiting.append((request, size))
        self._waiting_bytes += size
        if not self._busy:
            self._busy = True
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._failed)

    async def _run(self) -> None:
        try:
            while self._waiting:
                request, size = self._waiting.popleft()
                self._waiting_bytes -= size
                await request()
        finally:
            self._busy = False

    def stop(self) -> None:
        """Cancels what runs and forgets what waits."""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._running is not None:
            self._running.cancel()
