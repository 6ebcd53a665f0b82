"""Names of files as the server makes them whole: what they come down to, and what ``~`` stands for."""

from __future__ import annotations

import errno
import os
import pwd

MAX_PATH_BYTES = 4096
MAX_LINKS = 32
"""Symbolic links that one name may lead over."""


def resolve(path: bytes) -> bytes:
    """The absolute name without ``.``, ``..`` and symbolic links. Its last part need not exist, all others have to.

    :raises OSError: a part is missing, is no directory, may not be searched, or is a link in a circle.
    """
    if len(path) >= MAX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    resolved = b"" if path.startswith(b"/") else os.getcwdb().rstrip(b"/")
    left = path.split(b"/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name == b"..":
            resolved = resolved.rpartition(b"/")[0]
        if name in (b"", b".", b".."):
            continue
        target = _link(resolved + b"/" + name, is_last=not left)
        if target is None:
            resolved += b"/" + name
            continue
        links += 1
        if links > MAX_LINKS or len(target) + sum(map(len, left)) + len(left) >= MAX_PATH_BYTES:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            resolved = b""
        left += target.split(b"/")[::-1]
    return resolved or b"/"


def _link(path: bytes, is_last: bool) -> bytes | None:
    """Where the symbolic link leads; None for what is none, and for a last part that does not exist."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno == errno.EINVAL or (error.errno == errno.ENOENT and is_last):
            return None
        raise


def expand(path: bytes) -> bytes:
    """What a shell would make of a name that begins with ``~``; other names stay as they are.

    A ``~`` without a user is the directory in which the server was started.

    :raises KeyError: there is no such user.
    """
    if not path.startswith(b"~"):
        return path
    user, _, rest = path[1:].partition(b"/")
    start = home(user) if user else os.getcwdb()
    return start + b"/" + rest


def home(user: bytes) -> bytes:
    """The home directory of ``user``, or of whoever runs the server.

    :raises KeyError: there is no such user.
    """
    found = pwd.getpwnam(os.fsdecode(user)) if user else pwd.getpwuid(os.getuid())
    return os.fsencode(found.pw_dir)
