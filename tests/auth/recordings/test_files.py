"""The files of recordings: what is acknowledged is there, and what a crash leaves is seen for what it is."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import HEADER_BYTES, MAX_SLICE_BYTES, digest
from teleport_conch.auth.limits import FREE_BYTES, STREAM_BYTES
from teleport_conch.auth.recordings.files import Files
from teleport_conch.errors import DiskLow, NotFound, StorageCorrupt, StorageError, StorageFull
from tests.auth.recordings.samples import SID, Sample, sample


@define
class Room:
    """What a disk says of itself: in blocks of 4 KiB."""

    f_bavail: int
    f_blocks: int = 100 << 18
    f_frsize: int = 4096


class FilesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "log" / "records"
        self.files = Files(self.folder)
        self.path = self.folder / f"{SID}.rec"
        self.sample = sample()

    def keep(self, made: Sample) -> None:
        size = 0
        for each in made.slices:
            self.files.append(SID, size, each)
            size += len(each)

    def put(self, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(content)


class WriteTests(FilesTestCase):
    def test_append(self) -> None:
        """Slices one behind the other, in a file and a folder for the service's account alone."""
        self.keep(self.sample)
        self.assertEqual(self.path.read_bytes(), self.sample.whole)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_on_the_disk(self) -> None:
        """The file is synced before the answer, and with its first slice the folder, too."""
        synced: list[str] = []
        real = os.fsync

        def watched(fd: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            real(fd)

        self.patch(os, "fsync", watched)
        self.files.append(SID, 0, self.sample.slices[0])
        self.assertEqual(synced, [str(self.path), str(self.folder)])
        self.files.append(SID, len(self.sample.slices[0]), self.sample.slices[1])
        self.assertEqual(synced[2:], [str(self.path)])

    def test_changed_by_somebody_else(self) -> None:
        """Nothing is put behind what is not what it was."""
        first, second, _ = self.sample.slices
        self.files.append(SID, 0, first)
        for size in (len(first) - 1, len(first) + 1, 0):
            self.assertRaises(StorageError, self.files.append, SID, size, second)
        self.assertEqual(self.path.read_bytes(), first)

    def test_no_link_is_followed(self) -> None:
        """Whoever can put a link into the folder has nothing written elsewhere."""
        self.folder.mkdir(parents=True)
        elsewhere = self.folder / "elsewhere"
        elsewhere.touch()
        self.path.symlink_to(elsewhere)
        self.assertRaises(StorageError, self.files.append, SID, 0, self.sample.slices[0])
        self.assertRaises(StorageError, self.files.find, SID)
        self.assertEqual(elsewhere.read_bytes(), b"")

    def test_full(self) -> None:
        """What did not fit is taken back."""
        first, second, _ = self.sample.slices
        self.files.append(SID, 0, first)
        real = os.write

        def half(fd: int, data: memoryview) -> int:
            if len(data) > 20:
                return real(fd, data[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "write", half)
        refusal: StorageFull = self.assertRaises(StorageFull, self.files.append, SID, len(first), second)
        self.assertIn("the recording was not kept; make room there", refusal.sentence)
        self.assertEqual(self.path.read_bytes(), first)

    def test_failed_sync(self) -> None:
        """What the disk did not confirm does not count."""
        first, second, _ = self.sample.slices
        self.files.append(SID, 0, first)

        def failing(fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(os, "fsync", failing)
        refusal: StorageError = self.assertRaises(StorageError, self.files.append, SID, len(first), second)
        self.assertIn("cannot be read or written: Input/output error.", refusal.sentence)
        self.assertEqual(self.path.read_bytes(), first)


class RoomTests(FilesTestCase):
    def room(self, room: Room) -> None:
        self.patch(os, "statvfs", lambda path: room)

    def test_low(self) -> None:
        """The database on the same disk is not to suffer: 512 MiB stay free, and 2 % of a larger disk."""
        slice_ = self.sample.slices[0]
        blocks = FREE_BYTES // 4096
        for free, total in ((blocks, 10 << 18), (2 * (1 << 18) - 1, 100 << 18)):
            self.room(Room(free, total))
            refusal: DiskLow = self.assertRaises(DiskLow, self.files.append, SID, 0, slice_)
            self.assertFalse(self.path.exists())
        self.assertEqual(
            refusal.sentence,
            "The disk of the auth server has 2047 MiB left, and recordings leave 2048 MiB of it free: none are taken"
            " until there is room. Nodes keep theirs meanwhile.",
        )

    def test_room_again(self) -> None:
        self.room(Room(0))
        self.assertRaises(DiskLow, self.files.append, SID, 0, self.sample.slices[0])
        self.room(Room(3 << 18))
        self.keep(self.sample)
        self.assertEqual(self.path.read_bytes(), self.sample.whole)


class FindTests(FilesTestCase):
    def test_nothing(self) -> None:
        self.assertIs(self.files.find(SID), None)

    def test_whole(self) -> None:
        self.put(self.sample.whole)
        found = self.files.find(SID)
        assert found is not None
        self.assertEqual(
            (found.first.header.index, found.last.header.index, found.size), (0, 2, len(self.sample.whole))
        )
        self.assertEqual(found.last.digest, digest(self.sample.slices[2]))
        self.assertEqual(found.changed_at, self.path.stat().st_mtime)

    def test_85_torn_anywhere(self) -> None:
        """Whatever a crash leaves of the last slice is cut off; what was acknowledged before is all there."""
        first, second, third = self.sample.slices
        for kept, torn in ((first, second), (first + second, third)):
            for length in range(len(torn)):
                self.put(kept + torn[:length])
                found = self.files.find(SID)
                assert found is not None
                self.assertEqual((found.size, self.path.read_bytes()), (len(kept), kept), length)

    def test_85_only_its_length(self) -> None:
        """Some file systems know that a file is longer before they know what is in it."""
        first, second, third = self.sample.slices
        for length in (1, HEADER_BYTES, len(third), 5000):
            self.put(first + second + bytes(length))
            found = self.files.find(SID)
            assert found is not None
            self.assertEqual(self.path.read_bytes(), first + second)
        self.put(first + second[:HEADER_BYTES] + bytes(len(second) - HEADER_BYTES))
        found = self.files.find(SID)
        assert found is not None
        self.assertEqual((found.last.header.index, self.path.read_bytes()), (0, first))

    def test_first_slice_torn(self) -> None:
        """Of such a recording nothing was acknowledged, and nothing is left."""
        for length in range(len(self.sample.slices[0])):
            self.put(self.sample.slices[0][:length])
            self.assertIs(self.files.find(SID), None)
            self.assertFalse(self.path.exists())

    def test_damaged(self) -> None:
        """What is damaged otherwise is no work of a crash: nothing is cut off, and nothing added."""
        first, second, third = self.sample.slices
        changed = bytearray(second)
        changed[-1] ^= 1
        for content in (
            first + bytes(changed) + third,
            first + third,
            first + second + b"x" * 200,
            first + second + bytes(MAX_SLICE_BYTES + 1),
            b"x" * 200,
            third,
        ):
            self.put(content)
            refusal: StorageCorrupt = self.assertRaises(StorageCorrupt, self.files.find, SID)
            self.assertIn(f"The recording {self.path} is damaged, and nothing is added to it:", refusal.sentence)
            self.assertEqual(self.path.read_bytes(), content)

    @given(st.binary(max_size=400), st.integers(0, 3))
    @settings(deadline=None)
    def test_noise_at_the_end(self, noise: bytes, whole: int) -> None:
        """Nothing that was acknowledged is ever cut off."""
        kept = b"".join(self.sample.slices[:whole])
        self.put(kept + noise)
        try:
            found = self.files.find(SID)
        except StorageCorrupt:
            self.assertEqual(self.path.read_bytes(), kept + noise)
        else:
            self.assertEqual(b"" if found is None else self.path.read_bytes(), kept)


class ReadTests(FilesTestCase):
    def test_parts(self) -> None:
        """From a byte on, up to what is known to be whole."""
        self.put(self.sample.whole + b"being written")
        whole = self.sample.whole
        self.assertEqual(self.files.read(SID, 0, len(whole)), whole)
        self.assertEqual(self.files.read(SID, 7, len(whole)), whole[7:])
        for offset in (len(whole), len(whole) + 5, 1 << 60):
            self.assertEqual(self.files.read(SID, offset, len(whole)), b"")

    def test_bounded(self) -> None:
        self.put(bytes(STREAM_BYTES + 10))
        self.assertEqual(len(self.files.read(SID, 0, STREAM_BYTES + 10)), STREAM_BYTES)
        self.assertEqual(len(self.files.read(SID, STREAM_BYTES, STREAM_BYTES + 10)), 10)

    def test_lost(self) -> None:
        refusal: NotFound = self.assertRaises(NotFound, self.files.read, SID, 0, 10)
        self.assertIn("is not on the auth server; it was lost, or the server was made of a backup", refusal.sentence)

    def test_remove(self) -> None:
        self.keep(self.sample)
        self.files.remove(SID)
        self.assertEqual(list(self.folder.iterdir()), [])
        self.files.remove(SID)
