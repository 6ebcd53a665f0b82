"""The sessions of a node, as auth hears of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import ConnectionProblem
from teleport_conch.node.active import LASTING_S, MAX_IN_CALL, REFRESH_S, ActiveSessions, LastingSessions, SessionClient
from teleport_conch.resources.session import ActiveSession

SESSION = ActiveSession(
    id="11111111-1111-1111-1111-111111111111",
    user="alice",
    login="root",
    server_id="6b1f7ad0-4a7c-4c5e-9c51-0d1f5f0f8a11",
    server_hostname="web1",
    remote_addr="192.0.2.7:50000",
    created_at=0.0,
    last_active_at=0.0,
)
OTHER = evolve(SESSION, id="22222222-2222-2222-2222-222222222222")
Told = tuple[list[ActiveSession], list[str]]


class ActiveSessionsTests(SynchronousTestCase):
    """What auth is told, by a client that answers at once, later, or not at all."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Told] = []
        self.refused: dict[str, str] = {}
        self.away = False
        self.problem: Exception | None = None
        self.wait: Deferred[None] | None = None
        self.sessions = ActiveSessions(self.clock, self.client)
        self.sessions.startService()
        self.addCleanup(self.sessions.stopService)

    def client(self) -> SessionClient | None:
        return None if self.away else self

    async def tell_sessions(self, running: Sequence[ActiveSession], ended: Sequence[str]) -> Mapping[str, str]:
        self.told.append((list(running), list(ended)))
        if self.problem is not None:
            raise self.problem
        if self.wait is not None:
            await self.wait
        return self.refused

    def take(self) -> list[Told]:
        """The calls since this was asked last."""
        told, self.told = self.told, []
        return told

    def test_beginning_and_end(self) -> None:
        """Auth hears when a session begins and when it ends."""
        self.sessions.started(SESSION)
        self.sessions.ended(SESSION.id)
        self.assertEqual(self.take(), [([SESSION], []), ([], [SESSION.id])])

    def test_refreshed(self) -> None:
        """While it lasts, auth hears that it still does; a session that has ended is not refreshed."""
        self.sessions.started(SESSION)
        self.sessions.started(OTHER)
        self.sessions.ended(OTHER.id)
        self.take()
        self.clock.advance(REFRESH_S)
        self.assertEqual(self.take(), [([evolve(SESSION, last_active_at=REFRESH_S)], [])])

    def test_the_last_word_is_the_last(self) -> None:
        """A session that ends while auth is still being told of its beginning is removed behind that, not beside it."""
        self.wait = Deferred()
        self.sessions.started(SESSION)
        self.sessions.ended(SESSION.id)
        self.assertEqual(self.take(), [([SESSION], [])])
        wait, self.wait = self.wait, None
        wait.callback(None)
        self.assertEqual(self.take(), [([], [SESSION.id])])

    def test_slow(self) -> None:
        """However long auth takes, there is one call, and the next one is about all that happened meanwhile."""
        self.wait = Deferred()
        self.sessions.started(SESSION)
        self.sessions.started(OTHER)
        for _ in range(100):
            self.clock.advance(REFRESH_S)
        self.assertEqual(self.take(), [([SESSION], [])])
        wait, self.wait = self.wait, None
        wait.callback(None)
        now = self.clock.seconds()
        self.assertEqual(self.take(), [([evolve(each, last_active_at=now) for each in (OTHER, SESSION)], [])])

    def test_many(self) -> None:
        """A thousand sessions are refreshed by a few calls, one after the other."""
        self.away = True
        for number in range(1000):
            self.sessions.started(evolve(SESSION, id=f"s-{number}"))
        self.away, self.wait = False, Deferred()
        self.clock.advance(REFRESH_S)
        self.assertEqual([len(running) for running, _ in self.take()], [MAX_IN_CALL])
        wait, self.wait = self.wait, None
        wait.callback(None)
        told = self.take()
        self.assertEqual([len(running) for running, _ in told], [MAX_IN_CALL] * (1000 // MAX_IN_CALL - 1))

    def test_one_refused(self) -> None:
        """Why auth does not list a session is in the log of those who look for it."""
        self.refused = {SESSION.id: "A host has at most 2 sessions at one time."}
        with capturedLogs() as logged:
            self.sessions.started(SESSION)
        self.assertEqual(
            [formatEvent(entry) for entry in logged],
            [f"auth refuses the session {SESSION.id}: A host has at most 2 sessions at one time."],
        )

    def test_away(self) -> None:
        """While there is no client nothing is told, and all that still lasts is when there is one again."""
        self.away = True
        self.sessions.started(SESSION)
        self.sessions.started(OTHER)
        self.sessions.ended(OTHER.id)
        self.clock.advance(REFRESH_S)
        self.assertEqual(self.take(), [])
        self.away = False
        self.clock.advance(REFRESH_S)
        self.assertEqual(self.take(), [([evolve(SESSION, last_active_at=2 * REFRESH_S)], [])])

    def test_refused(self) -> None:
        """What auth answers changes nothing about the next time."""
        self.problem = ConnectionProblem("auth is away")
        self.sessions.started(SESSION)
        self.clock.advance(REFRESH_S)
        self.assertEqual(len(self.take()), 2)

    def test_failed(self) -> None:
        """A mistake of ours is logged, and the refreshing goes on."""
        self.problem = ZeroDivisionError("ours")
        self.sessions.started(SESSION)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.problem = None
        self.clock.advance(REFRESH_S)
        self.assertEqual(len(self.take()), 2)

    def test_stopped(self) -> None:
        """A node that stops waits for nobody: calls are given up, and no more are made."""
        cancelled: list[object] = []
        self.wait = Deferred(cancelled.append)
        self.sessions.started(SESSION)
        self.sessions.ended(SESSION.id)
        self.successResultOf(self.sessions.stopService())
        self.assertEqual((len(cancelled), self.take()), (1, [([SESSION], [])]))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sessions.startService()

    def test_short_sessions(self) -> None:
        """Auth hears of sessions that last, from their beginning; of others there are events."""
        lasting = LastingSessions(self.clock, self.sessions)
        lasting.started(SESSION)
        lasting.started(OTHER)
        self.assertEqual(lasting.count, 2)
        lasting.ended(OTHER.id)
        self.clock.advance(LASTING_S)
        self.assertEqual(self.take(), [([SESSION], [])])
        self.assertEqual(lasting.count, 1)
        lasting.ended(SESSION.id)
        lasting.ended(SESSION.id)
        self.assertEqual(self.take(), [([], [SESSION.id])])
        self.assertEqual((lasting.count, len(self.clock.getDelayedCalls())), (0, 1), "the refreshing alone")
