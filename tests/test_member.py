"""A node's or proxy's place in the cluster, and that a data_dir is one process's at a time."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from teleport_conch.client.enrolment import Membership
from teleport_conch.errors import StorageInUse
from teleport_conch.member import CacheChoice, Member, MemberChoice
from teleport_conch.resources.server import Server
from teleport_conch.starting import Reactor
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor


class DataDirTests(TestCase):
    timeout = 30.0

    async def test_in_use(self) -> None:
        """A second process on one data_dir ends before it says a word in the first one's name."""
        data_dir = Path(self.mktemp())
        folder = data_dir / "cache" / "node"
        folder.mkdir(mode=0o700, parents=True)
        first = await SQLiteBackend.open(cast(ThreadedReactor, reactor), folder / "sqlite.db")
        self.addCleanup(first.close)
        membership = Membership("Node", "web1", ("127.0.0.1:1",), lambda: "token", "", ())
        choice = MemberChoice(data_dir, membership, CacheChoice(True, 60.0), (), lambda: Server("node", "x", "web1"))
        second = Member(cast(Reactor, reactor), choice)
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
