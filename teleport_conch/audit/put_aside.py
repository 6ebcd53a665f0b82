"""Recordings that auth would not take for good: out of the way of the others, for somebody to look at."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from itertools import accumulate

REFUSED = "refused"
"""The folder for them, beside the recordings that wait."""
MAX_REFUSED_BYTES = 1 << 30
"""Of all that is there. Beyond it, what has been there longest is removed."""


def put_aside(spool: int, recording: str) -> list[str]:
    """Move a recording to :data:`REFUSED`. May raise OSError.

    :param spool: a descriptor of the folder that both are in.
    :return: the recordings that were removed for it.
    """
    with suppress(FileExistsError):
        os.mkdir(REFUSED, 0o700, dir_fd=spool)
    refused = os.open(REFUSED, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spool)
    try:
        os.utime(recording, dir_fd=spool)
        os.rename(recording, recording, src_dir_fd=spool, dst_dir_fd=refused)
        names = os.listdir(refused)
        names.sort(key=lambda name: os.stat(name, dir_fd=refused).st_mtime_ns, reverse=True)
        sizes = accumulate(_size(refused, name) for name in names)
        removed = [name for name, size in zip(names, sizes, strict=True) if size > MAX_REFUSED_BYTES]
        for name in removed:
            shutil.rmtree(name, dir_fd=refused)
        return removed
    finally:
        os.close(refused)


def _size(folder: int, name: str) -> int:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return sum(os.stat(each, dir_fd=fd).st_size for each in os.listdir(fd))
    finally:
        os.close(fd)
