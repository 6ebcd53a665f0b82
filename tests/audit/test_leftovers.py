"""Spools of processes that are gone."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit import leftovers as module
from teleport_conch.audit.leftovers import leftovers


class LeftoverTests(SynchronousTestCase):
    """Spools of processes that let another take over, and went on until their last session ended."""

    def test_leftovers(self) -> None:
        """Those of the dead that hold something are sent; of others nothing is touched."""
        spools = Path(self.mktemp())
        dead = 2**22 + 1  # above the largest number of a process
        for name in ("node", f"node.{os.getpid()}", f"node.{dead}", f"node.{dead + 1}", f"proxy.{dead}"):
            (spools / name).mkdir(parents=True)
        (spools / f"node.{dead}" / "000000000001.jsonl").touch()
        self.assertEqual(leftovers(spools, "node"), [f"node.{dead}"])
        left = {path.name for path in spools.iterdir()}
        self.assertEqual(left, {"node", f"node.{dead}", f"node.{os.getpid()}", f"proxy.{dead}"})

    def test_taken_number(self) -> None:
        """Somebody else's process that has the number of one that is gone keeps nothing from being sent."""
        spools, processes = Path(self.mktemp()), Path(self.mktemp())
        for pid, uid in ((4711, os.getuid()), (4712, os.getuid() + 1)):
            (processes / str(pid)).mkdir(parents=True)
            (processes / str(pid) / "status").write_text(
                f"Name:\tsleep\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
            )
            (spools / f"node.{pid}").mkdir(parents=True)
            (spools / f"node.{pid}" / "000000000001.jsonl").touch()
        self.patch(module, "_PROCESSES", processes)
        self.assertEqual(leftovers(spools, "node"), ["node.4712"])

    def test_none(self) -> None:
        self.assertEqual(leftovers(Path(self.mktemp()), "node"), [])

    def test_fewer_processes(self) -> None:
        """So are those of seats that are not there any more; a seat's own is its holder's to send."""
        spools = Path(self.mktemp())
        for name in ("node", "node.w1", "node.w2", "node.w3", "proxy.w2"):
            (spools / name).mkdir(parents=True)
            (spools / name / "000000000001.jsonl").touch()
        self.assertEqual(leftovers(spools, "node", 2), ["node.w2", "node.w3"])
        self.assertEqual(leftovers(spools, "node"), ["node.w1", "node.w2", "node.w3"])
