"""What the programs in the kernel wrote down, as values. Pure, and meant for the process that may be wrong: a worker.

Texts are whatever programs put there; bytes that are no UTF-8 become lone surrogates, as with :func:`os.fsdecode`.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from teleport_conch.ssh.tracing import layout
from teleport_conch.wire import WireError

MAX_STARTING = 1024
"""Threads of a session that are starting programs at one time; beyond them the oldest is forgotten."""

_INET, _INET6 = 2, 10


class Head(NamedTuple):
    """What every record begins with."""

    sort: int
    session: int
    thread: int
    pid: int
    ppid: int
    result: int
    cgroup_id: int
    program: str


class Command(NamedTuple):
    """A program that was started, or was to be.

    :ivar ppid: the process that started this one, which need not be its parent any more.
    :ivar program: what the kernel calls the process: at most 15 characters.
    :ivar argv: None where the arguments were not seen (a program of 32 bits).
    :ivar return_code: 0, or minus the error number of the call.
    :ivar more: there were more arguments than are kept.
    :ivar unread: one of them, or the path of what did not start, could not be read, and is empty here.
    """

    pid: int
    ppid: int
    cgroup_id: int
    program: str
    path: str
    argv: tuple[str, ...] | None
    return_code: int
    more: bool = False
    unread: bool = False


class Opened(NamedTuple):
    """A file that was opened, or was to be.

    :ivar path: as the program gave it; a relative one begins where the program was.
    :ivar flags: of ``open(2)``.
    :ivar return_code: the descriptor, or minus the error number.
    """

    pid: int
    cgroup_id: int
    program: str
    path: str
    flags: int
    return_code: int


class Connected(NamedTuple):
    """A connection of TCP that was begun; nothing says that it came about.

    :ivar version: of the Internet Protocol, 4 or 6.
    """

    pid: int
    cgroup_id: int
    program: str
    src_addr: str
    dst_addr: str
    dst_port: int
    version: int


class Starting(NamedTuple):
    """What is known of a program that is to be started."""

    path: str
    argv: tuple[str, ...]
    more: bool
    unread: bool


def read_head(record: bytes) -> Head:
    """:raises WireError: it is too short."""
    if len(record) < layout.AFTER_HEAD:
        raise WireError(f"a record of {len(record)} bytes")
    sort, number, thread, process, parent, result, cgroup, name = layout.HEAD.unpack_from(record)
    signed = result - (1 << 32) if result >= 1 << 31 else result
    return Head(sort, number, thread, process, parent, signed, cgroup, _text(name.split(b"\0")[0]))


def read_opened(head: Head, record: bytes) -> Opened:
    """:raises WireError: it is no record of an opened file."""
    flags, _, path, _ = _texts(record)
    return Opened(head.pid, head.cgroup_id, head.program, path, flags, head.result)


def read_connected(head: Head, record: bytes) -> Connected:
    """An address of IPv4 that a socket of IPv6 writes as its own counts as what it is.

    :raises WireError: it is no record of a connection.
    """
    try:
        family, port, _, *addresses = layout.SOCKET.unpack(record[layout.AFTER_HEAD :])
    except struct.error:
        raise WireError("a record of a connection that is cut") from None
    ours, theirs = map(IPv4Address, addresses[:2])
    ours_6, theirs_6 = map(IPv6Address, addresses[2:])
    is_4 = family == _INET or theirs_6.ipv4_mapped is not None
    if family not in (_INET, _INET6):
        raise WireError(f"a record of the address family {family}")
    pair = (str(ours), str(theirs)) if is_4 else (str(ours_6), str(theirs_6))
    return Connected(head.pid, head.cgroup_id, head.program, *pair, port, 4 if is_4 else 6)


class Commands:
    """Joins what is known when a program is asked for, and what is known when it runs or does not."""

    def __init__(self) -> None:
        self._starting: dict[int, Starting] = {}

    def read(self, head: Head, record: bytes) -> Command | None:
        """A command that is complete with this record.

        :raises WireError: it is no record of a command.
        """
        if head.sort == layout.STARTING:
            self._keep(head, record)
            return None
        asked = self._starting.pop(head.thread, None)
        if head.sort == layout.NOT_STARTED:
            if asked is None:
                raise WireError("a program that nobody asked for did not start")
            return _command(head, asked.path, asked)
        if head.sort != layout.HAS_STARTED:
            raise WireError(f"a record of the unknown sort {head.sort}")
        _, _, path, _ = _texts(record)
        return _command(head, path, asked)

    def _keep(self, head: Head, record: bytes) -> None:
        flags, count, path, rest = _texts(record)
        argv = tuple(map(_text, rest.split(b"\0")[:count]))
        self._starting.pop(head.thread, None)
        if len(self._starting) >= MAX_STARTING:
            del self._starting[next(iter(self._starting))]
        asked = Starting(path, argv, bool(flags & layout.MORE), bool(flags & layout.UNREAD))
        self._starting[head.thread] = asked


def _command(head: Head, path: str, asked: Starting | None) -> Command:
    whose = (head.pid, head.ppid, head.cgroup_id, head.program)
    if asked is None:
        return Command(*whose, path, None, head.result)
    return Command(*whose, path, asked.argv, head.result, asked.more, asked.unread)


def _texts(record: bytes) -> tuple[int, int, str, bytes]:
    """Flags, number of arguments, the first text, and the bytes of those behind it."""
    if len(record) < layout.AFTER_TEXTS:
        raise WireError("a record without its text")
    flags, count = layout.TEXTS.unpack_from(record, layout.AFTER_HEAD)
    path, _, rest = record[layout.AFTER_TEXTS :].partition(b"\0")
    return flags, count, _text(path), rest


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
