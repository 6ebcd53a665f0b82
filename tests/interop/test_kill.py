"""Auth is killed again and again while it is being written to: nothing that was answered is lost. Long."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import unittest

from tests.interop.case import InteropTests
from tests.interop.cluster import Cluster, at
from tests.interop.programs import installed, run

LONG = os.environ.get("TELEPORT_CONCH_LONG") == "1"
KILLS = 40


class KillTests(InteropTests):
    """``kill -9``, as a cut of power that leaves the disk alone."""

    def setUp(self) -> None:
        if not LONG:
            raise unittest.SkipTest("long: TELEPORT_CONCH_LONG=1 runs it")
        self.cluster = Cluster().start("web1")
        self.addCleanup(self.cluster.stop)
        self.made: list[str] = []
        self.removed: list[str] = []
        self.stopping = threading.Event()

    def write(self) -> None:
        """Makes tokens, and removes every third one, noting what was answered."""
        tctl = (installed("tctl"), "-c", str(self.cluster.auth.config), "tokens")
        while not self.stopping.is_set():
            added = run(*tctl, "add", "--type=node", "--ttl=10h", "--format=json")
            if added.code != 0:
                continue
            secret = str(json.loads(added.text)[0])
            if random.random() < 2 / 3:
                self.made.append(secret)
            elif run(*tctl, "rm", secret).code == 0:  # where it failed, nobody knows whether it is removed
                self.removed.append(secret)

    def test_nothing_that_was_answered_is_lost(self) -> None:
        """Every token that was made is there, and every one that was removed is not; the cluster goes on."""
        writers = [threading.Thread(target=self.write) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(KILLS):
                time.sleep(random.uniform(0.2, 2.0))  # a random moment is what is tested
                self.cluster.auth.kill()
                self.cluster.auth.start()
        finally:
            self.stopping.set()
            for writer in writers:
                writer.join()
        self.assertGreater(len(self.made), KILLS // 2)
        for secret in self.made:
            self.cluster.tctl("tokens", "rm", secret)
        for secret in self.removed:
            self.cluster.tctl("tokens", "rm", secret, code=1)
        self.cluster.becomes("web1", "online")
        self.assertEqual(at(self.cluster.listed("web1"), "spec", "hostname"), "web1")
        self.assertEqual(self.cluster.person("alice").ssh("web1", "echo in").text, "in\n")
