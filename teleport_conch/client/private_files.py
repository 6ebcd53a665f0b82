"""Small files that only their owner may read: whole or not there at all, also after a cut of power."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from teleport_conch.errors import StorageError, UnsafePath

#: Bytes of one file; the largest holds two keys, two certificates and two authorities.
MAX_FILE_BYTES = 1 << 20

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Put *text* in the place of what *path* holds, at once: a reader, or a restart, finds the old or the new.

    :raises StorageError: the disk is full, or cannot be written.
    """
    with _new(path, text, mode) as scratch:
        scratch.replace(path)


def create(path: Path, text: str, mode: int) -> bool:
    """The same where *path* does not exist; answers whether it did not."""
    with _new(path, text, mode) as scratch:
        try:
            path.hardlink_to(scratch)
        except FileExistsError:
            return False
    return True


@contextmanager
def _new(path: Path, text: str, mode: int) -> Iterator[Path]:
    """A file beside *path* that holds *text*, until what is done with it is done."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            _write_new(scratch, text, mode)
            yield scratch
        finally:
            scratch.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as reason:
        raise StorageError(f"{path} cannot be written: {reason.strerror}.") from reason


def _write_new(path: Path, text: str, mode: int) -> None:
    path.unlink(missing_ok=True)  # of a process that was killed and had the same id
    descriptor = os.open(path, _NEW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def sync(folder: Path) -> None:
    """Make what was created, renamed or removed in *folder* last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, owner: int | None = None) -> str | None:
    """What a file holds, None where there is none.

    :param owner: the uid that it has to belong to; None for any.
    :raises UnsafePath: others than its owner may read or change it, it is a link, too large, or not text.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as reason:
        raise UnsafePath(f"{path} cannot be read: {reason.strerror}.") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            raise UnsafePath(f"{path} is open to others than its owner (mode {mode:04o}). Run: chmod go= {path}")
        check_owner(path, found, owner)
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UnsafePath(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB, which no file of ours is.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafePath(f"{path} holds something else than text.") from None


def check_owner(path: Path, found: os.stat_result, owner: int | None) -> None:
    """:raises UnsafePath: it belongs to another account."""
    if owner is not None and found.st_uid != owner:
        raise UnsafePath(f"{path} belongs to another account (uid {found.st_uid}), and not to the one you are here.")


def check_folder(path: Path, owner: int) -> None:
    """Makes sure that what is in a folder comes from its owner, if it is there.

    :raises UnsafePath: it is another account's, or others may write to it.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as reason:
        raise UnsafePath(f"{path} cannot be read: {reason.strerror}.") from None
    check_owner(path, found, owner)
    _check_mode(path, found)


def remove(path: Path) -> None:
    """Nothing happens where *path* does not exist."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync(path.parent)


def make_folder(path: Path) -> None:
    """A folder of mode 0700.

    :raises UnsafePath: it is there, and others may write to it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_mode(path, path.stat())


def _check_mode(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o022:
        raise UnsafePath(f"Others than its owner may write to {path} (mode {mode:04o}). Run: chmod go-w {path}")
