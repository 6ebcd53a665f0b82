"""Spools of processes that are gone."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

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
