"""The account of workers, and the folder that becomes its own."""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

from teleport_conch.errors import StartError


def account_for(name: str) -> pwd.struct_passwd | None:
    """The account of workers, where we are root and it exists."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(name)
    return None


def why_as_root(what: str, name: str) -> str:
    """A sentence for a service that speaks with the network as root, as there is no such account; empty for others.

    :param what: the service, as it begins a sentence.
    """
    if os.geteuid() != 0 or account_for(name) is not None:
        return ""
    line = f"useradd --system --home-dir /var/lib/teleport --shell /usr/sbin/nologin {name}"
    return f"{what} speaks with the network as root, as there is no account {name}. To make it: {line}"


def give_log(output: str, account: pwd.struct_passwd) -> None:
    """Makes the file that the log goes to the account's, which has to open it, too, if it is root's as yet.

    Only a file that has no other name: whoever owns the folder can give any file of root's this one.
    """
    with suppress(OSError):  # the worker says why it cannot be opened
        fd = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            facts = os.fstat(fd)
            if stat.S_ISREG(facts.st_mode) and facts.st_uid == 0 and facts.st_nlink == 1:
                os.fchown(fd, account.pw_uid, account.pw_gid)
        finally:
            os.close(fd)


def give_folder(folder: Path, account: pwd.struct_passwd) -> None:
    """Makes a folder the account's, with what is in it, if it is root's as yet, or not there.

    Once it is the account's, root changes nothing in it: whoever owns a folder can lead root elsewhere with links.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != 0:
            return
        for inner, _, files in os.walk(folder, topdown=False):
            for name in (*(os.path.join(inner, file) for file in files), inner):
                if os.lstat(name).st_uid == 0:
                    os.lchown(name, account.pw_uid, account.pw_gid)
    except OSError as problem:
        raise StartError(f"The folder {folder} cannot be given to {account.pw_name}: {problem.strerror}.") from problem
