"""Slices lie on the disk until they are sent, within bounds, whatever becomes of the process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit import put_aside
from teleport_conch.audit.upload_spool import BLOCK_BYTES, MAX_BYTES, UploadSpool, disk_sizes
from teleport_conch.errors import StorageError, StorageFull
from tests.audit.shipping import SIDS, at_once

_Answer = TypeVar("_Answer")
DISK = 100 << 20
FULL = "The disk for recordings on this node has {} KiB left, and 5120 KiB are kept for other things."


class UploadSpoolCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.free = DISK

    def opened(self, max_bytes: int = MAX_BYTES) -> UploadSpool:
        spool = UploadSpool(self.directory, at_once, max_bytes, lambda folder: (DISK, self.free))
        spool.open()
        self.addCleanup(spool.close)
        return spool

    def do(self, work: object) -> object:
        return self.successResultOf(work)  # type: ignore[arg-type]  # coroutines will do

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())


class UploadSpoolTests(UploadSpoolCase):
    def test_kept(self) -> None:
        """A folder for each recording, a file for each slice, and nobody else's to read."""
        spool = self.opened()
        self.do(spool.keep(SIDS[0], 0, b"first"))
        self.do(spool.keep(SIDS[0], 1, b"second"))
        self.do(spool.keep(SIDS[1], 0, b"other"))
        self.assertEqual(
            self.files(), [f"{SIDS[0]}/000000.slice", f"{SIDS[0]}/000001.slice", f"{SIDS[1]}/000000.slice"]
        )
        modes = {path.stat().st_mode & 0o777 for path in (self.directory, *self.directory.glob("*"))}
        self.assertEqual(modes, {0o700})
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.directory.glob("*/*")}, {0o600})
        self.assertEqual(self.do(spool.read(SIDS[0], 1)), b"second")
        self.assertEqual((spool.ends(SIDS[0]), spool.ends(SIDS[2])), ((0, 1), None))
        self.assertEqual([spool.holds(SIDS[0], index) for index in (1, 2)], [True, False])

    def test_dropped(self) -> None:
        """Slices go from the front, or from the back; a recording goes with its folder."""
        spool = self.opened()
        for index in range(6):
            self.do(spool.keep(SIDS[0], index, b"x"))
        self.do(spool.drop(SIDS[0], 2))
        self.do(spool.cut(SIDS[0], 5))
        self.assertEqual(self.files(), [f"{SIDS[0]}/00000{index}.slice" for index in (2, 3, 4)])
        self.do(spool.remove(SIDS[0]))
        self.assertEqual((list(self.directory.iterdir()), spool.recordings), ([], ()))
        self.do(spool.remove(SIDS[3]))

    def test_found_again(self) -> None:
        """Another process finds what there is, in order also where numbers get longer, and nothing else."""
        spool = self.opened()
        for index in (999_998, 999_999, 1_000_000):
            self.do(spool.keep(SIDS[0], index, b"x"))
        for name in ("refused", "not-a-session", SIDS[1].upper()):
            (self.directory / name).mkdir()
        (self.directory / SIDS[0] / "notes.txt").touch()
        (self.directory / SIDS[2]).mkdir()
        spool.close()
        again = self.opened()
        self.assertEqual(sorted(again.recordings), [SIDS[0], SIDS[2]])
        self.assertEqual((again.ends(SIDS[0]), again.ends(SIDS[2])), ((999_998, 1_000_000), None))

    def test_bound(self) -> None:
        """Slices count as whole blocks, also those that were found; what was sent makes room."""
        spool = self.opened(max_bytes=3 * BLOCK_BYTES)
        for index in range(3):
            self.do(spool.keep(SIDS[0], index, b"x"))
        spool.close()
        again = self.opened(max_bytes=3 * BLOCK_BYTES)
        refusal = self.failureResultOf(again.keep(SIDS[1], 0, b"x"), StorageFull).value
        self.assertEqual(
            refusal.sentence,
            "0 MiB of recordings wait on this node for the auth server, and there is no room for more.",
        )
        self.do(again.keep(SIDS[1], 0, b"x", emergency=True))
        self.do(again.drop(SIDS[0], 2))
        again.check()

    def test_disk(self) -> None:
        """A part of the disk is left to others; emergencies leave half of that."""
        spool = self.opened()
        self.free = 5 << 20
        spool.check()
        self.free -= 1 << 10
        refusal = self.assertRaises(StorageFull, spool.check)
        self.assertEqual(refusal.sentence, FULL.format(5119))
        spool.check(emergency=True)
        self.free = (5 << 19) - 1
        self.assertRaises(StorageFull, spool.check, emergency=True)

    def test_real_disk(self) -> None:
        """The disk that is asked is the one that the folder is on."""
        spool = UploadSpool(self.directory, at_once)
        spool.open()
        self.addCleanup(spool.close)
        whole, free = spool._sizes(spool._folder)
        facts = os.statvfs(self.directory)
        self.assertEqual(whole, facts.f_blocks * facts.f_frsize)
        self.assertTrue(0 <= free <= whole)

    def test_not_written(self) -> None:
        """Of what could not be written nothing is left, and it can be written later."""
        spool = self.opened()

        def full(fd: int, data: bytes) -> int:
            return real(fd, data[:1])

        real: Callable[[int, bytes], int] = os.write
        self.patch(os, "write", full)
        refusal = self.failureResultOf(spool.keep(SIDS[0], 0, b"first"), StorageFull).value
        self.assertEqual(refusal.sentence, "The recording could not be written: No space left on device.")
        self.patch(os, "write", real)
        self.assertEqual((self.files(), spool.ends(SIDS[0])), ([], None))
        self.do(spool.keep(SIDS[0], 0, b"first"))
        self.failureResultOf(spool.keep(SIDS[0], 0, b"again"), StorageError)
        self.assertEqual(self.do(spool.read(SIDS[0], 0)), b"first")

    def test_moved(self) -> None:
        """What is under way when the folder gets another name ends up in the folder with that name."""
        spool = self.opened()
        self.do(spool.keep(SIDS[0], 0, b"first"))
        spool.move(self.directory.with_name("moved"))
        self.do(spool.keep(SIDS[0], 1, b"second"))
        self.assertFalse(self.directory.exists())
        self.directory = spool.directory
        self.assertEqual(self.files(), [f"{SIDS[0]}/000000.slice", f"{SIDS[0]}/000001.slice"])

    def test_synced(self) -> None:
        """The disk is told of each file and of the folders that name them, once."""
        synced: list[str] = []
        self.patch(os, "fsync", lambda fd: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
        spool = self.opened()
        self.do(spool.keep(SIDS[0], 0, b"first"))
        self.do(spool.keep(SIDS[0], 1, b"second"))
        self.do(spool.drop(SIDS[0], 1))
        self.do(spool.sync())
        self.do(spool.sync())
        self.assertEqual(synced, ["000001.slice", SIDS[0], self.directory.name])

    def test_closed_meanwhile(self) -> None:
        """What is under way at the end is still written, where it belongs."""
        waiting: list[Deferred[None]] = []

        def in_thread(work: Callable[[], _Answer]) -> Deferred[_Answer]:
            waiting.append(Deferred())
            return waiting[-1].addCallback(lambda _: work())

        spool = UploadSpool(self.directory, in_thread)
        spool.open()
        kept = Deferred.fromCoroutine(spool.keep(SIDS[0], 0, b"first"))
        spool.close()
        waiting[0].callback(None)
        self.successResultOf(kept)
        self.assertEqual((self.files(), spool._folder), ([f"{SIDS[0]}/000000.slice"], -1))

    def test_closed(self) -> None:
        """What comes after the end is not kept, and nothing else is written to."""
        spool = self.opened()
        spool.close()
        spool._sizes = disk_sizes
        failure = self.failureResultOf(spool.keep(SIDS[0], 0, b"late"), StorageError)
        self.assertEqual(
            failure.value.sentence, "The disk for recordings on this node cannot be used: Bad file descriptor."
        )

    def test_unusable(self) -> None:
        self.directory.touch()
        refusal = self.assertRaises(StorageError, self.opened)
        self.assertEqual(refusal.sentence, f"Recordings cannot be kept in {self.directory}: File exists.")

    def test_links(self) -> None:
        """A folder that somebody has put a link in place of is not followed."""
        elsewhere = Path(self.mktemp())
        elsewhere.mkdir()
        spool = self.opened()
        self.do(spool.keep(SIDS[0], 0, b"first"))
        (self.directory / SIDS[0] / "000001.slice").symlink_to(elsewhere / "file")
        self.failureResultOf(spool.keep(SIDS[0], 1, b"x"), StorageError)
        self.assertEqual(list(elsewhere.iterdir()), [])


class PutAsideTests(UploadSpoolCase):
    def test_put_aside(self) -> None:
        """It is out of the way, whole, and takes no room from others."""
        spool = self.opened(max_bytes=BLOCK_BYTES)
        self.do(spool.keep(SIDS[0], 0, b"first"))
        self.assertEqual(self.do(spool.put_aside(SIDS[0])), [])
        self.assertEqual((self.files(), spool.recordings), ([f"refused/{SIDS[0]}/000000.slice"], ()))
        spool.check()

    def test_bound(self) -> None:
        """Beyond the bound, what has been there longest is removed."""
        self.patch(put_aside, "MAX_REFUSED_BYTES", 20)
        spool, removed = self.opened(), []
        for age, sid in enumerate(SIDS[:4]):
            self.do(spool.keep(sid, 0, b"ten bytes!"))
            removed.append(self.do(spool.put_aside(sid)))
            os.utime(self.directory / "refused" / sid, (age, age))
        self.assertEqual(removed, [[], [], [SIDS[0]], [SIDS[1]]])
        self.assertEqual(self.files(), [f"refused/{sid}/000000.slice" for sid in SIDS[2:4]])
