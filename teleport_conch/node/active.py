"""The sessions of this node, told to auth when they begin and end, and in between so that it knows they still run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from teleport_conch.errors import TeleportError
from teleport_conch.resources.session import ActiveSession

REFRESH_S = 10.0


class SessionClient(Protocol):
    """The part of auth's API that is about active sessions."""

    async def put_session(self, session: ActiveSession) -> None:
        """The session runs."""

    async def remove_session(self, session_id: str) -> None:
        """It is over."""


class ActiveSessions(Service):
    """Keeps auth's list right; while auth is away it only remembers.

    :param client: answers the client of the moment, None while there is none.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, client: Callable[[], SessionClient | None]) -> None:
        self._clock = clock
        self._client = client
        self._sessions: dict[str, ActiveSession] = {}
        self._loop = LoopingCall(self._refresh)
        self._loop.clock = clock
        self._calls: set[Deferred[None]] = set()

    def startService(self) -> None:
        super().startService()
        self._loop.start(REFRESH_S, now=False)

    def stopService(self) -> Deferred[None]:
        """Ends the refreshing; auth forgets the sessions by itself."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        for call in list(self._calls):
            call.cancel()
        return succeed(None)

    def started(self, session: ActiveSession) -> None:
        """A session has begun."""
        self._sessions[session.id] = session
        self._put(session)

    def ended(self, session_id: str) -> None:
        """A session is over."""
        self._sessions.pop(session_id, None)
        self._tell(lambda client: client.remove_session(session_id))

    def _refresh(self) -> None:
        now = self._clock.seconds()
        for session in self._sessions.values():
            self._put(evolve(session, last_active_at=now))

    def _put(self, session: ActiveSession) -> None:
        self._tell(lambda client: client.put_session(session))

    def _tell(self, message: Callable[[SessionClient], Coroutine[Deferred[object], object, None]]) -> None:
        client = self._client()
        if client is None:
            return
        call: Deferred[None] = Deferred.fromCoroutine(self._guarded(message(client)))
        if not call.called:
            self._calls.add(call)
            call.addBoth(lambda _: self._calls.discard(call))

    async def _guarded(self, message: Coroutine[Deferred[object], object, None]) -> None:
        try:
            await message
        except TeleportError as problem:
            self._log.debug("auth was not told of a session: {why}", why=problem.sentence)
