"""A process that uses the identity which another one of its host keeps on disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client.enrolment import Membership
from teleport_conch.client.following import LOOK_S, Follower
from teleport_conch.client.identity_store import IdentityStore
from tests.client import certificates


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(mode=0o700)
        self.store = IdentityStore(self.folder, os.urandom)
        self.clock = Clock()
        self.clock.advance(time.time())
        wanted = Membership("Node", "web1", ("127.0.0.1:1",), lambda: self.fail("a follower asks for no token"))
        self.follower = Follower(self.clock, self.folder, wanted, os.urandom)
        self.heard: list[HostIdentity] = []
        self.follower.on_identity(self.heard.append)
        self.follower.startService()
        self.addCleanup(self.follower.stopService)

    def made(self, ttl_s: float = certificates.HOUR) -> HostIdentity:
        return certificates.host_identity(ttl_s=ttl_s, host_uuid=self.store.host_uuid())

    def test_waits(self) -> None:
        """As long as there is none it has none, and finds the one that the leader keeps by and by."""
        self.clock.advance(LOOK_S)
        self.assertIsNone(self.follower.identity)
        joined = self.made()
        self.store.save(joined)
        self.store.save_labels("Node", {"env": "prod"})
        self.clock.advance(LOOK_S)
        self.assertEqual((self.heard, self.follower.identity), ([joined], joined))
        self.assertEqual(self.follower.bound_labels, {"env": "prod"})
        self.assertEqual(self.follower.host_uuid, joined.host_uuid)

    def test_renewed(self) -> None:
        """A renewed one is told once, and so are labels that changed without it."""
        first, second = self.made(), self.made(2 * certificates.HOUR)
        for identity in (first, second):
            self.store.save(identity)
            self.clock.advance(LOOK_S)
            self.clock.advance(LOOK_S)
        self.assertEqual(self.heard, [first, second])
        self.store.save_labels("Node", {"env": "stage"})
        self.clock.advance(LOOK_S)
        self.assertEqual((len(self.heard), self.follower.bound_labels), (2, {"env": "stage"}))

    def test_expired(self) -> None:
        """One that is over is not taken up."""
        self.store.save(self.made())
        self.clock.advance(2 * certificates.HOUR)
        self.assertEqual(self.heard, [])

    def test_barred(self) -> None:
        """While the leader has none, the last one stays: sessions go on, and calls to auth say why they fail."""
        first = self.made()
        self.store.save(first)
        self.clock.advance(LOOK_S)
        self.store.drop("Node")
        self.clock.advance(LOOK_S)
        self.assertEqual(self.follower.identity, first)

    def test_beats(self) -> None:
        """It has none, so that the cluster sees one host."""
        self.follower.beat_every(1.0)
        self.assertTrue(self.follower.beat_now().called)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
