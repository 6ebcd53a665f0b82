"""Memory that is free again stays with the process: pieces of bulk data cost no page faults."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = """\
import os, resource
from teleport_conch.ssh.allocator import keep_freed_memory
assert keep_freed_memory()
def pieces():
    for _ in range(100):
        held = [os.urandom(256 << 10) for _ in range(4)]
        del held
pieces()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pieces()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


class AllocatorTests(SynchronousTestCase):
    def test_page_faults(self) -> None:
        """400 pieces of 64 pages each; without it, each page of most of them is a fault."""
        if not sys.platform.startswith("linux"):
            self.skipTest("mallopt is glibc's.")
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        self.assertLess(int(done.stdout), 1000)
