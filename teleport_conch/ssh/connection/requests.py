"""Requests of either side, whose answers leave and arrive in their order (RFC 4254, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from teleport_conch.errors import TeleportError
from teleport_conch.ssh.transport.violation import ProtocolViolation

MAX_REQUEST_BYTES = 256 << 10
"""What one request may hold beside its name."""
MAX_WAITING_REQUESTS = 128
MAX_WAITING_BYTES = 1 << 20
"""What the payloads of the requests of one queue may hold while they wait."""
MAX_UNANSWERED = 128
"""How many requests of ours may wait for the peer's answers, on one channel and on the connection."""

Request = Callable[[], Coroutine[Deferred[object], object, None]]
Answer = TypeVar("Answer")


class RequestRefused(TeleportError):
    """The peer does not do what we asked for, or will not answer any more."""

    code = "REQUEST_REFUSED"
    http_status = 403


class RequestQueue:
    """Runs requests of the peer one after the other, so that replies leave in the order of the requests."""

    __slots__ = ("_busy", "_failed", "_running", "_waiting", "_waiting_bytes")

    def __init__(self, failed: Callable[[Failure], None]) -> None:
        self._waiting: list[tuple[Request, int]] = []
        self._waiting_bytes = 0
        self._busy = False
        self._running: Deferred[None] | None = None
        self._failed = failed

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._busy

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
            running = Deferred.fromCoroutine(self._run())
            running.addErrback(self._failed)
            self._running = None if running.called else running

    async def _run(self) -> None:
        try:
            while self._waiting:
                request, size = self._waiting.pop(0)
                self._waiting_bytes -= size
                await request()
        finally:
            self._busy = False
            self._running = None

    def stop(self) -> None:
        """Cancels what runs and forgets what waits."""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._running is not None:
            self._running.cancel()


class Replies(Generic[Answer]):
    """Requests of ours that wait for the peer's replies, which carry no number: the oldest is answered first.

    A reply that nobody waits for changes nothing. One whose Deferred was cancelled keeps its place, as the peer
    answers it all the same.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Deferred[Answer]] = []

    def expect(self) -> Deferred[Answer]:
        """The reply to a request that is sent now.

        :raises RequestRefused: too many are due.
        """
        if len(self._waiting) >= MAX_UNANSWERED:
            raise RequestRefused(f"{MAX_UNANSWERED} requests have not been answered by the other side.")
        reply: Deferred[Answer] = Deferred()
        self._waiting.append(reply)
        return reply

    def granted(self, answer: Answer) -> None:
        """The peer's answer to the oldest request."""
        if self._waiting:
            self._waiting.pop(0).callback(answer)

    def refused(self, refusal: RequestRefused) -> None:
        """The peer does not grant the oldest request."""
        if self._waiting:
            self._waiting.pop(0).errback(refusal)

    def lost(self) -> None:
        """No reply will come."""
        waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply.errback(RequestRefused("The connection ended before the other side had answered."))
