"""What a node or proxy knows when auth is away: from the real API, and from servers that say what it never would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.server import NOT_DONE_YET, Request

from teleport_conch.access.roles import Role
from teleport_conch.cache import TTL_S, Cache
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.api import AuthClient
from teleport_conch.client.tls import client_options
from teleport_conch.errors import ConnectionProblem, HostLocked, TeleportError
from teleport_conch.resources.access_request import AccessRequest, RequestState
from teleport_conch.resources.cluster import ClusterConfig, ClusterName
from teleport_conch.resources.joining import Heartbeat
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.server import Presence, Server, State
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend
from teleport_conch.storage.memory import MemoryBackend
from teleport_conch.storage.sqlite import SQLiteBackend
from tests.client import certificates
from tests.client.auth import CLUSTER, Auth
from tests.client.servers import HandClock, pause, the_reactor
from tests.client.servers import Server as HTTPServer

KINDS = ("cert_authority", "cluster_config", "cluster_name", "role", "user", "lock", "access_request", "node", "proxy")
HOUR = 3600.0
LENT = AccessRequest("r-1", "bob", ("dba",), 0.0, 2e9, RequestState.APPROVED)


def as_it_is(seconds: float) -> float:
    return seconds


class CacheTestCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.clock = HandClock()
        self.clock.advance(time.time())
        self.backend: IBackend = MemoryBackend(self.clock)

    def open(self, client: AuthClient, cluster_name: str = "") -> Cache:
        """A cache that runs until the test ends."""
        cache = self.cache_of(client, cluster_name)
        cache.startService()
        return cache

    def cache_of(self, client: AuthClient, cluster_name: str = "") -> Cache:
        """A cache that is not started yet."""
        cache = Cache(self.clock, self.backend, client, KINDS, as_it_is, 20 * HOUR, cluster_name)
        self.addCleanup(lambda: cache.running and cache.stopService())
        return cache

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await pause()
            self.clock.advance(0)

    def assert_nothing(self, cache: Cache, why: str) -> None:
        """The cache answers nothing, and says why."""
        for ask in (cache.nodes, cache.roles, cache.known, lambda: cache.authorities("user")):
            refused = self.assertRaises(ConnectionProblem, ask)
            self.assertEqual(refused.sentence, why)


class LiveTests(CacheTestCase):
    """In front of the real API."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        super().setUp()
        self.auth = Auth(self)
        await self.auth.start()
        self.proxy = await self.auth.joined("Proxy", "gateway")

    def client(self) -> AuthClient:
        client = AuthClient(self.clock, [self.auth.address], client_options(self.proxy))
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    async def opened(self) -> Cache:
        cache = self.open(self.client(), CLUSTER)
        await cache.ready()
        return cache

    async def a_node(self, name: str) -> tuple[AuthClient, Server]:
        identity = await self.auth.joined("Node", name)
        client = self.auth.client(identity)
        server = Server("node", identity.host_uuid, name, "10.0.0.5:3022")
        await client.beat("node", Heartbeat("one", server))
        return client, server

    async def test_everything(self) -> None:
        """All kinds are there once it is ready."""
        await self.a_node("web1")
        self.assert_nothing(
            Cache(self.clock, self.backend, self.client(), KINDS, as_it_is),
            "This host has not heard from the auth server yet, and has no copy of what it said before.",
        )
        cache = await self.opened()
        self.assertTrue(cache.live)
        for kind in ("user", "host"):
            self.assertEqual(cache.authorities(kind), self.auth.cluster.authorities.public(kind))
        self.assertEqual(cache.configuration(), ClusterConfig())
        self.assertEqual(cache.cluster_name().cluster_name, CLUSTER)
        self.assertIn("access", [role.name for role in cache.roles()])
        self.assertEqual([node.hostname for node in cache.nodes()], ["web1"])
        self.assertEqual(cache.proxies(), ())

    async def test_as_a_node(self) -> None:
        """A node may follow as much as a proxy."""
        self.proxy = await self.auth.joined("Node", "web1")
        cache = await self.opened()
        self.assertTrue(cache.live)

    async def test_changes(self) -> None:
        """What happens in the cluster is known at once, and who listens for it hears."""
        cache = await self.opened()
        heard: list[list[str]] = []
        cache.on_change("node", lambda: 1 / 0)  # type: ignore[arg-type]
        cache.on_change("node", lambda: heard.append([f"{n.hostname} {n.presence.state.value}" for n in cache.nodes()]))
        client, server = await self.a_node("web1")
        await self.until(lambda: ["web1 online"] in heard)
        await client.goodbye("node", server.name, "one")
        await self.until(lambda: ["web1 offline"] in heard)
        await self.auth.admin().remove_node(server.name)
        await self.until(lambda: [] in heard)
        self.assertEqual(cache.nodes(), ())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(heard))

    async def test_auth_away(self) -> None:
        """The copy is used while auth is away, and followed again when it is back."""
        await self.a_node("web1")
        cache = await self.opened()
        with capturedLogs() as events:
            await self.auth.stop()
            await self.until(lambda: not cache.live)
            self.assertEqual([node.hostname for node in cache.nodes()], ["web1"])
            for wait_s in (1.0, 2.0, 4.0, 8.0):
                await self.until(lambda: wait_s in self.clock.waits)  # noqa: B023 - it is done with before the next
                self.clock.advance(wait_s)
        warned = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warned), 2, "the lost connection, and then the refused ones, which are all the same")
        self.assertIn("The cluster is not being followed, the copy is used: Cannot connect", warned[1])
        await self.auth.start()
        while not cache.live:
            await pause()
            self.clock.advance(1.0)

    async def test_restart(self) -> None:
        """After a restart with auth away, the copy on disk is used."""
        path = Path(self.mktemp())
        await self.a_node("web1")
        self.backend = await SQLiteBackend.open(the_reactor(), path)  # type: ignore[arg-type]
        cache = await self.opened()
        before = [cache.authorities("user"), cache.configuration(), cache.cluster_name(), cache.roles()]
        await cache.stopService()
        await self.backend.close()
        await self.auth.stop()
        self.backend = await SQLiteBackend.open(the_reactor(), path)  # type: ignore[arg-type]
        cache = await self.opened()
        self.assertFalse(cache.live)
        after = [cache.authorities("user"), cache.configuration(), cache.cluster_name(), cache.roles()]
        self.assertEqual(after, before)
        (node,) = cache.nodes()
        self.assertEqual((node.hostname, node.presence.state), ("web1", State.UNKNOWN))
        await cache.stopService()
        await self.backend.close()

    async def test_old_copy(self) -> None:
        """A copy is not believed for ever, neither by the process that heard it nor by a later one."""
        cache = await self.opened()
        await self.auth.stop()
        await self.until(lambda: not cache.live)
        self.clock.advance(20 * HOUR - 1)
        self.assertEqual(cache.authorities("user").kind, "user")
        self.clock.advance(2)
        why = (
            "The auth server has not been heard for 20.0 hours; what it said then is not believed any more "
            "(teleport.cache.ttl)."
        )
        self.assert_nothing(cache, why)
        self.assertEqual(cache.configuration(), ClusterConfig())  # which lets nobody in
        self.assertEqual(cache.emergency().user_authorities, self.auth.cluster.authorities.public("user").ssh_keys)
        self.assertGreater(cache.away_s, 20 * HOUR)
        await cache.stopService()
        emergencies = self.open(self.client())
        await emergencies.ready(at_any_age=True)
        self.assert_nothing(emergencies, why)
        await emergencies.stopService()
        later = self.open(self.client())
        await self.until(lambda: not later.live)
        self.assert_nothing(later, why)
        waiting = Deferred.fromCoroutine(later.ready())
        self.assertFalse(waiting.called)
        await self.auth.start()
        while not waiting.called:
            await pause()
            self.clock.advance(1.0)
        self.assertEqual(later.authorities("user").kind, "user")


class Feed:
    """A server that sends a watcher whatever lines a test wants."""

    def __init__(self, test: TestCase) -> None:
        self.requests: list[Request] = []
        self.refusal: TeleportError | None = None
        self.server = HTTPServer(test, self._answer)

    def _answer(self, request: Request) -> int | bytes:
        if self.refusal is not None:
            request.setResponseCode(self.refusal.http_status)
            return json.dumps(self.refusal.to_json()).encode()
        self.requests.append(request)
        return NOT_DONE_YET

    def send(self, **line: object) -> None:
        self.requests[-1].write(json.dumps(line).encode() + b"\n")

    def snapshot(self, *items: Mapping[str, object]) -> None:
        self.send(type="init", revision=1, items=items)


def node(number: int, state: State = State.ONLINE) -> Server:
    uuid = f"00000000-0000-4000-8000-{number:012d}"
    return Server("node", uuid, f"web{number}", presence=Presence(state, 100.0))


def authority() -> dict[str, object]:
    return certificates.USER_CA.public().to_json()


def dev(description: str = "") -> Role:
    return Role("dev", description=description)


NAME = ClusterName(CLUSTER, str(uuid4())).to_json()


class LineTests(CacheTestCase):
    """What the lines of a watch do."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        super().setUp()
        self.feed = Feed(self)
        self.cache = await self.follow()

    async def follow(self, cluster_name: str = "") -> Cache:
        client = AuthClient(self.clock, [self.feed.server.address], client_options(None, certificates.TRUSTED))
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        before = len(self.feed.requests)
        cache = self.open(client, cluster_name)
        await self.until(lambda: len(self.feed.requests) > before)
        return cache

    async def again(self) -> None:
        """Wait for the watcher to come back, whatever it waits for."""
        before = len(self.feed.requests)
        await self.until(lambda: not self.cache.live)
        while len(self.feed.requests) == before:
            await pause()
            self.clock.advance(1.0)

    def names(self, cache: Cache | None = None) -> list[str]:
        return [each.hostname for each in (cache or self.cache).nodes()]

    async def test_snapshot_after_snapshot(self) -> None:
        """What the next snapshot lacks is gone: authorities at once, servers once all of them have been sent."""
        self.feed.snapshot(authority(), NAME, node(1).to_json(), node(2).to_json(), node(3).to_json())
        await self.until(lambda: self.cache.live)
        self.feed.server.cut()
        await self.again()
        self.feed.snapshot(NAME, node(1).to_json())
        await self.until(lambda: self.cache.live)
        refused = self.assertRaises(ConnectionProblem, self.cache.authorities, "user")
        self.assertEqual(refused.sentence, "This host has not heard of the user authority from the auth server yet.")
        self.assertEqual(self.names(), ["web1", "web2", "web3"])
        self.feed.send(type="put", revision=1, resource=node(2).to_json())
        self.feed.send(type="heartbeat", revision=1)
        await self.until(lambda: self.names() == ["web1", "web2"])

    async def test_known(self) -> None:
        """What decisions depend on is one object until some of it changes, or is not believed any more."""
        self.feed.snapshot(NAME, dev().to_json(), User("bob", ("dev",)).to_json(), Lock("x", user="eve").to_json())
        await self.until(lambda: self.cache.live)
        known = self.cache.known()
        self.assertIs(self.cache.known(), known)
        self.assertEqual((known.cluster, list(known.directory.roles)), (CLUSTER, ["dev"]))
        self.assertEqual(known.directory.users["bob"].roles, ("dev",))
        self.assertEqual([lock.name for lock in known.locks.every], ["x"])
        self.feed.send(type="put", revision=2, resource=dev("changed").to_json())
        await self.until(lambda: self.cache.known() is not known)
        self.assertEqual(self.cache.known().directory.roles["dev"].description, "changed")
        self.feed.send(type="put", revision=3, resource=LENT.to_json())
        await self.until(lambda: self.cache.known().directory.requests == {"r-1": LENT})
        self.clock.advance(TTL_S + 1)
        self.assertRaises(ConnectionProblem, self.cache.known)

    async def test_removed(self) -> None:
        """A role, a user, a lock or an access request that is removed is gone, and those who listen are told."""
        people = User("bob", ("dev",)).to_json(), Lock("x", user="eve").to_json(), LENT.to_json()
        self.feed.snapshot(NAME, dev().to_json(), *people)
        await self.until(lambda: self.cache.live)
        self.assertEqual(self.cache.known().directory.requests, {"r-1": LENT})
        told: list[str] = []
        for kind, name in (("role", "dev"), ("user", "bob"), ("lock", "x"), ("access_request", "r-1")):
            self.cache.on_change(kind, partial(told.append, kind))
            self.feed.send(type="delete", revision=2, kind=kind, name=name)
        await self.until(lambda: told == ["role", "user", "lock", "access_request"])
        known = self.cache.known()
        self.assertEqual(known.directory.requests, {})
        self.assertEqual((known.directory.roles, known.directory.users, known.locks.every), ({}, {}, ()))

    async def test_locked(self) -> None:
        """A host that auth calls locked knows of nobody who may do anything, until auth speaks with it again."""
        self.feed.snapshot(NAME)
        await self.until(lambda: self.cache.live)
        told: list[str] = []
        self.cache.on_change("lock", partial(told.append, "lock"))
        self.feed.refusal = HostLocked("The node web1 is locked by an administrator (broken into).")
        self.feed.send(type="compacted")
        while not told:
            await pause()
            self.clock.advance(1.0)
        with self.assertRaisesRegex(HostLocked, "locked by an administrator \\(broken into\\)"):
            self.cache.known()
        self.clock.advance(HOUR)
        self.assertEqual(self.cache.away_s, 0.0)
        self.feed.refusal = None
        await self.again()
        self.feed.snapshot(NAME)
        await self.until(lambda: self.cache.live)
        self.assertEqual(self.cache.known().cluster, CLUSTER)

    async def test_unreadable_role(self) -> None:
        """A role that cannot be read any more is nobody's: what it said before does not go on."""
        self.feed.snapshot(NAME, dev().to_json())
        await self.until(lambda: self.cache.live)
        with capturedLogs():
            self.feed.send(type="put", revision=2, resource={**dev().to_json(), "spec": {"future": 1}})
            await self.until(lambda: self.cache.roles() == ())

    async def test_unreadable_request(self) -> None:
        """So with an access request: it lends nothing any more."""
        self.feed.snapshot(NAME, LENT.to_json())
        await self.until(lambda: self.cache.live)
        self.assertEqual(list(self.cache.known().directory.requests), [LENT.name])
        with capturedLogs():
            self.feed.send(type="put", revision=2, resource={**LENT.to_json(), "spec": {"future": 1}})
            await self.until(lambda: not self.cache.known().directory.requests)

    async def test_compacted(self) -> None:
        """A watch that cannot go on begins anew."""
        self.feed.snapshot(NAME)
        await self.until(lambda: self.cache.live)
        self.feed.send(type="compacted")
        await self.again()
        self.assertEqual(self.cache.cluster_name().cluster_name, CLUSTER)

    async def test_authority_is_gone(self) -> None:
        """Which authority was deleted is asked, and not guessed."""
        self.feed.snapshot(authority())
        await self.until(lambda: self.cache.live)
        self.feed.send(type="delete", revision=2, kind="cert_authority", name=CLUSTER)
        await self.again()
        self.feed.snapshot(NAME)
        await self.until(lambda: self.cache.live)
        self.assertRaises(ConnectionProblem, self.cache.authorities, "user")

    async def test_unreadable(self) -> None:
        """A resource that cannot be read is logged and passed over, and so is a kind that nobody asked for."""
        with capturedLogs() as events:
            self.feed.snapshot(NAME, {"kind": "node"}, {"kind": "tunnel", "metadata": {"name": "x"}}, node(1).to_json())
            await self.until(lambda: self.cache.live)
        self.assertEqual(self.names(), ["web1"])
        told = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(told), 2)
        self.assertTrue(all("Auth sent a resource that cannot be read" in line for line in told))

    async def test_no_lines(self) -> None:
        """What is no line of a watch ends it, and the copy stays."""
        self.feed.snapshot(NAME)
        await self.until(lambda: self.cache.live)
        for line in ({"type": 1}, {"type": "init", "items": 1}, {"type": "delete"}, {}):
            self.feed.send(**line)
            await self.again()
            self.assertEqual(self.cache.cluster_name().cluster_name, CLUSTER)
            self.feed.snapshot(NAME)
            await self.until(lambda: self.cache.live)

    async def test_many(self) -> None:
        """More nodes than are written at once come back, too."""
        nodes = [node(number) for number in range(1200)]
        self.feed.snapshot(NAME, *[each.to_json() for each in nodes])
        await self.until(lambda: self.cache.live)
        await self.cache.stopService()
        again = await self.follow()
        self.assertEqual(len(again.nodes()), 1200)
        self.assertFalse(again.live)

    async def test_presence(self) -> None:
        """Of presence, the disk knows only who left; the rest would be untrue after a restart, and many writes."""
        self.feed.snapshot(node(1).to_json(), node(2).to_json(), node(3).to_json())
        self.feed.send(type="put", revision=2, resource=node(2, State.OFFLINE).to_json())
        await self.until(lambda: self.cache.live)
        await self.until(lambda: State.OFFLINE in [each.presence.state for each in self.cache.nodes()])
        written = self.backend.revision()
        self.feed.send(type="put", revision=2, resource=node(1, State.LATE).to_json())
        await self.until(lambda: self.cache.nodes()[0].presence.state is State.LATE)
        self.assertEqual(self.backend.revision(), written)
        await self.cache.stopService()
        again = await self.follow()
        states = {each.hostname: each.presence.state for each in again.nodes()}
        self.assertEqual(states, {"web1": State.UNKNOWN, "web2": State.OFFLINE, "web3": State.UNKNOWN})

    async def test_gone_from_disk(self) -> None:
        """What was deleted does not come back after a restart."""
        self.feed.snapshot(NAME, node(1).to_json(), node(2).to_json())
        self.feed.send(type="delete", revision=2, kind="node", name=node(1).name)
        await self.until(lambda: self.cache.live and self.names() == ["web2"])
        await self.cache.stopService()
        self.assertEqual(self.names(await self.follow()), ["web2"])

    async def test_other_cluster(self) -> None:
        """The copy of another cluster is thrown away, before any authority of it is believed."""
        other = Authority.generate("user", "other.example", certificates.NOW)
        self.feed.snapshot(other.public().to_json(), NAME)
        await self.until(lambda: self.cache.live)
        await self.cache.stopService()
        again = await self.follow(CLUSTER)
        self.assertRaises(ConnectionProblem, again.authorities, "user")
        await again.stopService()
        self.assertEqual(await self.backend.range("cache/"), ())

    async def test_same_cluster(self) -> None:
        self.feed.snapshot(authority(), NAME)
        await self.until(lambda: self.cache.live)
        await self.cache.stopService()
        again = await self.follow(CLUSTER)
        self.assertEqual(again.authorities("user"), PublicAuthority.from_json(authority()))

    async def test_read_from_disk(self) -> None:
        """Who listens for changes hears of what was on disk, too: the rhythm of heartbeats is one such thing."""
        self.feed.snapshot(authority(), NAME)
        await self.until(lambda: self.cache.live)
        await self.cache.stopService()
        again = self.cache_of(AuthClient(self.clock, ["127.0.0.1:1"], client_options(None)))
        heard: list[str] = []
        again.on_change("cluster_name", lambda: heard.append(again.cluster_name().cluster_name))
        again.on_change("node", lambda: heard.append("a node"))
        again.startService()
        await self.until(lambda: heard)
        self.assertEqual(heard, [CLUSTER])

    async def test_strange_names(self) -> None:
        """A resource may be called as it likes; its place in the storage is below its kind."""
        role = {"kind": "role", "version": "v3", "metadata": {"name": "../a/b"}, "spec": {}}
        self.feed.snapshot(role, {**role, "metadata": {"name": ".."}})
        await self.until(lambda: self.cache.live)
        await self.cache.stopService()
        self.assertEqual([each.name for each in (await self.follow()).roles()], ["..", "../a/b"])

    async def test_broken_disk(self) -> None:
        """A disk that does not work costs the copy, and nothing else."""
        await self.cache.stopService()
        await self.backend.close()
        with capturedLogs() as events:
            self.cache = await self.follow()
            self.feed.snapshot(NAME)
            await self.until(lambda: self.cache.live)
        self.assertEqual(self.cache.cluster_name().cluster_name, CLUSTER)
        told = " ".join(formatEvent(event) for event in events if event["log_level"] is LogLevel.error)
        self.assertIn("The copy of the cluster cannot be read:", told)
        self.assertIn("The copy of the cluster cannot be written:", told)

    async def test_damaged_disk(self) -> None:
        """A copy that is damaged is no copy."""
        await self.cache.stopService()
        await self.backend.put("cache/node/x.json", b"nonsense")
        with capturedLogs() as events:
            cache = await self.follow()
        self.assertRaises(ConnectionProblem, cache.nodes)
        self.assertIn("The copy of the cluster cannot be read:", " ".join(map(str, map(formatEvent, events))))
