"""Files that only root can have written: read where nobody could have put others, and written whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from teleport_conch.errors import UnsafePath

MAX_FILE_BYTES = 64 << 10
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read(path: Path, *, secret: bool = False) -> str | None:
    """The text of a file; None where there is none.

    :param secret: whether others must not be able to read it, either.
    :raises UnsafePath: others than root and this account can write it, or lead elsewhere on the way to it.
    """
    check_way(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise UnsafePath(f"{path} cannot be read: {problem.strerror}.") from problem
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        _check_owner(found, path)
        if secret and found.st_mode & _OTHERS:
            raise UnsafePath(f"{path} can be read by others than root. Run: chmod 0600 {path}")
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")


def check_way(path: Path) -> None:
    """Who can rename a folder on the way to a file, or lead elsewhere on it, can have another file believed.

    :raises UnsafePath: others than root can.
    """
    for folder in {*path.parents, *(path.parent.resolve() / path.name).parents}:
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            continue
        is_link = stat.S_ISLNK(found.st_mode)
        # In a sticky folder, such as /tmp, nobody renames what is not his own.
        is_safe_mode = is_link or (folder != path.parent and (found.st_mode & stat.S_ISVTX or _only_ours_write(found)))
        if found.st_uid not in (0, os.geteuid()) or not is_safe_mode:
            _check_owner(found, folder)


def _only_ours_write(found: os.stat_result) -> bool:
    return not found.st_mode & stat.S_IWOTH and (not found.st_mode & stat.S_IWGRP or found.st_gid in (0, os.getegid()))


def _check_owner(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS_WRITE:
        raise UnsafePath(
            f"{path} is not believed: others than root can write it. Make it root's, with mode 0644 or 0700."
        )


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Puts ``text`` in the place of what is there, also when the power goes."""
    fresh = _fresh(path, text, mode)
    fresh.replace(path)
    _sync(path.parent)


def create(path: Path, text: str, mode: int) -> bool:
    """The same where nothing is there; answers whether nothing was."""
    fresh = _fresh(path, text, mode)
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    _sync(path.parent)
    return True


def _fresh(path: Path, text: str, mode: int) -> Path:
    """A file beside ``path`` that holds ``text``."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    check_way(path)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, mode)
        file.write(text)
        file.flush()
        os.fsync(fd)
    return fresh


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
