"""Files that only their owner may read."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client import private_files
from teleport_conch.errors import StorageError, UnsafePath


class PrivateFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        private_files.make_folder(self.folder)
        self.path = self.folder / "secret"

    def mode(self, path: Path) -> int:
        return path.stat().st_mode & 0o777

    @contextmanager
    def no_room(self) -> Iterator[None]:
        """Files of this process end after one byte."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_modes(self) -> None:
        """Files are 0600 and folders 0700, whatever the umask allows."""
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        inner = self.folder / "inner"
        private_files.make_folder(inner)
        private_files.write(self.path, "text")
        self.assertEqual((self.mode(inner), self.mode(self.path)), (0o700, 0o600))

    def test_round_trip(self) -> None:
        """A second text takes the place of the first, and nothing else is left in the folder."""
        private_files.write(self.path, "old")
        private_files.write(self.path, "new ä")
        self.assertEqual(private_files.read(self.path), "new ä")
        self.assertEqual(os.listdir(self.folder), ["secret"])

    def test_owner(self) -> None:
        """Where it matters whose it is, another account's file or folder is refused."""
        private_files.write(self.path, "text")
        me, other = os.geteuid(), os.geteuid() + 1
        self.assertEqual(private_files.read(self.path, me), "text")
        private_files.check_folder(self.folder, me)
        private_files.check_folder(self.folder / "nothing", other)
        for refused in (
            lambda: private_files.read(self.path, other),
            lambda: private_files.check_folder(self.folder, other),
        ):
            sentence = self.assertRaises(UnsafePath, refused).sentence
            self.assertIn(f" belongs to another account (uid {me}), and not to the one you are here.", sentence)

    def test_folder_of_others(self) -> None:
        """A folder that others may write to is refused, with what mends it."""
        self.folder.chmod(0o720)
        problem = self.assertRaises(UnsafePath, private_files.check_folder, self.folder, os.geteuid())
        self.assertEqual(
            problem.sentence,
            f"Others than its owner may write to {self.folder} (mode 0720). Run: chmod go-w {self.folder}",
        )

    def test_absent(self) -> None:
        self.assertIsNone(private_files.read(self.path))
        private_files.remove(self.path)

    def test_failed_write(self) -> None:
        """A write that fails leaves what was there."""
        private_files.write(self.path, "old")
        with self.assertRaises(UnicodeEncodeError):
            private_files.write(self.path, "new \udcff")
        self.assertEqual(private_files.read(self.path), "old")
        self.assertEqual(os.listdir(self.folder), ["secret"])

    def test_full_disk(self) -> None:
        """It is said of the file that was meant, also where it is the service's start that fails over it."""
        private_files.write(self.path, "old")
        for write in (private_files.write, private_files.create):
            with self.no_room():
                refusal = self.assertRaises(StorageError, write, self.path, "new", 0o600)
            self.assertEqual(refusal.sentence, f"{self.path} cannot be written: File too large.")
        self.assertEqual(private_files.read(self.path), "old")
        self.assertEqual(os.listdir(self.folder), ["secret"])

    def test_left_over(self) -> None:
        """What a killed process left half written is no obstacle."""
        (self.folder / f".secret.{os.getpid()}").write_text("half")
        private_files.write(self.path, "whole")
        self.assertEqual(os.listdir(self.folder), ["secret"])

    def test_create(self) -> None:
        """Of two that create a file, the first one counts."""
        self.assertTrue(private_files.create(self.path, "first", 0o400))
        self.assertFalse(private_files.create(self.path, "second", 0o400))
        self.assertEqual((private_files.read(self.path), self.mode(self.path)), ("first", 0o400))

    def test_open_to_others(self) -> None:
        """A file that others can read is not used."""
        private_files.write(self.path, "text")
        self.path.chmod(0o640)
        refused = self.assertRaises(UnsafePath, private_files.read, self.path)
        self.assertEqual(
            refused.sentence, f"{self.path} is open to others than its owner (mode 0640). Run: chmod go= {self.path}"
        )

    def test_link(self) -> None:
        """A link is not followed."""
        other = self.folder / "other"
        private_files.write(other, "text")
        self.path.symlink_to(other)
        self.assertRaises(UnsafePath, private_files.read, self.path)

    def test_too_large(self) -> None:
        private_files.write(self.path, "x" * (private_files.MAX_FILE_BYTES + 1))
        refused = self.assertRaises(UnsafePath, private_files.read, self.path)
        self.assertEqual(refused.sentence, f"{self.path} is larger than 1 MiB, which no file of ours is.")

    def test_no_text(self) -> None:
        private_files.write(self.path, "")
        self.path.write_bytes(b"\xff\xfe")
        refused = self.assertRaises(UnsafePath, private_files.read, self.path)
        self.assertEqual(refused.sentence, f"{self.path} holds something else than text.")

    def test_folder_of_everybody(self) -> None:
        """A folder that others may write to is not used."""
        self.folder.chmod(0o777)
        refused = self.assertRaises(UnsafePath, private_files.make_folder, self.folder)
        self.assertEqual(
            refused.sentence,
            f"Others than its owner may write to {self.folder} (mode 0777). Run: chmod go-w {self.folder}",
        )
