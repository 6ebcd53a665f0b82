"""A write that was answered is there after ``kill -9``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import teleport_conch
from teleport_conch.storage.opening import open_database

#: (kills, writes before each)
ROUNDS = (100, 300) if os.environ.get("TELEPORT_CONCH_LONG") else (1, 30)


class KilledTests(SynchronousTestCase):
    def test_what_was_answered_is_there(self) -> None:
        path = Path(self.mktemp()) / "sqlite.db"
        path.parent.mkdir(parents=True)
        kills, writes = ROUNDS
        answered: list[str] = []
        for _ in range(kills):
            answered += self.kill_after(writes, path, len(answered) + 1)
            self.check(path, answered)

    def kill_after(self, writes: int, path: Path, begin: int) -> list[str]:
        """The keys that a program printed, at least *writes*, before it was killed in the middle of the next one."""
        root = Path(teleport_conch.__file__).parent.parent
        command = [sys.executable, "-m", "tests.storage.putting", str(path.absolute()), str(begin)]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            try:
                lines = [program.stdout.readline() for _ in range(writes)]
            finally:
                program.kill()
            lines += program.stdout.readlines()
        return [line.strip() for line in lines if line.endswith("\n")]

    def check(self, path: Path, answered: list[str]) -> None:
        """Every answered key has its value; at most one more is there, whose answer nobody read."""
        database = open_database(path, exclusive=True)
        try:
            for key in answered:
                self.assertEqual(database.get(key, 0.0).value, key.encode() * 100)
            self.assertGreaterEqual(database.revision(), len(answered))
        finally:
            database.close()
