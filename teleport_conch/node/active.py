"""The sessions of this node, told to auth when they begin and end, and in between so that it knows they still run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
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
MAX_IN_CALL = 250
"""How many sessions one call is about; with more of them there are more calls, one after the other."""
LASTING_S = 0.5
"""Sessions that end sooner, in seconds, are in the audit log, and never in the list of those that run."""


class SessionClient(Protocol):
    """The part of auth's API that is about active sessions."""

    async def tell_sessions(self, running: Sequence[ActiveSession], ended: Sequence[str]) -> Mapping[str, str]:
        """These run, and those are over; answers which of them are refused, and why."""


class ActiveSessions(Service):
    """Keeps auth's list right; while auth is away it only remembers.

    There is one call at a time, which says of many sessions what is true when it begins: however slow auth is, the last
    word is the last that it hears, calls do not pile up, and a thousand sessions cost little more than one.

    :param client: answers the client of the moment, None while there is none.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, client: Callable[[], SessionClient | None]) -> None:
        self._clock = clock
        self._client = client
        self._sessions: dict[str, ActiveSession] = {}
        self._news: dict[str, None] = {}
        self._telling: Deferred[None] | None = None
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
        if self._telling is not None:
            self._telling.cancel()
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
        self._sessions = {key: evolve(session, last_active_at=now) for key, session in self._sessions.items()}
        self._tell(*self._sessions)

    def _tell(self, *session_ids: str) -> None:
        self._news.update(dict.fromkeys(session_ids))
        if self._news and self._telling is None:
            telling = Deferred.fromCoroutine(self._tell_all())
            if not telling.called:
                self._telling = telling
            telling.addBoth(self._told)

    async def _tell_all(self) -> None:
        while self._news:
            due = list(islice(self._news, MAX_IN_CALL))
            for session_id in due:
                del self._news[session_id]
            client = self._client()
            if client is not None:
                await self._tell_auth(client, due)

    async def _tell_auth(self, client: SessionClient, due: Sequence[str]) -> None:
        running = [self._sessions[each] for each in due if each in self._sessions]
        ended = [each for each in due if each not in self._sessions]
        try:
            refused = await client.tell_sessions(running, ended)
        except TeleportError as problem:
            self._log.debug("auth was not told of sessions: {why}", why=problem.sentence)
        else:
            for session_id, why in refused.items():
                self._log.debug("auth refuses the session {session}: {why}", session=session_id, why=why)

    def _told(self, result: Failure | None) -> None:
        self._telling = None
        if result is not None and not result.check(CancelledError):
            self._log.failure("telling auth of sessions failed", failure=result)


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
