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

_PREFIX = "tc-interop-"
#: With the number of this process, as tests may run in several at once.
NAME = f"{_PREFIX}{os.getpid()}"
GROUP = f"{NAME}-too"


def is_root() -> bool:
    return os.geteuid() == 0


@cache
def guest_account() -> pwd.struct_passwd:
    """An account with a home of its own, bash, and a second group. Root can make it; it is removed at the end."""
    assert is_root(), "accounts are made by root"
    home = Path(tempfile.mkdtemp(prefix="teleport-conch-home-"))
    _remove_abandoned()
    check(run(require("groupadd", "passwd"), GROUP))
    made = ("--no-create-home", "--home-dir", str(home), "--shell", "/bin/bash", "--groups", GROUP)
    check(run(require("useradd", "passwd"), *made, NAME))
    atexit.register(_remove)
    account = pwd.getpwnam(NAME)
    os.chown(home, account.pw_uid, account.pw_gid)
    return account


@cache
def may_sudo() -> None:
    """The guest may become root by ``sudo``, without a password, until the tests have ended."""
    require("sudo", "sudo")
    rule = Path("/etc/sudoers.d", NAME)
    rule.touch(mode=0o440)
    atexit.register(rule.unlink, missing_ok=True)
    rule.write_text(f"{guest_account().pw_name} ALL=(root) NOPASSWD: ALL\n")


def _remove(name: str = NAME) -> None:
    run(require("userdel", "passwd"), "--force", "--remove", name)
    run(require("groupdel", "passwd"), f"{name}-too")
    Path("/etc/sudoers.d", name).unlink(missing_ok=True)


def _remove_abandoned() -> None:
    """What was left by tests that were killed."""
    for account in pwd.getpwall():
        pid = account.pw_name.removeprefix(_PREFIX)
        if account.pw_name.startswith(_PREFIX) and not Path("/proc", pid).exists():
            _remove(account.pw_name)
