"""A cluster under the same load for a while: its processes are afterwards as large as they were. Long."""

from __future__ import annotations

import os
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.interop.case import InteropTests
from tests.interop.cluster import Cluster
from tests.interop.programs import eventually
from tests.interop.services import Service

LONG = os.environ.get("TELEPORT_CONCH_LONG") == "1"
WARMING_LOGINS = 60
LOGINS = 300
AT_ONCE = 8
MAX_GROWTH_KIB = 16 << 10


def _pid(service: Service) -> int:
    assert service.process is not None
    return service.process.pid


def descriptors(service: Service) -> int:
    """How many files and sockets a service holds open."""
    return len(list(Path(f"/proc/{_pid(service)}/fd").iterdir()))


def resident_kib(service: Service) -> int:
    """How much memory a service has."""
    [line] = [text for text in Path(f"/proc/{_pid(service)}/status").read_text().splitlines() if "VmRSS" in text]
    return int(line.split()[1])


class SoakTests(InteropTests):
    def setUp(self) -> None:
        if not LONG:
            raise unittest.SkipTest("long: TELEPORT_CONCH_LONG=1 runs it")
        self.cluster = Cluster().start("web1")
        self.addCleanup(self.cluster.stop)
        self.alice = self.cluster.person("alice")

    def log_in(self, count: int) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda _: self.alice.ssh("web1", "head -c 100000 /dev/zero"), range(count)))
        self.assertEqual({(done.code, len(done.out)) for done in answers}, {(0, 100_000)})

    def settle(self, service: Service, most: int) -> None:
        eventually(lambda: descriptors(service) <= most, f"{service.name} holds at most {most} files open")

    def test_nothing_grows(self) -> None:
        """Hundreds of logins through the proxy leave no descriptor behind, and no memory to speak of."""
        services = (self.cluster.auth, self.cluster.proxy, self.cluster.nodes["web1"])
        self.log_in(WARMING_LOGINS)
        before = {service.name: (descriptors(service), resident_kib(service)) for service in services}
        self.log_in(LOGINS)
        for service in services:
            files, kib = before[service.name]
            self.settle(service, files + 4)
            self.assertLess(resident_kib(service) - kib, MAX_GROWTH_KIB, service.name)
