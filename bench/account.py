"""The account that benchmarks log in to: one's own, or one that is made for them and has ``/bin/sh``."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.programs import Broken


@contextmanager
def account(own: bool) -> Iterator[str]:
    """The name of the account. Another than one's own exists until the end of the block.

    :raises Broken: another is wanted, and whoever measures is not root.
    """
    if own:
        yield getpass.getuser()
        return
    if os.geteuid() != 0:
        raise Broken("this logs in to another account, which root has to make: run it as root")
    name = f"tc-bench-{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix="teleport-conch-bench-home-"))
    no_password = ("--password", "*")  # with "!", sshd would take the account for a locked one
    _run("useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", *no_password, name)
    try:
        shutil.chown(home, name, name)
        yield name
    finally:
        _run("userdel", "--force", name)
        shutil.rmtree(home, ignore_errors=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{command[0]} failed: {done.stderr.strip()}")
