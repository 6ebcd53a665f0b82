"""Lines on disk that wait to be sent: what was written first is read first, also after a restart.

The lines are in files of about a mebibyte, numbered in the order in which they were written. Lines are appended to the
newest file and read from the oldest, which goes once it was read to its end. How far a file was read is not kept on
disk, so after a restart up to a file's worth of lines is read a second time.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

MAX_BYTES = 64 << 20
"""All files of a spool together; when they are full, new lines are refused and old ones kept."""
FILE_BYTES = 1 << 20

_NAME = re.compile(r"[0-9]{12}\.jsonl")


class SpoolFull(OSError):
    """The bound of the spool was met, not that of the disk."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(errno.EDQUOT, f"the spool holds its limit of {max_bytes} bytes")


@define(eq=False)
class Spool:
    """A spool in ``directory``, which belongs to one process at a time. Every method may raise OSError."""

    _directory: Path
    _max_bytes: int = MAX_BYTES
    _file_bytes: int = FILE_BYTES
    _sizes: dict[int, int] = field(init=False, factory=dict)
    _writing: int | None = field(init=False, default=None)
    _fd: int = field(init=False, default=-1)
    _offset: int = field(init=False, default=0)
    _read: list[int] = field(init=False, factory=list)
    _unsynced: set[int] = field(init=False, factory=set)
    _next: int = field(init=False, default=0)

    def open(self) -> None:
        """Find what an earlier process left; called once, before anything else."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        numbers = (int(path.stem) for path in self._directory.iterdir() if _NAME.fullmatch(path.name))
        self._sizes = {number: self._path(number).stat().st_size for number in sorted(numbers)}
        self._next = max(self._sizes, default=0) + 1

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._writing = -1, None

    def append(self, line: bytes, share: float = 1.0) -> None:
        """Add one line, which ends in a newline.

        :param share: of the spool, beyond which there is no room for this line.
        :raises SpoolFull: there is no more room in the spool.
        :raises OSError: or on the disk. Either way nothing of the line was kept.
        """
        room = int(self._max_bytes * share)
        if sum(self._sizes.values()) + len(line) > room:
            raise SpoolFull(room)
        number = self._file_for_writing()
        size = self._sizes[number]
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, size)
            raise
        self._sizes[number] = size + len(line)
        self._unsynced.add(number)

    def batch(self, max_lines: int, max_bytes: int) -> tuple[bytes, ...]:
        """The oldest lines, without their newlines: as many as the bounds allow, and at least one if there is one."""
        while self._sizes:
            lines = self._lines(max_lines, max_bytes)
            if lines or min(self._sizes) == self._writing:
                return lines
            self._finish_oldest()
        return ()

    def advance(self, count: int) -> None:
        """Drop the first ``count`` lines of the last batch."""
        self._offset += sum(self._read[:count])
        self._read = self._read[count:]
        oldest = min(self._sizes)
        if self._offset >= self._sizes[oldest]:
            self._finish_oldest()

    def syncing(self) -> Callable[[], None]:
        """What has to be called, in any thread, to have the disk itself keep all that was appended so far."""
        paths = [*map(self._path, self._unsynced), self._directory]
        self._unsynced.clear()
        return lambda: _sync(paths)

    @property
    def empty(self) -> bool:
        return not self._sizes

    @property
    def behind(self) -> bool:
        """Whether there is a newer file than the one that batches are read from now."""
        return len(self._sizes) > 1

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:012}.jsonl"

    def _file_for_writing(self) -> int:
        if self._writing is not None and self._sizes[self._writing] < self._file_bytes:
            return self._writing
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        number = self._next
        self._fd = os.open(self._path(number), flags, 0o600)
        self._next, self._writing, self._sizes[number] = number + 1, number, 0
        return number

    def _lines(self, max_lines: int, max_bytes: int) -> tuple[bytes, ...]:
        """From the oldest file; a torn line at its end is none."""
        lines: list[bytes] = []
        room = max_bytes
        with self._path(min(self._sizes)).open("rb") as file:
            file.seek(self._offset)
            while len(lines) < max_lines:
                line = file.readline()
                if not line.endswith(b"\n") or (lines and len(line) > room):
                    break
                lines.append(line)
                room -= len(line)
        self._read = [len(line) for line in lines]
        return tuple(line[:-1] for line in lines)

    def _finish_oldest(self) -> None:
        number = min(self._sizes)
        if number == self._writing:
            self.close()
        self._path(number).unlink(missing_ok=True)
        del self._sizes[number]
        self._offset, self._read = 0, []


def _sync(paths: list[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):  # sent and gone meanwhile
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
