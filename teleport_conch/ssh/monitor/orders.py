"""What the processes of a server say to each other: the kinds of frames, and what is in them.

Everything that is text on this host (names, commands, variables) is bytes that :func:`os.fsencode` makes, so that a
program gets exactly what was sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from teleport_conch import wire
from teleport_conch.ssh.tracing import layout
from teleport_conch.wire import Reader, WireError

# From a server to the monitor.
HOLD = 1
SIGN = 2
TRUST = 3
LOGIN = 4
LEAVE = 5
PUBLIC = 10
PROVE = 11
# From a server to the monitor, and on to the starter once it has been verified.
START = 6
SIGNAL = 7
CHECK = 8
BROKER = 9
# Answers.
DONE = 20
REFUSED = 21
EXITED = 22
# What the kernel has recorded of a session, as often as there is something.
TRACED = 23

MAX_VARIABLES = 512

NO_RC, HOST_RC, ANY_RC = range(3)
"""What runs before a program: nothing, the host's ``/etc/ssh/sshrc``, or ``~/.ssh/rc`` where the account has one."""


class Account(NamedTuple):
    """An account of this host, as ``passwd(5)`` has it."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class Terminal(NamedTuple):
    """The terminal that a session wants (RFC 4254, section 6.2)."""

    term: str
    cols: int
    rows: int
    xpixel: int
    ypixel: int
    modes: bytes


class Program(NamedTuple):
    """What a session runs, as the server asks for it.

    :ivar command: for the account's shell; None for the shell itself, as a login shell.
    :ivar rc: what runs before it; the account's own file only where the certificate permits that, too.
    :ivar traced: which kinds of :mod:`teleport_conch.ssh.tracing.layout` are recorded, as a mask.
    """

    command: str | None
    environment: Mapping[str, str]
    terminal: Terminal | None = None
    rc: int = ANY_RC
    traced: int = 0


class Order(NamedTuple):
    """A session to be started, as the monitor passes it on.

    :ivar client_host: the address of the client, for the records of logins and for PAM.
    :ivar admission: the number of the CHECK by which the host let the person in; 0 for none.
    """

    account: Account
    program: Program
    client_host: str
    admission: int = 0


class Settings(NamedTuple):
    """How sessions are made on this host.

    :ivar pam_service: the name of PAM's service; empty for no PAM.
    :ivar login_records: whether logins on terminals are written to utmp, wtmp and lastlog.
    :ivar greeting: whether shells begin with the last login and, without PAM, the message of the day.
    :ivar tracing: pages of the rings for what is recorded of sessions, in the order of
        :class:`teleport_conch.ssh.tracing.tracer.Sizes`; empty where nothing is.
    """

    pam_service: str = ""
    login_records: bool = True
    greeting: bool = True
    tracing: Sequence[int] = ()


def text(value: str) -> bytes:
    """Raises WireError for a NUL byte, at which the other side would end the conversation, and the program its text."""
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise WireError("a text with a NUL byte")
    return wire.string(encoded)


def read_text(reader: Reader) -> str:
    value = reader.string()
    if b"\0" in value:
        raise WireError("a text with a NUL byte")
    return os.fsdecode(value)


def pack_account(account: Account) -> bytes:
    name, uid, gid, home, shell = account
    return b"".join((text(name), wire.uint32(uid), wire.uint32(gid), text(home), text(shell)))


def read_account(reader: Reader) -> Account:
    return Account(read_text(reader), reader.uint32(), reader.uint32(), read_text(reader), read_text(reader))


def pack_program(program: Program) -> bytes:
    command = wire.boolean(program.command is not None) + text(program.command or "")
    variables = [wire.uint32(len(program.environment))]
    variables += (text(name) + text(value) for name, value in program.environment.items())
    fixed = wire.byte(program.rc) + wire.byte(program.traced)
    return command + fixed + b"".join(variables) + _pack_terminal(program.terminal)


def read_program(reader: Reader) -> Program:
    given, command, rc, traced = reader.boolean(), read_text(reader), reader.byte(), reader.byte()
    if rc > ANY_RC:
        raise WireError(f"there is no rc {rc}")
    if traced & ~sum(layout.KINDS):
        raise WireError(f"there are no kinds {traced} to be recorded")
    count = reader.uint32()
    if count > MAX_VARIABLES:
        raise WireError(f"{count} variables, where {MAX_VARIABLES} is the limit")
    environment = {read_text(reader): read_text(reader) for _ in range(count)}
    return Program(command if given else None, environment, _read_terminal(reader), rc, traced)


def _pack_terminal(terminal: Terminal | None) -> bytes:
    if terminal is None:
        return wire.boolean(False)
    term, cols, rows, xpixel, ypixel, modes = terminal
    sizes = b"".join(map(wire.uint32, (cols, rows, xpixel, ypixel)))
    return wire.boolean(True) + text(term) + sizes + wire.string(modes)


def _read_terminal(reader: Reader) -> Terminal | None:
    if not reader.boolean():
        return None
    term = read_text(reader)
    return Terminal(term, reader.uint32(), reader.uint32(), reader.uint32(), reader.uint32(), reader.string())


def pack_order(order: Order) -> bytes:
    who = pack_account(order.account) + text(order.client_host) + wire.uint32(order.admission)
    return who + pack_program(order.program)


def read_order(body: bytes) -> Order:
    reader = Reader(body)
    account, client_host, admission = read_account(reader), read_text(reader), reader.uint32()
    program = read_program(reader)
    reader.end()
    return Order(account, program, client_host, admission)


def pack_blobs(blobs: Iterable[bytes]) -> bytes:
    held = list(blobs)
    return wire.uint32(len(held)) + b"".join(map(wire.string, held))


def read_blobs(reader: Reader, limit: int) -> tuple[bytes, ...]:
    count = reader.uint32()
    if count > limit:
        raise WireError(f"{count} keys, where {limit} is the limit")
    return tuple(reader.string() for _ in range(count))


def pack_refusal(code: str, sentence: str) -> bytes:
    """A refusal; the code is that of one of the classes in :mod:`teleport_conch.errors`."""
    return text(code) + text(sentence[:4096].replace("\0", " "))


def read_refusal(body: bytes) -> tuple[str, str]:
    reader = Reader(body)
    code, sentence = read_text(reader), read_text(reader)
    reader.end()
    return code, sentence
