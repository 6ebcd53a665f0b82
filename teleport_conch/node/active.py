"""The sessions of this node, told to auth when they begin and end, and in between so that it knows they still run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.errors import TeleportError
from teleport_conch.resources.session import ActiveSession

REFRESH_S = 10.0
LASTING_S = 0.5
"""Sessions that end sooner, in seconds, are in the audit log, and never in the list of those that run."""


class SessionClient(Protocol):
    """The part of auth's API that is about active sessions."""

    async def put_session(self, session: ActiveSession) -> None:
        """The session runs."""

    async def remove_session(self, session_id: str) -> None:
        """It is over."""


class ActiveSessions(Service):
    """Keeps auth's list right; while auth is away it only remembers.

    There is one call at a time for each session, and it says what is true when it begins: however slow auth is,
    the last word is the last that it hears, and calls do not pile up.

    :param client: answers the client of the moment, None while there is none.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, client: Callable[[], SessionClient | None]) -> None:
        self._clock = clock
        self._client = client
        self._sessions: dict[str, ActiveSession] = {}
        self._news: set[str] = set()
        self._calls: dict[str, Deferred[None]] = {}
        self._loop = LoopingCall(self._refresh)
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(REFRESH_S, now=False)

    def stopService(self) -> Deferred[None]:
        """Ends the refreshing; auth forgets the sessions by itself."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self._news.clear()
        for call in list(self._calls.values()):
            call.cancel()
        return succeed(None)

    def started(self, session: ActiveSession) -> None:
        """A session has begun."""
        self._sessions[session.id] = session
        self._tell(session.id)

    def ended(self, session_id: str) -> None:
        """A session is over."""
        self._sessions.pop(session_id, None)
        self._tell(session_id)

    def _refresh(self) -> None:
        now = self._clock.seconds()
        for session in list(self._sessions.values()):
            self._sessions[session.id] = evolve(session, last_active_at=now)
            self._tell(session.id)

    def _tell(self, session_id: str) -> None:
        self._news.add(session_id)
        if session_id not in self._calls:
            call = Deferred.fromCoroutine(self._say(session_id))
            if not call.called:
                self._calls[session_id] = call
            call.addBoth(self._said, session_id)

    async def _say(self, session_id: str) -> None:
        while session_id in self._news:
            self._news.discard(session_id)
            client, session = self._client(), self._sessions.get(session_id)
            try:
                if client is not None and session is not None:
                    await client.put_session(session)
                elif client is not None:
                    await client.remove_session(session_id)
            except TeleportError as problem:
                self._log.debug("auth was not told of a session: {why}", why=problem.sentence)

    def _said(self, result: Failure | None, session_id: str) -> None:
        self._calls.pop(session_id, None)
        if result is not None and not result.check(CancelledError):
            self._log.failure("telling auth of a session failed", failure=result)


class LastingSessions:
    """Passes on sessions that last: to tell auth of each ``ssh host true`` twice costs more than all of its session.

    :param sessions: hears of those that last for :data:`LASTING_S`.
    """

    def __init__(self, clock: IReactorTime, sessions: ActiveSessions) -> None:
        self._clock = clock
        self._sessions = sessions
        self._waiting: dict[str, IDelayedCall] = {}
        self._told: set[str] = set()

    @property
    def count(self) -> int:
        """How many run."""
        return len(self._waiting) + len(self._told)

    def started(self, session: ActiveSession) -> None:
        """A session has begun."""
        self._waiting[session.id] = self._clock.callLater(LASTING_S, self._lasts, session)

    def ended(self, session_id: str) -> None:
        """A session is over."""
        call = self._waiting.pop(session_id, None)
        if call is not None:
            call.cancel()
        elif session_id in self._told:
            self._told.remove(session_id)
            self._sessions.ended(session_id)

    def _lasts(self, session: ActiveSession) -> None:
        del self._waiting[session.id]
        self._told.add(session.id)
        self._sessions.started(session)
