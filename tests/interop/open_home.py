"""Our programs where other accounts can run them, also if Python or this checkout lies in a closed home.

Such a home is covered, for the program that is started and for nobody else, by an empty folder that all may enter, in
which nothing is but what our programs need.
"""

from __future__ import annotations

import shlex
import stat
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import teleport_conch
from tests.interop.programs import run
from tests.interop.requirements import lack, require
from tests.interop.services import temporary_folder


@cache
def opened() -> tuple[str, ...]:
    """Words before a command that other accounts are to be able to run; none where they are as it is."""
    script = "".join(f"{line}\n" for line in _lines(_needed()))
    if not script:
        return ()
    sh = ("/bin/sh", "-c", f'set -e\n{script}exec "$@"', "sh")
    require("mount", "mount")
    words = (require("unshare", "util-linux"), "--mount", "--propagation", "private", "--", *sh)
    done = run(*words, "/bin/true")
    if done.code:
        lack(f"Python lies where other accounts may not go, and a folder cannot be opened for them: {done.complaint}")
    return words


def _needed() -> frozenset[Path]:
    """Python, what is installed beside it, and this checkout."""
    checkout = Path(teleport_conch.__file__).resolve().parents[1]
    return frozenset({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), checkout})


def _lines(needed: frozenset[Path]) -> Iterator[str]:
    """A script that puts what is needed of each closed folder into an open one at the same place."""
    closed = {each: folder for each in sorted(needed) if (folder := _closed_above(each)) is not None}
    kept = {each: temporary_folder() for each in closed}
    for each, folder in kept.items():
        yield shlex.join(["mount", "--bind", str(each), str(folder)])
    for each in sorted(set(closed.values())):
        yield shlex.join(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(each)])
    for each, folder in kept.items():
        yield shlex.join(["mkdir", "-p", str(each)])
        yield shlex.join(["mount", "--move", str(folder), str(each)])


def _closed_above(path: Path) -> Path | None:
    """The first folder on the way to ``path``, or itself, that others may not enter."""
    ways = reversed((path, *path.parents))
    return next((folder for folder in ways if not folder.stat().st_mode & stat.S_IXOTH), None)
