"""The host key in an identity of another account, which root takes over from it.

Whoever owns the folder could lead root to any file with a link, or put one there that is not his: so none is followed,
and only what the account or root owns alone is read.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from teleport_conch.client.identity_store import path_of
from teleport_conch.client.private_files import MAX_FILE_BYTES
from teleport_conch.errors import UnsafePath

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def host_key_in(data_dir: Path, role: str, owner: int) -> str:
    """The private host key of a service; empty where its identity has none, or is no identity.

    :param owner: the uid of the service's account.
    :raises UnsafePath: the file could be somebody else's.
    """
    path = path_of(data_dir, role)
    with ExitStack() as opened:
        try:
            # Root's own links on the way to data_dir are followed, and none behind it.
            folder = _open(opened, str(data_dir), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for name in path.relative_to(data_dir).parts[:-1]:
                folder = _open(opened, name, _READ | os.O_DIRECTORY, folder)
            file = _open(opened, path.name, _READ, folder)
        except FileNotFoundError:
            return ""
        except OSError as problem:
            raise UnsafePath(f"{path} is not read as root: {problem.strerror}. Remove it.") from problem
        _check(path, os.fstat(file), owner)
        return _ssh_key(os.read(file, MAX_FILE_BYTES))


def _open(opened: ExitStack, name: str, flags: int, folder: int | None = None) -> int:
    fd = os.open(name, flags, dir_fd=folder)
    opened.callback(os.close, fd)
    return fd


def _check(path: Path, found: os.stat_result, owner: int) -> None:
    is_file = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if not is_file or found.st_uid not in (0, owner) or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnsafePath(f"{path} is not read as root: it has to be a file of the service's own, with mode 0600.")


def _ssh_key(text: bytes) -> str:
    try:
        found = json.loads(text)["spec"]["ssh_key"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
