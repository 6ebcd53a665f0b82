"""Processes whose clock is wrong, or that run in the past, by the library of ``faketime``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.interop.requirements import require

LIBRARIES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")


def clock_off_by(seconds: float) -> Mapping[str, str]:
    """The variables that give a process a clock which is so many seconds ahead, or behind where it is negative.

    The program ``faketime`` would stand between us and the process, and not hand our signals on.
    """
    require("faketime", "faketime")
    found = [path for pattern in LIBRARIES for path in Path("/").glob(f"{pattern[1:]}/libfaketime.so.1")]
    assert found, f"faketime is installed without libfaketime.so.1 in {' or '.join(LIBRARIES)}"
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{seconds:+.0f}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
