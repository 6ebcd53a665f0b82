"""What processes that are gone did not get rid of: their spools, which another one sends for them."""

from __future__ import annotations

import os
from pathlib import Path

_PROCESSES = Path("/proc")


def leftovers(spools: Path, service: str, processes: int = 1) -> list[str]:
    """The spools of processes that are gone; those that hold nothing are removed.

    Such are those that retired (``node.4711``), and those for which there is no seat any more (``node.w3``).

    :param processes: how many seats there are.
    """
    found = []
    for folder in sorted(spools.glob(f"{service}.*")):
        if _is_over(folder.suffix[1:], processes):
            try:
                folder.rmdir()
            except OSError:
                found.append(folder.name)
    return found


def _is_over(whose: str, processes: int) -> bool:
    if whose.startswith("w"):
        return int(whose[1:]) >= processes
    return not _is_ours(whose)


def _is_ours(pid: str) -> bool:
    """Whether a process of our own account has the number: another one may have taken it since, even on purpose."""
    try:
        told = (_PROCESSES / pid / "status").read_text("utf-8", "replace")
    except OSError:
        return False
    return f"\nUid:\t{os.getuid()}\t" in told
