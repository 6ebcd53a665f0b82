"""Active sessions: whose, how long, and how many."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth import limits
from teleport_conch.auth.hosts import sessions
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, NotFound
from teleport_conch.resources.session import ActiveSession
from tests.auth.fixture import NOW, WEB1, WEB2, ClusterTestCase

SESSION = ActiveSession("s-1", "alice", "root", WEB1, "web1", "192.0.2.7:4000", NOW, NOW, True)
PATH = "/v1/namespaces/default/sessions"


class SessionTests(ClusterTestCase):
    def test_lives_as_long_as_it_is_refreshed(self) -> None:
        """A node that goes on saying so keeps its session; half a minute of silence ends it."""
        for _ in range(4):
            self.now(self.cluster.sessions.put(SESSION))
            self.clock.advance(20)
        self.assertEqual(self.now(self.cluster.sessions.all()), (SESSION,))
        self.clock.advance(10)
        self.assertEqual(self.now(self.cluster.sessions.all()), ())

    def test_since_when(self) -> None:
        """The beginning of a session is not changed by what is said later."""
        self.now(self.cluster.sessions.put(SESSION))
        self.now(self.cluster.sessions.put(evolve(SESSION, created_at=NOW + 5, last_active_at=NOW + 5)))
        [session] = self.now(self.cluster.sessions.all())
        self.assertEqual((session.created_at, session.last_active_at), (NOW, NOW + 5))

    def test_oldest_first(self) -> None:
        """They are listed by when they began."""
        for name, at in (("b", NOW), ("a", NOW + 1), ("c", NOW - 1)):
            self.now(self.cluster.sessions.put(evolve(SESSION, id=name, created_at=at)))
        self.assertEqual([each.id for each in self.now(self.cluster.sessions.all())], ["c", "b", "a"])

    def test_another_hosts(self) -> None:
        """A host speaks for sessions on itself, and takes no other's id."""
        node, other = self.host(self.join()), self.host(self.join(WEB2, "web2"))
        self.assertEqual(self.call(node, "POST", PATH, SESSION.to_json()).status, 200)
        self.assertEqual(self.call(other, "POST", PATH, SESSION.to_json()).status, 403)
        self.assertEqual(self.call(other, "POST", PATH, evolve(SESSION, server_id=WEB2).to_json()).status, 403)
        self.assertEqual(self.call(other, "DELETE", f"{PATH}/s-1").status, 403)
        self.refused(self.cluster.sessions.put(evolve(SESSION, server_id=WEB2)), AccessDenied)
        self.assertEqual(self.call(node, "DELETE", f"{PATH}/s-1").status, 200)
        self.assertEqual(self.call(node, "DELETE", f"{PATH}/s-1").code, "NOT_FOUND")

    def test_ids(self) -> None:
        """An id is no path."""
        for name in ("", "../tokens/x", "a/b", "a b", "\x00", "x" * 65):
            self.refused(self.cluster.sessions.put(evolve(SESSION, id=name)), BadParameter)
        self.refused(self.cluster.sessions.get("none"), NotFound)

    def test_inert(self) -> None:
        """Nothing that a terminal would obey gets into the list."""
        for session in (evolve(SESSION, user="al\x1b[2J"), evolve(SESSION, login="root\n")):
            reason = self.refused(self.cluster.sessions.put(session), BadParameter)
            self.assertEqual(reason.sentence, "A session holds characters that cannot be printed.")

    def test_bounded(self) -> None:
        """So many at one time on one host; ended ones do not count."""
        self.patch(sessions, "MAX_SESSIONS_PER_HOST", 2)
        for name in ("a", "b"):
            self.now(self.cluster.sessions.put(evolve(SESSION, id=name)))
        third = evolve(SESSION, id="c")
        self.refused(self.cluster.sessions.put(third), LimitExceeded)
        self.now(self.cluster.sessions.put(evolve(third, server_id=WEB2)))
        self.now(self.cluster.sessions.remove(evolve(SESSION, id="a")))
        self.now(self.cluster.sessions.put(evolve(third, id="d")))
        self.clock.advance(limits.SESSION_S)
        self.now(self.cluster.sessions.put(evolve(third, id="e")))
