"""The commands as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: A limit that only a broken program reaches, in seconds.
DEADLINE_S = 120.0


def environment() -> dict[str, str]:
    """Without what the person who runs the tests may have set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TELEPORT_", "SSH_"))}


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"teleport_conch.cli.{program}", *arguments]


def run(program: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command, run to its end without a terminal."""
    return subprocess.run(
        command(program, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        cwd=folder,
        env=environment() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
