"""Identity files: which are read, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.identity_file import read_identity
from teleport_conch.errors import BadParameter, UnsafePath


class IdentityFileTests(SynchronousTestCase):
    def test_missing(self) -> None:
        """A file that is not there is a sentence."""
        with self.assertRaisesRegex(BadParameter, "The identity file /nowhere/x cannot be read: No such file or dir"):
            read_identity(Path("/nowhere/x"))

    def test_open_to_others(self) -> None:
        """A private key that others can read is refused, with the command that mends it."""
        path = Path(self.mktemp())
        path.write_text("key")
        path.chmod(0o640)
        with self.assertRaisesRegex(UnsafePath, f"others than its owner can read it. Run: chmod 600 {path}"):
            read_identity(path)

    def test_something_else(self) -> None:
        """A file of another kind is refused with what makes the right one."""
        path = Path(self.mktemp())
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(b"\xff\xfe")
        with self.assertRaisesRegex(BadParameter, "This is not an identity file"):
            read_identity(path)

    def test_of_somebody_else(self) -> None:
        """Where it matters whose it is, that of another account is refused."""
        path = Path(self.mktemp())
        path.touch(0o600)
        with self.assertRaisesRegex(UnsafePath, f"{path} belongs to another account \\(uid"):
            read_identity(path, os.geteuid() + 1)
