"""The files of a database: private from the first moment, and used by one process."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO

from teleport_conch.errors import StorageInUse, UnsafePath

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_private(path: Path) -> None:
    """Create *path*, empty, mode 0600 whatever the umask; ``FileExistsError`` if it is there."""
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    sync(path.parent)


def ensure_private(path: Path) -> None:
    """Create *path* if it is missing.

    What root creates in the folder of a service's account belongs to that account, which has to open it later.

    :raises UnsafePath: it is there, and others may read or write it.
    """
    try:
        create_private(path)
    except FileExistsError:
        check_private(path)
    else:
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def check_private(path: Path) -> None:
    """:raises UnsafePath: others than its owner may read or write *path*."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UnsafePath(f"{path} holds secrets and is open to others (mode {mode:04o}); run: chmod 600 {path}")


def lock(database: Path) -> BinaryIO:
    """Hold ``<database>.lock`` as long as the answer is open; the lock ends with the process, however that ends.

    The file holds the process id of its holder, for the sentence that the next one reads. It is never removed: two
    processes could then hold two files of one name.

    :raises StorageInUse: another process holds it.
    """
    path = database.with_name(f"{database.name}.lock")
    ensure_private(path)
    held = open(path, "r+b", buffering=0)  # noqa: SIM115 - it stays open, that is the lock
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = held.read(20).decode("ascii", "replace").strip() or "?"
        held.close()
        raise StorageInUse(f"The database {database} is in use by process {holder}; stop that one first.") from None
    held.truncate(0)
    held.write(f"{os.getpid()}\n".encode("ascii"))
    return held


def sync(path: Path) -> None:
    """Have the disk know what was written to a file, or which files are in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
