"""Directories as a client sees them: attributes of each file, and its line of ``ls -l``."""

from __future__ import annotations

import os
import pwd
import stat
import time

from teleport_conch.ssh.sftp.codec import all_attributes, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from teleport_conch.ssh.sftp.handles import OpenDirectory

BATCH = 100
"""Names in one answer, as OpenSSH sends them: below 64 KiB, however long they are."""
HALF_A_YEAR_S = 365 * 86_400 // 2
MAX_KNOWN_OWNERS = 4096


def attributes_of(found: os.stat_result) -> bytes:
    """What ATTRS says of a file."""
    return all_attributes(
        found.st_size, found.st_uid, found.st_gid, found.st_mode, int(found.st_atime), int(found.st_mtime)
    )


class Owners:
    """Names of users and groups, each looked up once."""

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def user(self, uid: int) -> str:
        """The name, or the number where there is none."""
        if uid not in self._users:
            _keep(self._users, uid, user_name(uid) or str(uid))
        return self._users[uid]

    def group(self, gid: int) -> str:
        """The name, or the number where there is none."""
        if gid not in self._groups:
            _keep(self._groups, gid, group_name(gid) or str(gid))
        return self._groups[gid]


def _keep(known: dict[int, str], number: int, name: str) -> None:
    if len(known) >= MAX_KNOWN_OWNERS:
        known.clear()
    known[number] = name


def user_name(uid: int) -> str:
    """Empty where there is no such user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


def group_name(gid: int) -> str:
    """Empty where there is no such group."""
    import grp  # a shared library, which most sessions never need

    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return ""


def line(name: bytes, found: os.stat_result, owners: Owners, now: float) -> bytes:
    """A line as OpenSSH's server writes it: people read it, and old programs take it apart."""
    mode, links, size = stat.filemode(found.st_mode), found.st_nlink, found.st_size
    user, group = owners.user(found.st_uid), owners.group(found.st_gid)
    front = f"{mode}  {links:>3} {user:<8} {group:<8} {size:>8} {_date(int(found.st_mtime), now)} "
    return os.fsencode(front) + name


def _date(mtime: int, now: float) -> str:
    """The time of day of what is new, the year of what is older than half a year or lies ahead."""
    try:
        when = time.localtime(mtime)
    except (OverflowError, OSError, ValueError):
        return ""
    return time.strftime("%b %e %H:%M" if now - HALF_A_YEAR_S < mtime <= now else "%b %e  %Y", when)


def batch(directory: OpenDirectory, owners: Owners, now: float) -> list[bytes]:
    """The next names of a directory, each as NAME has it; none at the end.

    What has vanished since its name was read is left out.
    """
    entries: list[bytes] = []
    parent = directory.path.rstrip(b"/") + b"/"
    for name in directory.names:
        try:
            found = os.lstat(parent + name)
        except OSError:
            continue
        entries.append(string(name) + string(line(name, found, owners, now)) + attributes_of(found))
        if len(entries) == BATCH:
            break
    return entries
