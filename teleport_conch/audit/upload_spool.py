"""Slices of recordings on disk that wait to be sent: a folder for each recording, in it a file for each slice.

The folder may be renamed under an open spool (a process that leaves its place to another takes its sessions along), so
everything in it is reached by the folder's descriptor.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from teleport_conch.audit.put_aside import put_aside
from teleport_conch.errors import StorageError, StorageFull

MAX_BYTES = 1 << 30
"""All slices of one spool together. Each counts as what it takes on the disk, in whole blocks."""
BLOCK_BYTES = 4 << 10
MIN_FREE_BYTES = 256 << 20
"""What recordings leave free on the disk, for whatever else lives there..."""
MIN_FREE_SHARE = 0.05
"""...or this share of the whole disk, where that is less."""
EMERGENCY_SHARE = 0.5
"""Recordings of logins with certificates for emergencies leave only this share of that."""

_RECORDING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SLICE = re.compile(r"([0-9]{6,7})\.slice")
_Answer = TypeVar("_Answer")


class InThread(Protocol):
    """Runs work that waits for the disk somewhere else."""

    def __call__(self, work: Callable[[], _Answer], /) -> Deferred[_Answer]:
        """What ``work`` answers or raises."""


def disk_sizes(folder: int) -> tuple[int, int]:
    """The bytes of a disk, and those that are free on it, for the descriptor of a folder there."""
    found = os.fstatvfs(folder)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


@define(eq=False)
class UploadSpool:
    """A spool in ``directory``, which belongs to one process at a time.

    What is asked for one recording is asked one after the other; recordings do not get in each other's way.

    :param sizes: see :func:`disk_sizes`.
    """

    directory: Path
    _in_thread: InThread = deferToThread
    _max_bytes: int = MAX_BYTES
    _sizes: Callable[[int], tuple[int, int]] = disk_sizes
    _slices: dict[str, dict[int, int]] = field(init=False, factory=dict)
    _bytes: int = field(init=False, default=0)
    _folder: int = field(init=False, default=-1)
    _unsynced: set[str] = field(init=False, factory=set)
    _busy: int = field(init=False, default=0)
    _closing: bool = field(init=False, default=False)

    def open(self) -> None:
        """Find what an earlier process left; called once, before anything else. Raises :class:`StorageError`."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            for name in filter(_RECORDING.fullmatch, os.listdir(self._folder)):
                self._slices[name] = _found(self._folder, name)
        except OSError as error:
            raise StorageError(f"Recordings cannot be kept in {self.directory}: {error.strerror}.") from error
        self._bytes = sum(sum(costs.values()) for costs in self._slices.values())

    def close(self) -> None:
        """Nothing more is asked; what is under way is still done."""
        self._closing = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closing and not self._busy and self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def move(self, directory: Path) -> None:
        """Take everything along to another folder, which must not be there yet. May raise OSError."""
        self.directory.rename(directory)
        self.directory = directory

    @property
    def recordings(self) -> Sequence[str]:
        """The ids of the sessions that there is something of."""
        return tuple(self._slices)

    def ends(self, recording: str) -> tuple[int, int] | None:
        """The indexes of the oldest and the newest slice that there are."""
        slices = self._slices.get(recording)
        return (next(iter(slices)), next(reversed(slices))) if slices else None

    def waiting_bytes(self, recording: str) -> int:
        """What there is of a recording, as it counts."""
        return sum(self._slices.get(recording, {}).values())

    @property
    def shares_are_due(self) -> bool:
        """Whether what waits takes more than there is room for."""
        return self._bytes > self.room

    @property
    def room(self) -> int:
        """Bytes for which there is room; none where the disk does not say."""
        try:
            whole, free = self._sizes(self._folder)
        except OSError:
            return 0
        return max(0, min(self._max_bytes - self._bytes, free - _mark(whole)))

    def holds(self, recording: str, index: int) -> bool:
        """Whether there is this slice."""
        return index in self._slices.get(recording, ())

    def check(self, emergency: bool = False) -> None:
        """Whether one more slice may be kept.

        :raises StorageFull: there is no room; the sentence says where.
        :raises StorageError: the disk does not say; or the spool was closed.
        """
        try:
            whole, free = self._sizes(self._folder)
        except OSError as error:
            raise StorageError(f"The disk for recordings on this node cannot be used: {error.strerror}.") from error
        mark = _mark(whole)
        if free < (int(mark * EMERGENCY_SHARE) if emergency else mark):
            raise StorageFull(
                f"The disk for recordings on this node has {free >> 10} KiB left, and {mark >> 10} KiB are kept for"
                " other things."
            )
        if self._bytes >= self._max_bytes and not emergency:
            raise StorageFull(
                f"{self._max_bytes >> 20} MiB of recordings wait on this node for the auth server, and there is no room"
                " for more."
            )

    async def keep(self, recording: str, index: int, encoded: bytes, emergency: bool = False) -> None:
        """Write one slice.

        :raises StorageError: nothing of it was kept; :class:`StorageFull` for want of room.
        """
        self.check(emergency)
        try:
            await self._run(lambda folder: _write(folder, recording, _name(index), encoded))
        except OSError as error:
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
            raise kind(f"The recording could not be written: {error.strerror}.") from error
        self._slices.setdefault(recording, {})[index] = _cost(len(encoded))
        self._bytes += _cost(len(encoded))
        self._unsynced.update((f"{recording}/{_name(index)}", recording, "."))

    async def read(self, recording: str, index: int) -> bytes:
        """The whole of one slice. Raises :class:`StorageError`."""
        try:
            return await self._run(lambda folder: _read(folder, f"{recording}/{_name(index)}"))
        except OSError as error:
            raise StorageError(f"Slice {index} of the recording cannot be read: {error.strerror}.") from error

    async def drop(self, recording: str, before: int) -> None:
        """Forget the slices before one of them."""
        await self._forget(recording, tuple(takewhile(lambda index: index < before, self._slices.get(recording, ()))))

    async def cut(self, recording: str, first: int) -> None:
        """Forget a slice, and all behind it."""
        await self._forget(recording, tuple(index for index in self._slices.get(recording, ()) if index >= first))

    async def _forget(self, recording: str, indexes: Sequence[int]) -> None:
        self._bytes -= sum(self._slices[recording].pop(index) for index in indexes)
        names = [f"{recording}/{_name(index)}" for index in indexes]
        await self._run(lambda folder: _unlink(folder, names))

    async def remove(self, recording: str) -> None:
        """Forget a recording."""
        await self.drop(recording, 1 << 32)
        self._slices.pop(recording, None)
        with suppress(OSError):
            await self._run(lambda folder: os.rmdir(recording, dir_fd=folder))

    async def put_aside(self, recording: str) -> Sequence[str]:
        """Take a recording out of the way, for somebody to look at; see :mod:`teleport_conch.audit.put_aside`."""
        removed = await self._run(lambda folder: put_aside(folder, recording))
        self._bytes -= sum(self._slices.pop(recording, {}).values())
        return removed

    async def sync(self) -> None:
        """Have the disk itself keep all that was written so far. May raise OSError."""
        names = sorted(self._unsynced, reverse=True)
        self._unsynced.clear()
        await self._run(lambda folder: _sync(folder, names))

    async def _run(self, work: Callable[[int], _Answer]) -> _Answer:
        """Work on the folder in a thread, which finds it open until it has done."""
        folder = self._folder
        self._busy += 1
        try:
            return await self._in_thread(lambda: work(folder))
        finally:
            self._busy -= 1
            self._close_if_idle()


def _mark(whole: int) -> int:
    return min(MIN_FREE_BYTES, int(whole * MIN_FREE_SHARE))


def _name(index: int) -> str:
    return f"{index:06}.slice"


def _number(name: str) -> tuple[int, str]:
    """Numbers by size, where there are more digits than six."""
    return len(name), name


def _cost(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _found(folder: int, recording: str) -> dict[int, int]:
    fd = os.open(recording, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        matches = filter(None, map(_SLICE.fullmatch, sorted(os.listdir(fd), key=_number)))
        return {int(each[1]): _cost(os.stat(each[0], dir_fd=fd).st_size) for each in matches}
    finally:
        os.close(fd)


def _write(folder: int, recording: str, name: str, data: bytes) -> None:
    with suppress(FileExistsError):
        os.mkdir(recording, 0o700, dir_fd=folder)
    path = f"{recording}/{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600, dir_fd=folder)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.unlink(path, dir_fd=folder)
        raise
    finally:
        os.close(fd)


def _read(folder: int, path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    with open(fd, "rb") as file:
        return file.read()


def _unlink(folder: int, paths: Sequence[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path, dir_fd=folder)


def _sync(folder: int, paths: Sequence[str]) -> None:
    """Files first, and then the folders that name them."""
    for path in paths:
        with suppress(FileNotFoundError):  # sent and gone meanwhile
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
