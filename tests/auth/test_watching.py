"""The watch: a snapshot, then every change, to whoever reads; and an end for who does not."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.builtin import USER_ROLES
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.decision import Caller
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.auth import feed, watching
from teleport_conch.auth.feed import PREFIXES, check_kinds
from teleport_conch.auth.hosts.presence import HostKey
from teleport_conch.auth.state import storing
from teleport_conch.auth.state.authorities import path
from teleport_conch.auth.state.configuration import GENERAL
from teleport_conch.auth.watching import WatchStream
from teleport_conch.errors import AccessDenied, BadParameter, HostBarred, HostLocked, LimitExceeded, StorageError
from teleport_conch.resources.lock import Lock
from tests.auth.fixture import GATEWAY, WEB1, WEB2, ClusterTestCase, Storage, heartbeat

Line = Mapping[str, object]
ALL = tuple(PREFIXES)


class WatchTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.join()
        self.beat()
        self.welcome: Exception | None = None

    def watch(self, *kinds: str, after: int = 0) -> WatchStream:
        """Begin to watch; what comes is in ``lines``."""
        self.lines: list[Line] = []
        stream = WatchStream(self.clocks, self.cluster.feed, kinds or ALL, self._heard, self._check)
        self.ended = Deferred.fromCoroutine(stream.run(after))
        self.addCleanup(self._stop)
        return stream

    def _heard(self, data: bytes) -> None:
        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1
        self.lines.append(json.loads(data))

    def _check(self) -> None:
        if self.welcome is not None:
            raise self.welcome

    def _stop(self) -> None:
        if not self.ended.called:
            self.ended.cancel()
        self.ended.addErrback(lambda _: None)

    def configure(self, interval_s: float) -> None:
        general = evolve(self.cluster.configuration.general, heartbeat_interval_s=interval_s)
        self.now(self.backend.put(GENERAL, storing.encode(general.to_json())))

    def server(self, line: Line) -> tuple[object, object]:
        """Kind of line, name and state of a line about a server."""
        resource = line["resource"]
        assert isinstance(resource, dict)
        return resource["metadata"]["name"], resource["status"]["state"]


class SnapshotTests(WatchTestCase):
    def test_everything(self) -> None:
        """All resources of the kinds asked for, at a revision."""
        self.watch()
        [line] = self.lines
        self.assertEqual((line["type"], line["revision"]), ("init", self.backend.revision()))
        items = line["items"]
        assert isinstance(items, list)
        kinds = [item["kind"] for item in items]
        self.assertEqual(kinds.count("cert_authority"), 2)
        self.assertEqual(kinds.count("role"), len(USER_ROLES))
        self.assertEqual(
            [kinds.count(kind) for kind in ("cluster_config", "cluster_name", "node", "proxy")], [1, 1, 1, 0]
        )
        self.assertEqual(items[-1]["status"]["state"], "online")

    def test_some_kinds(self) -> None:
        """Others are not in it."""
        self.watch("cluster_name")
        self.assertEqual(len(self.lines[0]["items"]), 1)  # type: ignore[arg-type]  # a list

    def test_without_secrets(self) -> None:
        """No private key leaves auth, in the snapshot or later."""
        self.watch()
        stored = self.now(self.backend.get(path("host", self.cluster.name)))
        self.assertIn(b"signing_keys", stored.value)
        self.now(self.backend.put(path("host", self.cluster.name), stored.value))
        self.assertEqual(self.lines[-1]["type"], "put")
        for secret in ("signing_keys", "PRIVATE", '"key"'):
            self.assertNotIn(secret, json.dumps(self.lines))

    def test_many_servers(self) -> None:
        """So that no line grows beyond what a watcher takes, most of them follow as changes, before any heartbeat."""
        self.patch(watching, "SERVERS_IN_SNAPSHOT", 1)
        self.join(WEB2, "web2")
        self.beat(WEB2, "web2")
        self.watch("node")
        self.assertEqual([line["type"] for line in self.lines], ["init", "put"])
        self.assertEqual(len(self.lines[0]["items"]), 1)  # type: ignore[arg-type]  # a list
        self.assertEqual(self.lines[0]["revision"], self.lines[1]["revision"])


class ChangeTests(WatchTestCase):
    def test_stored_changes(self) -> None:
        """Each, with a revision after which it is safe to go on."""
        self.watch()
        self.configure(5.0)
        self.configure(6.0)
        puts = self.lines[1:]
        self.assertEqual([line["type"] for line in puts], ["put", "put"])
        revisions = [int(str(line["revision"])) for line in self.lines]
        self.assertEqual(revisions, sorted(revisions))
        self.assertLessEqual(revisions[-1], self.backend.revision())

    def test_new_node(self) -> None:
        """A node comes with its first beat, and its record says that it is there."""
        self.watch("node")
        self.join(WEB2, "web2")
        self.beat(WEB2, "web2")
        self.assertEqual(self.server(self.lines[-1]), (WEB2, "online"))

    def test_presence(self) -> None:
        """A change of state is told like any other, though nothing is stored; a usual beat is not."""
        self.watch("node")
        self.beat()
        self.assertEqual(len(self.lines), 1)
        for seconds, state in ((23, "late"), (30, "offline")):
            self.clock.advance(seconds)
            self.cluster.presence.sweep()
            self.assertEqual(self.server(self.lines[-1]), (WEB1, state))
        self.beat()
        self.assertEqual(self.server(self.lines[-1]), (WEB1, "online"))

    def test_unreachable(self) -> None:
        """So is whether proxies reach it."""
        self.watch("node")
        self.cluster.inventory.set_unreachable(HostKey("node", WEB1), "no route", "gate")
        self.assertIn("no route", json.dumps(self.lines[-1]))

    def test_removed(self) -> None:
        """A node that was removed."""
        self.watch("node", "proxy")
        self.now(self.cluster.inventory.remove(HostKey("node", WEB1), "alice"))
        line = self.lines[-1]
        self.assertEqual((line["type"], line["kind"], line["name"]), ("delete", "node", WEB1))

    def test_other_kinds(self) -> None:
        """Who watches proxies hears nothing of nodes, stored or not."""
        self.watch("proxy", "cluster_name")
        self.join(WEB2, "web2")
        self.beat(WEB2, "web2")
        self.configure(5.0)
        self.assertEqual(len(self.lines), 1)

    def test_hosts_that_only_joined(self) -> None:
        """A host that never beat is on no list, so its going is no news."""
        self.watch("node", "proxy")
        self.join(GATEWAY, "gate", "Proxy")
        self.cluster.presence.goodbye(HostKey("proxy", GATEWAY), "")
        self.assertEqual(len(self.lines), 1)

    def test_heartbeat(self) -> None:
        """Every ten seconds, so that silence is news."""
        self.watch("cluster_name")
        self.clock.pump([1.0] * 30)
        self.assertEqual([line["type"] for line in self.lines], ["init", "heartbeat", "heartbeat", "heartbeat"])

    def test_going_on(self) -> None:
        """After a revision: what was stored since, and every server as it is now."""
        self.watch()
        revision = self.lines[0]["revision"]
        assert isinstance(revision, int)
        self.configure(5.0)
        self.watch(after=revision)
        self.assertEqual([line["type"] for line in self.lines], ["put", "put"])
        self.assertIn("heartbeat_interval", json.dumps(self.lines[0]))
        self.assertEqual(self.server(self.lines[1]), (WEB1, "online"))

    def test_only_what_was_missed(self) -> None:
        """Nothing is repeated that came before the revision, and other kinds stay out."""
        self.configure(5.0)
        revision = self.backend.revision()
        self.configure(6.0)
        self.watch("cluster_config", after=revision)
        self.assertEqual(len(self.lines), 1)
        self.watch("cluster_name", after=revision)
        self.assertEqual(self.lines, [])

    def test_too_long_ago(self) -> None:
        """Only so many changes are kept."""
        self.cluster.feed._recent = deque(maxlen=feed.KEPT_CHANGES)
        before = self.backend.revision()
        for number in range(feed.KEPT_CHANGES):
            self.configure(float(number + 1))
        self.watch("cluster_config", after=before)
        self.assertEqual(len(self.lines), feed.KEPT_CHANGES)
        self.configure(1.5)
        self.watch("cluster_config", after=before)
        self.assertEqual([line["type"] for line in self.lines], ["compacted"])

    def test_during_the_snapshot(self) -> None:
        """What changes while the snapshot is read comes after it."""
        reading: Deferred[None] = Deferred()
        backend = self.backend

        class Slow(Storage):
            async def range(self, prefix: str, start_after: str = "", limit: int = 1000) -> object:
                await reading
                return await backend.range(prefix, start_after, limit)

        self.cluster.feed._backend = Slow(backend, backend.put)  # type: ignore[assignment]  # all that is used of it
        self.watch("cluster_config")
        self.configure(5.0)
        self.assertEqual(self.lines, [])
        reading.callback(None)
        self.assertEqual([line["type"] for line in self.lines], ["init", "put"])

    def test_compacted(self) -> None:
        """A revision whose changes are not kept: one line, and the end."""
        self.watch(after=10**9)
        self.assertEqual([line["type"] for line in self.lines], ["compacted"])
        self.successResultOf(self.ended)


class EndTests(WatchTestCase):
    def reason(self, kind: type[Exception]) -> str:
        return str(self.failureResultOf(self.ended, kind).value)

    def test_client_is_gone(self) -> None:
        """Nothing is left behind."""
        stream = self.watch()
        stream.stopProducing()
        self.successResultOf(self.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(any(self.cluster.feed._watchers.values()))

    def test_cancelled(self) -> None:
        """The same, when the connection is lost."""
        self.watch()
        self.ended.cancel()
        self.failureResultOf(self.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(any(self.cluster.feed._watchers.values()))

    def test_a_reader_that_pauses(self) -> None:
        """What changes meanwhile waits, servers once each in their newest state; then it goes on."""
        stream = self.watch()
        stream.pauseProducing()
        for labels in ({"env": "a"}, {"env": "b"}, {"env": "c"}):
            registration = self.registration()
            self.now(self.cluster.inventory.beat(registration, heartbeat(labels=labels), "10.0.0.5"))
        self.configure(5.0)
        self.clock.advance(10)
        self.assertEqual(len(self.lines), 1)
        stream.resumeProducing()
        self.assertEqual([line["type"] for line in self.lines[1:]], ["put", "put"])
        self.assertIn('"env": "c"', json.dumps(self.lines[2]))
        self.clock.advance(10)
        self.assertEqual((self.lines[-1]["type"], self.lines[-1]["revision"]), ("heartbeat", self.backend.revision()))

    def test_98_slow(self) -> None:
        """One that leaves too much unread is cut."""
        self.patch(watching, "WATCH_QUEUE_LINES", 3)
        self.watch().pauseProducing()
        for interval_s in range(2, 5):
            self.configure(float(interval_s))
        self.assertFalse(self.ended.called)
        self.configure(9.0)
        self.assertIn("left more than 3 lines unread and was cut", self.reason(LimitExceeded))

    def test_98_stalled(self) -> None:
        """So is one that reads nothing at all for a minute."""
        self.watch().pauseProducing()
        self.clock.pump([10.0] * 6)
        self.assertFalse(self.ended.called)
        self.clock.advance(10)
        self.assertIn("read nothing for 60 seconds", self.reason(LimitExceeded))

    def test_barred(self) -> None:
        """A watcher that may not watch any more is cut within ten seconds."""
        self.watch()
        self.welcome = HostBarred("The host was removed.")
        self.clock.advance(10)
        self.assertIn("was removed", self.reason(HostBarred))

    def test_unwelcome(self) -> None:
        """Whoever is looked at again, and may not watch any more, has heard why, and then hears the end."""
        stream = self.watch()
        stream.look_again()
        self.assertNoResult(self.ended)
        self.now(self.cluster.locks.shelf.create(Lock("x", node=WEB1)))
        self.welcome = HostLocked("The node is locked.")
        stream.look_again()
        self.successResultOf(self.ended)
        self.assertEqual(self.lines[-1]["resource"]["metadata"]["name"], "x")  # type: ignore[index]  # an object

    def test_auth_stops(self) -> None:
        """The end of the storage is the end of the watch."""
        self.watch()
        self.now(self.backend.close())
        self.reason(StorageError)


class KindTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Some kinds, each once."""
        self.assertEqual(check_kinds(["node", "role", "node"]), ("node", "role"))
        for kinds in ([], ["token"], ["node", "token"]):
            reason = self.assertRaises(BadParameter, check_kinds, kinds)
            self.assertIn(
                "cluster_config, cluster_name, role, user, lock, access_request, node, proxy", reason.sentence
            )


class RouteTests(ClusterTestCase):
    def test_refused(self) -> None:
        """Kinds that there are not, revisions that are none, kinds that the caller may not list."""
        node = self.host(self.join())
        for query, sentence in (
            ("", "A watch is for some of the kinds"),
            ("?kinds=token", "A watch is for some of the kinds"),
            ("?kinds=node&after=-1", "a whole number"),
            ("?kinds=node&after=x", "a whole number"),
        ):
            self.assertIn(sentence, self.call(node, "GET", f"/v1/watch{query}").sentence)

    def test_kind_that_is_not_the_callers(self) -> None:
        """Each kind is decided on by itself."""
        rules = (Rule(("watch",), ("read",)), Rule(("node",), ("list",)))
        caller = Caller("alice", "user", (Role("watcher", allow=Conditions(rules=rules)),))
        peer = evolve(self.user(), caller=caller)
        answer = self.call(peer, "GET", "/v1/watch?kinds=node,cert_authority")
        self.assertEqual((answer.status, answer.code), (403, AccessDenied.code))
        self.assertIn("is not authorized to list cert_authority", answer.sentence)

    def test_all_nodes(self) -> None:
        """A watch is of all nodes: to see those that one logs in to is not enough."""
        role = Role("watcher", allow=Conditions(("root",), EVERY_NODE, (Rule(("watch",), ("read",)),)))
        peer = evolve(self.user(), caller=Caller("alice", "user", (role,), ("root",)))
        answer = self.call(peer, "GET", "/v1/watch?kinds=node")
        self.assertEqual((answer.status, answer.code), (403, AccessDenied.code))
        self.assertIn("is not authorized to list node", answer.sentence)
