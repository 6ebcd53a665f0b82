"""The records of logins that ``who``, ``last`` and ``lastlog`` read: utmp(5), wtmp(5) and lastlog.

Each is written where its file exists, and nobody misses it where it does not. The layouts are glibc's on 64-bit Linux.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from fcntl import LOCK_EX, lockf
from pathlib import Path
from typing import NamedTuple

UTMP = Path("/run/utmp")
WTMP = Path("/var/log/wtmp")
LASTLOG = Path("/var/log/lastlog")

_USER_PROCESS, _DEAD_PROCESS = 7, 8
_UTMP = struct.Struct("=h2xi32s4s32s256shhiii16s20x")
_LASTLOG = struct.Struct("=i32s256s")


class Files(NamedTuple):
    """Where the records are."""

    utmp: Path = UTMP
    wtmp: Path = WTMP
    lastlog: Path = LASTLOG


class Login(NamedTuple):
    """One login on a terminal."""

    pid: int
    line: str
    """The terminal without ``/dev/``."""

    user: str
    uid: int
    host: str


def last_login(files: Files, uid: int) -> tuple[float, str] | None:
    """When and from where the account logged in last, if that is known."""
    with suppress(OSError), files.lastlog.open("rb") as file:
        file.seek(uid * _LASTLOG.size)
        entry = file.read(_LASTLOG.size)
        if len(entry) == _LASTLOG.size:
            when, _, host = _LASTLOG.unpack(entry)
            return (when, os.fsdecode(host.rstrip(b"\0"))) if when else None
    return None


def login(files: Files, who: Login) -> None:
    """Somebody is there."""
    now = time.time()
    entry = _entry(_USER_PROCESS, who, now)
    _update_utmp(files.utmp, who.line, entry)
    _append(files.wtmp, entry)
    with suppress(OSError):
        fd = os.open(files.lastlog, os.O_WRONLY)
        try:
            packed = _LASTLOG.pack(int(now), os.fsencode(who.line), os.fsencode(who.host))
            os.pwrite(fd, packed, who.uid * _LASTLOG.size)
        finally:
            os.close(fd)


def logout(files: Files, who: Login) -> None:
    """They are gone."""
    entry = _entry(_DEAD_PROCESS, who._replace(user="", host=""), time.time())
    _update_utmp(files.utmp, who.line, entry)
    _append(files.wtmp, entry)


def last_login_line(found: tuple[float, str] | None) -> str:
    """The line in front of the message of the day, as ``sshd`` writes it."""
    if found is None:
        return ""
    when, host = found
    place = f" from {host}" if host else ""
    return f"Last login: {time.strftime('%a %b %e %H:%M:%S %Y', time.localtime(when))}{place}\n"


def _entry(kind: int, who: Login, now: float) -> bytes:
    seconds, fraction = divmod(now, 1)
    return _UTMP.pack(
        kind,
        who.pid,
        os.fsencode(who.line),
        os.fsencode(who.line[-4:]),
        os.fsencode(who.user),
        os.fsencode(who.host),
        0,
        0,
        who.pid if kind == _USER_PROCESS else 0,
        int(seconds),
        int(fraction * 1e6),
        _packed_address(who.host),
    )


def _packed_address(host: str) -> bytes:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            return socket.inet_pton(family, host)
    return b""


def _update_utmp(path: Path, line: str, entry: bytes) -> None:
    """Replaces the entry of a terminal, or adds one."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR)
        try:
            lockf(fd, LOCK_EX)
            os.pwrite(fd, entry, _place(fd, line))
        finally:
            os.close(fd)


def _place(fd: int, line: str) -> int:
    wanted = os.fsencode(line)
    at = 0
    while len(held := os.pread(fd, _UTMP.size, at)) == _UTMP.size:
        if _UTMP.unpack(held)[2].rstrip(b"\0") == wanted:
            break
        at += _UTMP.size
    return at


def _append(path: Path, entry: bytes) -> None:
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            lockf(fd, LOCK_EX)
            os.write(fd, entry)
        finally:
            os.close(fd)
