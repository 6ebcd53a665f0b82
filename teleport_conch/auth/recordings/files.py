"""The files of recordings, ``<session id>.rec``: slices one behind the other, each on the disk before it counts."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import field, frozen
from twisted.logger import Logger

from teleport_conch.audit.recording import HEADER_BYTES, MAX_SLICE_BYTES, NO_DIGEST, digest, read_header
from teleport_conch.auth.limits import FREE_BYTES, FREE_SHARE, STREAM_BYTES
from teleport_conch.auth.recordings.slices import Piece, piece_of
from teleport_conch.errors import BadParameter, DiskLow, NotFound, StorageCorrupt, StorageError, StorageFull
from teleport_conch.storage.files import sync

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@frozen
class OnDisk:
    """A file as it was found.

    :ivar first: its first slice. :ivar last: its last one.
    :ivar changed_at: when it was written last, POSIX seconds.
    """

    first: Piece
    last: Piece
    size: int
    changed_at: float


@frozen
class Files:
    """The recordings in a folder, which is made when it is needed. Every method blocks on the disk.

    Names are session ids that were looked at before. One file has one writer at a time; whoever calls sees to that.
    """

    _folder: Path
    _log: Logger = field(init=False, factory=Logger, eq=False, repr=False)

    def find(self, session_id: str) -> OnDisk | None:
        """What there is of a recording; a slice at its end that a crash cut short is taken off.

        :raises StorageCorrupt: it is damaged elsewhere, and nothing is touched.
        :raises StorageError: it cannot be read.
        """
        path = self._path(session_id)
        try:
            with _opened(path, os.O_RDWR) as fd:
                found = _read_through(fd)
                rest = os.fstat(fd).st_size - (found.size if found else 0)
                if found and rest:
                    self._log.warn("Cut {count} bytes of a torn slice off {path}.", count=rest, path=str(path))
                    os.ftruncate(fd, found.size)
                os.fsync(fd)
        except FileNotFoundError:
            return None
        except BadParameter as reason:
            damage = f"The recording {path} is damaged, and nothing is added to it: {reason.sentence}"
            raise StorageCorrupt(damage) from None
        except OSError as reason:
            raise self._failure(path, reason) from reason
        if found is None:
            self._log.warn("Removed {path}, of which nothing is whole.", path=str(path))
            self.remove(session_id)
        return found

    def append(self, session_id: str, size: int, encoded: bytes) -> None:
        """Put a slice behind what there is; once this returns it is on the disk.

        :param size: of the file until now; 0 where there is none.
        :raises DiskLow: too little of the disk would be left free.
        :raises StorageFull, StorageError: it was not written; ask :meth:`find` what there is.
        """
        self.check_room(len(encoded))
        path = self._path(session_id)
        try:
            with _opened(path, os.O_WRONLY | os.O_APPEND | (0 if size else os.O_CREAT | os.O_EXCL)) as fd:
                if os.fstat(fd).st_size != size:
                    raise StorageError(f"Something else than this program has changed the recording {path}.")
                try:
                    _write(fd, encoded)
                    os.fsync(fd)
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(fd, size)
                    raise
            if not size:
                _give(path)
                sync(self._folder)
        except OSError as reason:
            raise self._failure(path, reason) from reason

    def check_room(self, count: int) -> None:
        """:raises DiskLow: with so many bytes more, too little of the disk would be left free."""
        self._make_folder()
        try:
            facts = os.statvfs(self._folder)
        except OSError as reason:
            raise self._failure(self._folder, reason) from reason
        free, kept = facts.f_bavail * facts.f_frsize, max(FREE_BYTES, facts.f_blocks * facts.f_frsize * FREE_SHARE)
        if free - count < kept:
            raise DiskLow(
                f"The disk of the auth server has {free >> 20} MiB left, and recordings leave {int(kept) >> 20} MiB of"
                " it free: none are taken until there is room. Nodes keep theirs meanwhile."
            )

    def read(self, session_id: str, offset: int, end: int) -> bytes:
        """Up to :data:`STREAM_BYTES` from a byte on, and none from ``end`` on.

        :raises NotFound: there is no such file.
        """
        path = self._path(session_id)
        try:
            with _opened(path, os.O_RDONLY) as fd:
                return os.pread(fd, max(0, min(STREAM_BYTES, end - offset)), offset) if offset < end else b""
        except FileNotFoundError:
            raise NotFound(
                f"The file of the recording {session_id} is not on the auth server; it was lost, or the server was made"
                " of a backup, which has no recordings in it."
            ) from None
        except OSError as reason:
            raise self._failure(path, reason) from reason

    def remove(self, session_id: str) -> None:
        """Remove a file, if it is there."""
        path = self._path(session_id)
        try:
            path.unlink(missing_ok=True)
            if self._folder.is_dir():
                sync(self._folder)
        except OSError as reason:
            raise self._failure(path, reason) from reason

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}.rec"

    def _make_folder(self) -> None:
        if self._folder.is_dir():
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _give(self._folder)
        except OSError as reason:
            raise self._failure(self._folder, reason) from reason

    def _failure(self, path: Path, reason: OSError) -> StorageError:
        if reason.errno in _FULL:
            return StorageFull(f"The disk of {self._folder} is full: the recording was not kept; make room there.")
        return StorageError(f"The recording {path} cannot be read or written: {reason.strerror}.")


def _read_through(fd: int) -> OnDisk | None:
    """What is whole in a file: by the heads of the slices from its beginning on, and the last two of them as a whole.

    :raises BadParameter: it is broken in another way than a slice is that was being written last.
    """
    facts = os.fstat(fd)
    places = deque(_places(fd, facts.st_size), maxlen=3)
    end = places[-1].end if places else 0
    if end < facts.st_size:
        _check_torn(fd, end, facts.st_size)
    elif places and not _follows(fd, places):
        places.pop()  # as long as it has to be, and not all of it was written
    if not places:
        return None
    if not _follows(fd, places):
        raise BadParameter("Its last slice does not follow the one before.")
    first, last = piece_of(_bytes(fd, _place(fd, 0))), piece_of(_bytes(fd, places[-1]))
    return OnDisk(first, last, places[-1].end, facts.st_mtime)


@frozen
class _Place:
    """Where a slice is."""

    at: int
    index: int
    end: int


def _places(fd: int, size: int) -> Iterator[_Place]:
    """Where each slice is that is there in its whole length."""
    at = index = 0
    while at < size:
        place = _place(fd, at)
        if place is None or place.end > size or place.index != index:
            return
        yield place
        at, index = place.end, index + 1


def _place(fd: int, at: int) -> _Place | None:
    try:
        header = read_header(os.pread(fd, HEADER_BYTES, at))
    except BadParameter:
        return None
    return _Place(at, header.index, at + header.length)


def _check_torn(fd: int, at: int, size: int) -> None:
    """What a crash leaves of a slice: a part of it, or nothing but its length.

    :raises BadParameter: it is something else.
    """
    place, rest = _place(fd, at), size - at
    part = rest < HEADER_BYTES or (place is not None and place.end > size)
    if not part and (rest > MAX_SLICE_BYTES or any(os.pread(fd, rest, at))):
        raise BadParameter("What follows its last slice is none.")


def _follows(fd: int, places: Sequence[_Place]) -> bool:
    """Whether the last slice can be read, and names the one before it."""
    try:
        last = piece_of(_bytes(fd, places[-1]))
    except BadParameter:
        return False
    return last.header.previous == (digest(_bytes(fd, places[-2])) if len(places) > 1 else NO_DIGEST)


def _bytes(fd: int, place: _Place | None) -> bytes:
    return b"" if place is None else os.pread(fd, place.end - place.at, place.at)


@contextmanager
def _opened(path: Path, how: int) -> Iterator[int]:
    fd = os.open(path, how | _FLAGS, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _give(path: Path) -> None:
    """What root makes belongs to the owner of the folder that it is in."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
