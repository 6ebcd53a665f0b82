"""Active sessions: whose, how long, and how many."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth import limits
from teleport_conch.auth.hosts import sessions
from teleport_conch.errors import BadParameter, LimitExceeded
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
        theirs = evolve(SESSION, server_id=WEB2)
        self.assertEqual(self.call(node, "POST", PATH, {"running": [SESSION.to_json()]}).body, {"refused": []})
        answer = self.call(other, "POST", PATH, {"running": [theirs.to_json(), SESSION.to_json()]})
        sentence = "A session is announced, and ended, by the host on which it runs."
        self.assertEqual((answer.status, answer.sentence), (403, sentence))
        taken = {"id": "s-1", "code": "ACCESS_DENIED", "message": "The session is another host's."}
        for body in ({"running": [theirs.to_json()]}, {"ended": ["s-1"]}):
            self.assertEqual(self.call(other, "POST", PATH, body).body, {"refused": [taken]})
        self.assertEqual(self.now(self.cluster.sessions.all()), (SESSION,))
        for _ in range(2):
            self.assertEqual(self.call(node, "POST", PATH, {"ended": ["s-1"]}).body, {"refused": []})
            self.assertEqual(self.now(self.cluster.sessions.all()), ())

    def test_one_of_many(self) -> None:
        """What is refused of one session leaves the others of the same call alone."""
        node = self.host(self.join())
        found = [evolve(SESSION, id=name).to_json() for name in ("a", "no id", "b")]
        refused = {
            "id": "no id",
            "code": "BAD_PARAMETER",
            "message": "The id of a session consists of letters, digits and hyphens.",
        }
        self.assertEqual(self.call(node, "POST", PATH, {"running": found}).body, {"refused": [refused]})
        self.assertEqual([each.id for each in self.now(self.cluster.sessions.all())], ["a", "b"])

    def test_so_many_in_a_call(self) -> None:
        """A call is bounded."""
        node = self.host(self.join())
        for body in ({"running": [SESSION.to_json()] * 501}, {"ended": ["s"] * 501}):
            answer = self.call(node, "POST", PATH, body)
            (name,) = body
            self.assertEqual((answer.status, answer.sentence), (400, f"sessions.{name} has more than 500 items."))

    def test_ids(self) -> None:
        """An id is no path."""
        for name in ("", "../tokens/x", "a/b", "a b", "\x00", "x" * 65):
            self.refused(self.cluster.sessions.put(evolve(SESSION, id=name)), BadParameter)

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
