"""``ssh-audit`` on a node and a proxy: no failure, and no warning but one that has a page in ``docs/decisions``."""

from __future__ import annotations

import json

from tests.interop.case import InteropTests
from tests.interop.programs import DEADLINE_S, installed, run
from tests.interop.services import LOCALHOST
from tests.interop.shared import quiet_cluster

#: What OpenSSH before 9.9 has in common with us, by both of its names (docs/decisions/algorithms-of-servers.rst).
CURVE25519 = ("curve25519-sha256", "curve25519-sha256@libssh.org")
ACCEPTED = {("warn", name, "does not provide protection against post-quantum attacks") for name in CURVE25519}


class AuditTests(InteropTests):
    def audit(self, port: int) -> dict[str, object]:
        # It ends with 2 after a warning, and with 3 after a failure.
        done = run(installed("ssh-audit"), "--json", "--skip-rate-test", f"--port={port}", LOCALHOST,
                   timeout_s=DEADLINE_S)  # fmt: skip
        report = json.loads(done.text)
        assert isinstance(report, dict), done
        return report

    def check_report(self, report: dict[str, object]) -> None:
        found: set[tuple[str, str, str]] = set()
        for kind in ("kex", "key", "enc", "mac"):
            algorithms = report[kind]
            assert isinstance(algorithms, list), algorithms
            self.assertTrue(algorithms, kind)
            for algorithm in algorithms:
                notes = algorithm["notes"]
                found |= {
                    (level, algorithm["algorithm"], note) for level in ("fail", "warn") for note in notes.get(level, ())
                }
                self.assertTrue(notes.get("info"), f"{algorithm} is not known to ssh-audit")
        self.assertEqual(found, ACCEPTED)
        self.assertEqual(report["cves"], [])

    def test_node(self) -> None:
        self.check_report(self.audit(quiet_cluster().nodes["web1"].port))

    def test_proxy(self) -> None:
        self.check_report(self.audit(quiet_cluster().proxy_port))

    def test_strict_key_exchange(self) -> None:
        """It is seen, and the hybrid exchange is in front where it is there at all."""
        report = self.audit(quiet_cluster().nodes["web1"].port)
        assert isinstance(report["kex"], list)
        names = [each["algorithm"] for each in report["kex"]]
        self.assertIn("kex-strict-s-v00@openssh.com", names)
        self.assertIn(names[0], ("mlkem768x25519-sha256", "curve25519-sha256"))
