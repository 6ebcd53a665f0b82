"""Tests for :mod:`teleport_conch.config.paths`."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.paths import PATHS, check_owner, prepare_data_dir
from teleport_conch.errors import UnsafePath


class DataDirTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "teleport"

    def make(self, mode: int) -> Path:
        self.path.mkdir(parents=True)
        self.path.chmod(mode)
        return self.path

    def sentence(self) -> str:
        return str(self.assertRaises(UnsafePath, prepare_data_dir, self.path).sentence)

    def test_made(self) -> None:
        """A missing data_dir is made for its owner alone, and is good at the next start."""
        prepare_data_dir(self.path)
        self.assertEqual(self.path.stat().st_mode & 0o7777, 0o700)
        prepare_data_dir(self.path)

    def test_readable(self) -> None:
        """Others may enter data_dir, if they cannot write to it; what services then make in it is no obstacle."""
        self.make(0o755)
        for _ in range(2):
            prepare_data_dir(self.path)
            (self.path / "cache" / "node").mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "log" / "spool" / "node").mkdir(mode=0o700, parents=True, exist_ok=True)

    def test_writable(self) -> None:
        """A data_dir that group or others can write to is refused with the command that mends it."""
        self.make(0o700)
        for mode in (0o720, 0o702, 0o777):
            self.path.chmod(mode)
            self.assertEqual(
                self.sentence(),
                f"Others than its owner can write to {self.path} (mode {mode:04o}). Run: chmod go-w {self.path}",
            )

    def test_a_file(self) -> None:
        """A file is no data_dir."""
        self.path.parent.mkdir()
        self.path.write_text("")
        self.assertEqual(self.sentence(), f"data_dir {self.path} is a file, and a folder is needed.")

    def test_below_a_file(self) -> None:
        """Why data_dir cannot be made is said."""
        self.path.parent.write_text("")
        self.assertEqual(self.sentence(), f"data_dir {self.path} cannot be used: Not a directory.")

    def test_owner(self) -> None:
        """Somebody else's folder is refused, since its owner can change what is in it; root's is not."""
        facts = self.make(0o700).stat()
        check_owner(self.path, facts, facts.st_uid)
        foreign = os.stat_result((*facts[:4], 4711, *facts[5:]))
        error = self.assertRaises(UnsafePath, check_owner, self.path, foreign, 1000)
        self.assertEqual(
            error.sentence,
            f"{self.path} belongs to the account with uid 4711, and this service runs as uid 1000."
            f" Start it as uid 4711, or run: chown -R 1000 {self.path}",
        )
        check_owner(self.path, os.stat_result((*facts[:4], 0, *facts[5:])), 1000)

    def test_exchanged(self) -> None:
        """A folder above in which everybody may rename is refused; the sticky bit of /tmp makes it good."""
        self.make(0o700)
        parent = self.path.parent
        parent.chmod(0o777)
        self.assertEqual(
            self.sentence(),
            f"Everybody can exchange data_dir {self.path}, through {parent}. Run: chmod o-w {parent}",
        )
        parent.chmod(0o1777)
        prepare_data_dir(self.path)

    def test_inside(self) -> None:
        """What lies in a data_dir that others may enter is held to the table."""
        backend = self.make(0o711) / "backend"
        backend.mkdir()
        backend.chmod(0o755)
        self.assertEqual(self.sentence(), f"{backend} is open to others (mode 0755). Run: chmod 0700 {backend}")
        backend.chmod(0o700)
        prepare_data_dir(self.path)

    def test_inside_a_closed_one(self) -> None:
        """Nobody reaches what lies in a closed data_dir, whatever its own mode is."""
        backend = self.make(0o700) / "backend"
        backend.mkdir()
        backend.chmod(0o755)
        prepare_data_dir(self.path)


class TableTests(SynchronousTestCase):
    def test_private_keys(self) -> None:
        """Nothing with a secret in it is open to others."""
        modes = {rule.path: rule.mode for rule in PATHS}
        for path in ("/etc/teleport.yaml", "<token file>", "<data_dir>", "<data_dir>/identities", "<data_dir>/backend"):
            self.assertEqual(modes[path] & 0o077, 0, path)
