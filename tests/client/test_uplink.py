"""A host's membership: real joining, beats and renewals over TLS, with the time in the hands of the test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.enrolment import REFUSED_WAIT_S, Membership
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.client.uplink import GOODBYE_S, RENEW_WAIT_S, Uplink
from teleport_conch.errors import ConnectionProblem, UnsafePath
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.server import Server, State
from tests.client import certificates, servers
from tests.client.auth import CLUSTER, TOKEN, Auth
from tests.client.servers import HandClock, never, pause

DAY = 24 * 3600.0


@implementer(ILogObserver)
class Node:
    """A host with an uplink that can be stopped and started again."""

    def __init__(self, test: TestCase, address: str) -> None:
        self.folder = Path(test.mktemp())
        self.clock = HandClock()
        self.clock.advance(time.time())
        self.address = address
        self.token = TOKEN
        self.name = "web1"
        self.principals: tuple[str, ...] = ()
        self.host_key = b""
        self.beats = 0
        self.identities: list[HostIdentity] = []
        self.log: list[str] = []
        """What was logged as a warning, or worse; but for the missing pin."""
        self._test = test
        globalLogPublisher.addObserver(self)
        test.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        line = formatEvent(event)
        if event["log_level"] >= LogLevel.warn and "without a CA pin" not in line:
            self.log.append(line)

    def start(self) -> Uplink:
        wanted = Membership(
            "Node",
            self.name,
            (self.address,),
            lambda: self.token,
            principals=self.principals,
            host_key=self.host_key,
        )
        self.uplink = Uplink(self.clock, self.folder, wanted, self._record, os.urandom, lambda: 0.5)
        self.uplink.on_identity(self.identities.append)
        self.uplink.startService()
        self._test.addCleanup(lambda: Deferred.fromCoroutine(self.stop()))
        return self.uplink

    async def stop(self) -> None:
        if self.uplink.running:
            stopping = self.uplink.stopService()
            await self.until(lambda: stopping.called)

    def _record(self) -> Server:
        self.beats += 1
        return Server("node", "", "", "10.0.0.5:3022")

    @property
    def store(self) -> IdentityStore:
        return IdentityStore(self.folder, os.urandom)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let happen what is due, until *condition* holds."""
        while not condition():
            await pause()
            self.clock.advance(0)

    async def until_waiting(self, seconds: float) -> None:
        """Wait until somebody waits for so many seconds."""
        await self.until(lambda: seconds in self.clock.waits)

    async def joined(self) -> HostIdentity:
        """The identity, once auth has heard the first beat, and that of the rhythm which it is told with it."""
        await self.until(lambda: self.uplink.identity is not None)
        await self.beaten()
        await self.beaten()
        assert self.uplink.identity is not None
        return self.uplink.identity

    async def beaten(self) -> None:
        """Wait for one more beat, from its begin to its end."""
        ended: list[None] = []
        self.uplink.beat_now().addCallback(ended.append)
        await self.until(lambda: ended)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.until(lambda: True)


class UplinkTestCase(TestCase):
    timeout = 20
    general = ClusterConfig()

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.auth = Auth(self, general=self.general)
        await self.auth.start()
        self.admin = self.auth.admin()
        self.node = Node(self, self.auth.address)

    async def state(self) -> State:
        (found,) = await self.admin.nodes()
        return found.presence.state


class JoiningTests(UplinkTestCase):
    async def test_joins(self) -> None:
        """A new host joins, keeps its identity, announces itself, and tells who wants to know."""
        uplink = self.node.start()
        self.assertIs(uplink.identity, None)
        identity = await self.node.joined()
        self.assertEqual((identity.host_uuid, identity.role), (uplink.host_uuid, "Node"))
        self.assertEqual(self.node.identities, [identity])
        self.assertEqual(self.node.store.load("Node"), identity)
        (found,) = await uplink.client.nodes()
        self.assertEqual((found.name, found.hostname, found.addr), (uplink.host_uuid, "web1", "10.0.0.5:3022"))
        self.assertEqual(found.presence.state, State.ONLINE)

    async def test_late_listener(self) -> None:
        """Who asks late hears at once, and a listener that fails hurts nobody."""
        uplink = self.node.start()
        identity = await self.node.joined()
        heard: list[HostIdentity] = []
        uplink.on_identity(lambda _: 1 / 0)  # type: ignore[arg-type]
        uplink.on_identity(heard.append)
        self.assertEqual(heard, [identity])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_auth_away(self) -> None:
        """A host that cannot reach auth says so once, and tries until it can."""
        await self.auth.stop()
        uplink = self.node.start()
        await self.node.until(lambda: self.node.log)
        for wait_s in (1.0, 2.0, 4.0, 8.0):
            await self.node.until_waiting(wait_s)
            self.node.clock.advance(wait_s)
        where = f'Is the auth server running on "{self.auth.address}"?'
        self.assertEqual(
            self.node.log,
            [f"This host (Node) cannot join yet: Cannot connect to the auth server: connection refused. {where}"],
        )
        with self.assertRaises(ConnectionProblem):
            await uplink.client.nodes()
        await self.node.until_waiting(16.0)
        await self.auth.start()
        self.node.clock.advance(16)
        await self.node.joined()

    async def test_refused(self) -> None:
        """A refusal is told when it changes, and tried again slowly, with what the token's file holds then."""
        self.node.token = "unknown token of the tests"
        self.node.start()
        await self.node.until(lambda: len(self.node.log) == 1)
        self.assertIn('cannot join yet: "web1"', self.node.log[0])
        self.assertIn("the token is not valid", self.node.log[0])
        self.assertNotIn(self.node.token, self.node.log[0])
        self.node.token = ""
        await self.node.pass_time(REFUSED_WAIT_S - 1)
        self.assertEqual(len(self.node.log), 1)
        self.node.clock.advance(1)
        await self.node.until(lambda: len(self.node.log) == 2)
        self.assertEqual(
            self.node.log[1],
            "This host (Node) cannot join yet: There is no join token. Set teleport.auth_token to one that "
            "`tctl nodes add` prints.",
        )
        self.node.token = TOKEN
        self.node.clock.advance(REFUSED_WAIT_S)
        await self.node.joined()

    async def test_other_cluster(self) -> None:
        """A host that remembers another cluster's authority says how to make it forget."""
        self.node.store.save(certificates.host_identity())
        self.node.store.drop("Node")
        self.node.start()
        await self.node.until(lambda: self.node.log)
        self.assertIn("is not an auth server of this cluster", self.node.log[0])
        self.assertIn(
            f"To join another cluster, remove {self.node.store.ca_path} or set teleport.ca_pin.", self.node.log[0]
        )

    async def test_labels(self) -> None:
        """The labels that the token binds are known from the start on, also while auth is away."""
        self.node.token, _ = await self.admin.create_token(["node"], 600, labels={"env": "prod"})
        uplink = self.node.start()
        await self.node.joined()
        self.assertEqual(uplink.bound_labels, {"env": "prod"})
        await self.node.stop()
        await self.auth.stop()
        self.assertEqual(self.node.start().bound_labels, {"env": "prod"})


class IdentityTests(UplinkTestCase):
    async def test_auth_away(self) -> None:
        """After a restart the stored identity counts at once, though auth is away and the token is no good."""
        self.node.start()
        identity = await self.node.joined()
        await self.node.stop()
        await self.auth.stop()
        self.node.token = ""
        uplink = self.node.start()
        self.assertEqual(uplink.identity, identity)
        await self.auth.start()
        await self.node.beaten()
        self.assertEqual(await self.state(), State.ONLINE)

    async def test_open_to_others(self) -> None:
        """An identity that others can read stops the start."""
        self.node.start()
        await self.node.joined()
        await self.node.stop()
        path = self.node.folder / "identities" / "node.json"
        path.chmod(0o644)
        with self.assertRaises(UnsafePath) as caught:
            self.node.start()
        self.assertIn("is open to others than its owner (mode 0644)", caught.exception.sentence)

    async def test_expired(self) -> None:
        """A stored identity that has expired is of no use: the host joins again."""
        self.node.start()
        identity = await self.node.joined()
        await self.node.stop()
        self.node.clock.advance(31 * DAY)
        uplink = self.node.start()
        self.assertIs(uplink.identity, None)
        await self.node.until(lambda: uplink.identity)
        self.assertNotEqual(uplink.identity, identity)
        self.assertEqual(uplink.host_uuid, identity.host_uuid)

    async def test_renews(self) -> None:
        """At half of its life the identity is renewed, for the same keys."""
        uplink = self.node.start()
        first = await self.node.joined()
        await self.node.pass_time(14 * DAY)
        await self.node.beaten()
        self.assertEqual(uplink.identity, first)
        await self.node.pass_time(2 * DAY)
        await self.node.beaten()
        second = self.node.identities[-1]
        self.assertEqual((uplink.identity, self.node.store.load("Node")), (second, second))
        self.assertNotEqual(second.tls_certificate, first.tls_certificate)
        self.assertEqual((second.ssh_key, second.tls_key), (first.ssh_key, first.tls_key))

    async def test_other_name(self) -> None:
        """A host whose configuration names it otherwise asks for the new name, and announces it."""
        self.node.start()
        await self.node.joined()
        await self.node.stop()
        self.node.name, self.node.principals = "db1", ("db1.example.org",)
        uplink = self.node.start()
        await self.node.beaten()
        await self.node.beaten()
        assert uplink.identity is not None
        self.assertEqual(uplink.identity.node_name, "db1")
        self.assertIn("db1.example.org", uplink.identity.principals)
        self.assertEqual([each.hostname for each in await self.admin.nodes()], ["db1"])

    async def test_name_that_is_bound(self) -> None:
        """A new name that the token forbids is refused, and the host goes on under the old one."""
        self.node.token, _ = await self.admin.create_token(["node"], 600, node_name="web1")
        self.node.start()
        first = await self.node.joined()
        await self.node.stop()
        self.node.name = "db1"
        uplink = self.node.start()
        for _ in range(3):
            await self.node.beaten()
        self.assertEqual(uplink.identity, first)
        (refused,) = [line for line in self.node.log if "were not renewed" in line]
        self.assertIn("'web1'", refused)
        self.assertEqual(await self.state(), State.ONLINE)
        await self.node.pass_time(RENEW_WAIT_S)
        await self.node.beaten()
        self.assertEqual(uplink.identity, first)
        self.assertEqual(len([line for line in self.node.log if "were not renewed" in line]), 1)

    async def test_barred(self) -> None:
        """A host that was removed forgets its identity and joins again, if it has a token."""
        uplink = self.node.start()
        first = await self.node.joined()
        await self.admin.remove_node(first.host_uuid)
        await self.node.beaten()
        await self.node.until(lambda: uplink.identity)
        self.assertNotEqual(uplink.identity, first)
        self.assertIn("Auth does not know this host any more, so it joins again.", self.node.log[0])
        await self.node.beaten()
        self.assertEqual(await self.state(), State.ONLINE)

    async def test_barred_without_token(self) -> None:
        """Without a token it stays out."""
        uplink = self.node.start()
        first = await self.node.joined()
        self.node.token = ""
        await self.admin.remove_node(first.host_uuid)
        await self.node.beaten()
        await self.node.until(lambda: any("There is no join token" in line for line in self.node.log))
        self.assertIs(uplink.identity, None)
        self.assertIs(self.node.store.load("Node"), None)


class BeatTests(UplinkTestCase):
    general = ClusterConfig(heartbeat_interval_s=5.0)

    async def test_interval(self) -> None:
        """The rhythm is that of the cluster's configuration."""
        self.node.start()
        await self.node.joined()
        await self.node.beaten()
        before = self.node.beats
        await self.node.pass_time(4.9)
        self.assertEqual(self.node.beats, before)
        self.node.clock.advance(0.2)
        await self.node.until(lambda: self.node.beats == before + 1)

    async def test_survives(self) -> None:
        """Beats that fail are no end: when auth is back, the host is online again."""
        self.node.start()
        await self.node.joined()
        await self.auth.stop()
        for _ in range(3):
            await self.node.beaten()
        self.assertIn("connection refused", self.node.log[0])
        await self.auth.start()
        await self.node.beaten()
        self.assertEqual(await self.state(), State.ONLINE)

    async def test_unreachable(self) -> None:
        """That the proxy cannot reach the host is told when it begins, and no more."""
        uplink = self.node.start()
        await self.node.joined()
        proxy = self.auth.client(await self.auth.joined("Proxy", "gateway"))
        await proxy.report_reachability(uplink.host_uuid, "Connection refused.")
        await self.node.beaten()
        await self.node.beaten()
        hint = "set ssh_service.public_addr or teleport.advertise_ip"
        self.assertEqual(
            self.node.log,
            [f"The proxy cannot reach this node at 10.0.0.5:3022: Connection refused; {hint}"],
        )
        await proxy.report_reachability(uplink.host_uuid, "")
        await self.node.beaten()
        await proxy.report_reachability(uplink.host_uuid, "Connection refused.")
        await self.node.beaten()
        self.assertEqual(len(self.node.log), 2)

    async def test_wrong_clock(self) -> None:
        """A clock that is wrong is told when it is noticed, before a certificate is refused for it."""
        self.node.start()
        await self.node.joined()
        await self.node.pass_time(600)
        await self.node.beaten()
        await self.node.beaten()
        self.assertEqual(len(self.node.log), 1, self.node.log)
        (told,) = self.node.log
        self.assertRegex(told, r"The clock of this machine is (59\d|600) s ahead of the auth server's")

    async def test_goodbye(self) -> None:
        """A host that stops cleanly is offline at once."""
        self.node.start()
        await self.node.joined()
        await self.node.stop()
        self.assertEqual(await self.state(), State.OFFLINE)

    async def test_hasty_goodbye(self) -> None:
        """A stop does not wait for an auth server that does not answer."""
        silent = servers.Server(self, never)
        node = Node(self, silent.address)
        node.store.save(certificates.host_identity(host_uuid=node.store.host_uuid()))
        uplink = node.start()
        await node.until(lambda: silent.connections)
        began = node.clock.seconds()
        stopping = uplink.stopService()
        await node.until(lambda: True)
        self.assertFalse(stopping.called)
        node.clock.advance(GOODBYE_S)
        while not stopping.called:
            await pause()
            node.clock.advance(0.1)
        self.assertLess(node.clock.seconds() - began, 4.0)

    async def test_damaged_state(self) -> None:
        """An identity that cannot be read is as good as none."""
        self.node.start()
        await self.node.joined()
        await self.node.stop()
        (self.node.folder / "identities" / "node.json").write_text(json.dumps({"kind": "identity"}))
        await self.node.until(self.node.start)
        self.assertEqual((await self.node.joined()).cluster_name, CLUSTER)
