"""An account beside the one that runs the tests, to log in to."""

from __future__ import annotations

import atexit
import os
import pwd
import tempfile
from functools import cache
from pathlib import Path

from tests.interop.programs import check, run
from tests.interop.requirements import require

NAME = "tc-interop"
GROUP = "tc-interop-too"


def is_root() -> bool:
    return os.geteuid() == 0


@cache
def guest_account() -> pwd.struct_passwd:
    """An account with a home of its own, bash, and a second group. Root can make it; it is removed at the end."""
    assert is_root(), "accounts are made by root"
    home = Path(tempfile.mkdtemp(prefix="teleport-conch-home-"))
    _remove()
    check(run(require("groupadd", "passwd"), GROUP))
    made = ("--no-create-home", "--home-dir", str(home), "--shell", "/bin/bash", "--groups", GROUP)
    check(run(require("useradd", "passwd"), *made, NAME))
    atexit.register(_remove)
    account = pwd.getpwnam(NAME)
    os.chown(home, account.pw_uid, account.pw_gid)
    return account


def _remove() -> None:
    """Also what an earlier run left, that was killed."""
    run(require("userdel", "passwd"), "--force", "--remove", NAME)
    run(require("groupdel", "passwd"), GROUP)
