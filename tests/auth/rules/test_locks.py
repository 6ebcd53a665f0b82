"""Locks on auth: whoever they speak of is refused at once, whatever their certificate and roles say (threat 53)."""

from __future__ import annotations

import json

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.client import readBody

from teleport_conch.auth.rules.callers import Peer
from teleport_conch.resources.lock import Lock
from tests.auth.fixture import AUTH, NOW, WEB1, WEB2, ClusterTestCase
from tests.references import unreferenced

NODES = "/v1/namespaces/default/nodes"
ALICE = Lock("stolen", user="alice", message="ask the desk")


class LockRouteTests(ClusterTestCase):
    def test_created(self) -> None:
        """A lock is kept with who made it and when, and is an event."""
        sent = {**ALICE.to_json(), "metadata": {"name": "stolen", "expires": NOW + 60}}
        answer = self.call(self.admin(), "POST", "/v1/locks", sent)
        self.assertEqual(answer.status, 200)
        [item] = self.call(self.admin(), "GET", "/v1/locks").items
        lock = Lock.from_json(item)
        self.assertEqual((lock.user, lock.message, lock.expires_at), ("alice", "ask the desk", NOW + 60))
        self.assertEqual((lock.created_at, lock.created_by), (NOW, "tctl on the auth host"))
        [event] = self.emitted.named("lock.created")
        self.assertEqual(
            event.fields,
            {
                "name": "stolen",
                "user": "tctl on the auth host",
                "target": "user=alice",
                "reason": "ask the desk",
                "expires": NOW + 60,
            },
        )

    def test_changed(self) -> None:
        """A change of a lock keeps who made it."""
        self.call(self.admin(), "POST", "/v1/locks", ALICE.to_json())
        self.clock.advance(5)
        changed = {**ALICE.to_json(), "spec": {"target": {"user": "alice"}, "created_by": "eve", "created": 1}}
        self.call(self.admin(), "PUT", "/v1/locks/stolen", changed)
        lock = self.cluster.locks.shelf.get("stolen").value
        self.assertEqual((lock.created_at, lock.created_by, lock.message), (NOW, "tctl on the auth host", ""))
        self.assertEqual(len(self.emitted.named("lock.updated")), 1)

    def test_mistakes(self) -> None:
        """A lock that names nothing, names something unknown or is over already is refused, and nothing is locked."""
        for changes, sentence in (
            ({"spec": {}}, "a lock names one of user, login, node, role"),
            ({"spec": {"target": {"usr": "alice"}}}, "'usr' is not known"),
            ({"metadata": {"name": "x", "expires": NOW}}, "lock.metadata.expires is in the past"),
        ):
            answer = self.call(self.admin(), "POST", "/v1/locks", {**ALICE.to_json(), **changes})
            self.assertEqual(answer.status, 400)
            self.assertIn(sentence, answer.sentence)
        self.assertEqual(self.cluster.locks.every.every, ())

    def test_expired(self) -> None:
        """A lock that has expired shuts nobody out, and is gone from the list soon."""
        self.now(self.cluster.locks.shelf.create(Lock("short", user="alice", expires_at=NOW + 60)))
        self.assertEqual(self.call(self.user(), "GET", NODES).status, 403)
        self.clock.advance(60)
        self.assertEqual(self.call(self.user(), "GET", NODES).status, 200)
        self.now(self.backend.expire(self.clock.seconds()))
        self.assertEqual(self.call(self.admin(), "GET", "/v1/locks").items, [])


class LockedTests(ClusterTestCase):
    def lock(self, lock: Lock) -> None:
        self.now(self.cluster.locks.shelf.create(lock))

    def test_53_user(self) -> None:
        """A locked person may call nothing, and reads why; others may, and so may the person once it is removed."""
        self.lock(ALICE)
        for role in ("access", "admin"):
            answer = self.call(self.user(role), "GET", NODES)
            self.assertEqual(
                (answer.status, unreferenced(answer.sentence)),
                (
                    403,
                    "user alice is not authorized to list node: locked by an administrator (ask the desk)",
                ),
            )
        self.assertEqual(len(self.emitted.named("api.denied")), 2)
        self.now(self.cluster.locks.shelf.remove("stolen"))
        self.assertEqual(self.call(self.user(), "GET", NODES).status, 200)

    def test_53_role(self) -> None:
        """A lock on a role is on whoever has it."""
        self.lock(Lock("role", role="access"))
        self.assertEqual(self.call(self.user("access", "auditor"), "GET", NODES).status, 403)
        self.assertEqual(self.call(self.user("auditor"), "GET", NODES).status, 200)

    def test_53_parts(self) -> None:
        """A lock on a login or a node says nothing of calls that are about neither."""
        self.lock(Lock("login", user="alice", login="root"))
        self.lock(Lock("node", user="alice", node="web1"))
        self.assertEqual(self.call(self.user(), "GET", NODES).status, 200)

    def test_53_node(self) -> None:
        """A locked node may call nothing, named by UUID or name; the proxy beside it, and other nodes, may."""
        peer, proxy = self.host(self.join()), self.host(self.join(role="Proxy"))
        for name in ("web1", WEB1):
            self.lock(Lock("node", node=name, message="broken into"))
            answer = self.call(peer, "GET", NODES)
            self.assertEqual((answer.status, answer.code), (403, "HOST_LOCKED"))
            self.assertEqual(answer.sentence, "The node web1 is locked by an administrator (broken into).")
            self.assertEqual(self.call(proxy, "GET", NODES).status, 200)
            self.now(self.cluster.locks.shelf.remove("node"))
            self.assertEqual(self.call(peer, "GET", NODES).status, 200)

    def test_53_part_of_a_node(self) -> None:
        """A node on which somebody is locked is no locked node."""
        self.lock(Lock("node", node="web1", user="alice"))
        self.assertEqual(self.call(self.host(self.join()), "GET", NODES).status, 200)

    def test_53_watch(self) -> None:
        """A node that is locked hears of the lock, and then the end of its watch; others go on."""
        one, other = self.watching(self.host(self.join())), self.watching(self.host(self.join(WEB2, "web2")))
        self.lock(Lock("node", node="web1"))
        self.clock.advance(0)
        for agent, _ in (one, other):
            agent.flush()
        *_, line = self.successResultOf(one[1]).splitlines()
        self.assertEqual(json.loads(line)["resource"]["metadata"]["name"], "node")
        self.assertNoResult(other[1])

    def watching(self, peer: Peer) -> tuple[RequestTraversalAgent, Deferred[bytes]]:
        """A watch of locks that goes on, and all that it will have said."""
        self.peer = peer
        agent = RequestTraversalAgent(self.gate.resource())
        asked = agent.request(b"GET", b"https://teleport.cluster.local/v1/watch?kinds=lock")
        agent.flush()
        heard = readBody(self.successResultOf(asked))
        self.assertNoResult(heard)
        return agent, heard

    def test_nobody_locks_out_the_administrator(self) -> None:
        """Tctl on the auth host is never locked, so that there is always somebody who can remove a lock."""
        for lock in (Lock("user", user="Admin"), Lock("role", role="Admin"), Lock("node", node=AUTH)):
            self.lock(lock)
        self.assertEqual(self.call(self.admin(), "GET", "/v1/locks").status, 200)
