"""What a host keeps of its membership."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.errors import UnsafePath
from tests.client import certificates


class IdentityStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.store = IdentityStore(self.folder, os.urandom)
        self.identity = certificates.host_identity()
        self.path = self.folder / "identities" / "node.json"

    def test_host_uuid(self) -> None:
        """It is made once, and read-only from then on; each service and each start reads the same."""
        made = self.store.host_uuid()
        self.assertRegex(made, r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
        self.assertEqual(IdentityStore(self.folder, os.urandom).host_uuid(), made)
        self.assertEqual((self.folder / "host_uuid").stat().st_mode & 0o777, 0o400)

    def test_damaged_host_uuid(self) -> None:
        """A file that holds something else is not replaced: the host would be another one."""
        self.store.host_uuid()
        (self.folder / "host_uuid").chmod(0o600)
        (self.folder / "host_uuid").write_text("../../etc")
        refused = self.assertRaises(UnsafePath, self.store.host_uuid)
        self.assertIn("holds no UUID. Put the host's UUID back, or remove the file and join again.", refused.sentence)

    def test_round_trip(self) -> None:
        """An identity comes back as it was, from a file that nobody else can read."""
        self.assertIsNone(self.store.load("Node"))
        self.store.save(self.identity)
        self.assertEqual(self.store.load("Node"), self.identity)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)

    def test_one_for_each_role(self) -> None:
        """A node and a proxy on one host have an identity each."""
        proxy = certificates.host_identity(role="Proxy")
        self.store.save(self.identity)
        self.store.save(proxy)
        self.store.drop("Node")
        self.assertEqual((self.store.load("Node"), self.store.load("Proxy")), (None, proxy))

    def test_open_to_others(self) -> None:
        """An identity that others can read is refused."""
        self.store.save(self.identity)
        self.path.chmod(0o644)
        refused = self.assertRaises(UnsafePath, self.store.load, "Node")
        self.assertEqual(
            refused.sentence, f"{self.path} is open to others than its owner (mode 0644). Run: chmod go= {self.path}"
        )

    def test_damaged(self) -> None:
        """What is no identity is as good as none, and the log says so, without what is in it."""
        self.store.save(self.identity)
        whole = self.path.read_text()
        other = certificates.host_identity().to_json()
        for text in ("", "nonsense", "[" * 10_000, whole[: len(whole) // 2], json.dumps({**other, "kind": "node"})):
            self.path.write_text(text)
            with capturedLogs() as events:
                self.assertIsNone(self.store.load("Node"))
            self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
            self.assertNotIn("PRIVATE KEY", str(events))

    def test_authorities(self) -> None:
        """The host authority stays known when the identity is dropped."""
        self.assertEqual(self.store.authorities(), ())
        self.store.save(self.identity)
        self.store.drop("Node")
        self.assertEqual(self.store.authorities(), certificates.TRUSTED)

    def test_labels(self) -> None:
        """The labels that the token bound outlive a restart."""
        self.assertEqual(self.store.labels("Node"), {})
        self.store.save_labels("Node", {"env": "prod"})
        self.assertEqual(IdentityStore(self.folder, os.urandom).labels("Node"), {"env": "prod"})

    def test_damaged_labels(self) -> None:
        """Labels that cannot be read stop the start: without them a rule that denies might not match."""
        self.store.save_labels("Node", {"env": "prod"})
        path = self.folder / "identities" / "node.labels.json"
        path.write_text('{"labels": 1}')
        refused = self.assertRaises(UnsafePath, self.store.labels, "Node")
        self.assertEqual(refused.sentence, f"{path} holds no labels. Remove it; auth sends them again.")
