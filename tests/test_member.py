"""A node's or proxy's place in the cluster, and that a data_dir is one process's at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_conch.client.copy_on_disk import CopyOnDisk
from teleport_conch.client.enrolment import Membership
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.config.settings import ConnectionLimits
from teleport_conch.errors import StorageInUse
from teleport_conch.member import CacheChoice, Member, MemberChoice
from teleport_conch.rank import Rank
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.server import Server
from teleport_conch.starting import Reactor
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor
from tests.client import certificates


def choice_of(data_dir: Path, kinds: Sequence[str] = ()) -> MemberChoice:
    """A node's, whose auth server nobody runs."""
    membership = Membership("Node", "web1", ("127.0.0.1:1",), lambda: "token", "", ())
    return MemberChoice(data_dir, membership, CacheChoice(True, 3600.0), kinds, lambda: Server("node", "x", "web1"))


class AuthAwayTests(TestCase):
    timeout = 30.0

    async def test_rhythm(self) -> None:
        """A member that starts while auth is away beats in the rhythm that its copy knows, from the first moment on."""
        data_dir = Path(self.mktemp())
        data_dir.mkdir(mode=0o700)
        store = IdentityStore(data_dir, os.urandom)
        store.save(certificates.host_identity(now=time.time(), host_uuid=store.host_uuid()))
        await self.remember(data_dir, ClusterConfig(heartbeat_interval_s=7.0))
        member = Member(cast(Reactor, reactor), choice_of(data_dir, ("cluster_config",)))
        rhythms: list[float] = []
        self.patch(member.uplink, "beat_every", rhythms.append)
        member.startService()
        self.addCleanup(member.stopService)
        await member.joined()
        self.assertEqual(rhythms[-1], 7.0)

    async def remember(self, data_dir: Path, configuration: ClusterConfig) -> None:
        """A copy of the cluster, as an earlier process left it."""
        folder = data_dir / "cache" / "node"
        folder.mkdir(mode=0o700, parents=True)
        backend = await SQLiteBackend.open(cast(ThreadedReactor, reactor), folder / "sqlite.db")
        copy = CopyOnDisk(backend, certificates.CLUSTER)
        copy.heard(time.time())
        resource = {"metadata": {"name": "cluster-config"}, **configuration.to_json()}
        copy.keep("cluster_config", "cluster-config", resource)
        await copy.flush()
        await backend.close()


class DataDirTests(TestCase):
    timeout = 30.0

    async def test_in_use(self) -> None:
        """A second process on one data_dir ends before it says a word in the first one's name."""
        data_dir = Path(self.mktemp())
        folder = data_dir / "cache" / "node"
        folder.mkdir(mode=0o700, parents=True)
        first = await SQLiteBackend.open(cast(ThreadedReactor, reactor), folder / "sqlite.db")
        self.addCleanup(first.close)
        second = Member(cast(Reactor, reactor), choice_of(data_dir))
        second.startService()
        try:
            await second.joined()
        except StorageInUse as refusal:
            self.assertIn("is in use by process", refusal.sentence)
        else:
            self.fail("two processes have one data_dir")
        finally:
            await second.stopService()
        self.assertFalse(second.uplink.running)
        self.assertEqual(list((data_dir / "log").glob("**/*")), [])


class RetiredTests(TestCase):
    """A member that has left its place to another process."""

    timeout = 30.0

    async def test_hears(self) -> None:
        """It gives the copy on disk to its successor, and hears of changes as before."""
        data_dir = Path(self.mktemp())
        data_dir.mkdir(mode=0o700)
        store = IdentityStore(data_dir, os.urandom)
        store.save(certificates.host_identity(now=time.time(), host_uuid=store.host_uuid()))
        member = Member(cast(Reactor, reactor), choice_of(data_dir, ("cluster_config",)))
        hearers: list[Callable[[dict[str, object]], None]] = []

        async def watch(kinds: Sequence[str], after: int, hear: Callable[[dict[str, object]], None]) -> None:
            hearers.append(hear)
            hear({"type": "init", "items": [configuration(5.0)]})
            await Deferred(lambda _: hearers.clear())

        self.patch(member.uplink.client, "watch", watch)
        member.startService()
        await member.joined()
        await member.retire()
        successor = await SQLiteBackend.open(cast(ThreadedReactor, reactor), data_dir / "cache" / "node" / "sqlite.db")
        self.addCleanup(successor.close)
        (hear,) = hearers
        hear({"type": "put", "resource": configuration(9.0)})
        self.assertEqual(member.configuration().heartbeat_interval_s, 9.0)
        await member.stopService()


def configuration(heartbeat_interval_s: float) -> dict[str, object]:
    """As auth sends it."""
    made = ClusterConfig(heartbeat_interval_s=heartbeat_interval_s)
    return {"metadata": {"name": "cluster-config"}, **made.to_json()}


class RankTests(TestCase):
    """A member that follows another process of its host."""

    timeout = 30.0

    async def test_beside_the_leader(self) -> None:
        """It has a copy and a spool of its own, the leader's identity, and its part of the bounds on connections."""
        data_dir = Path(self.mktemp())
        data_dir.mkdir(mode=0o700)
        store = IdentityStore(data_dir, os.urandom)
        store.save(certificates.host_identity(now=time.time(), host_uuid=store.host_uuid()))
        choice = evolve(choice_of(data_dir, ("cluster_config",)), cache=CacheChoice(True, 3600.0), rank=Rank(1, 2))
        folder = data_dir / "cache" / "node"
        folder.mkdir(mode=0o700, parents=True)
        leaders = await SQLiteBackend.open(cast(ThreadedReactor, reactor), folder / "sqlite.db")
        self.addCleanup(leaders.close)
        member = Member(cast(Reactor, reactor), choice)
        member.startService()
        joining = Deferred.fromCoroutine(member.joined())
        joining.addErrback(lambda reason: reason.trap(CancelledError))
        while not (data_dir / "log" / "spool" / "node.w1").exists() or member.uplink.identity is None:
            await deferLater(reactor, 0.01)
        self.assertTrue((data_dir / "cache" / "node.w1" / "sqlite.db").exists())
        limits = member.server_limits(ConnectionLimits(max_connections=200, per_source_max_startups=50)).bounds
        self.assertEqual((limits.max_connections, limits.per_source_max_startups), (120, 35))
        self.assertEqual((limits.max_startups.start, limits.max_startups.rate), (175, 30))
        await member.stopService()
