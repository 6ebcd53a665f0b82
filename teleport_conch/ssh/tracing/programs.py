"""The programs that run in the kernel, at its tracepoints.

Each first asks whether the thread that it runs in belongs to a session, and what is wanted of that one; for everybody
else that is all. Texts are put together in scratch memory of the processor, and go into a ring that the service reads.
What finds no room, or comes too fast, is counted in the session.

The kernel gives the functions that read memory to programs under the GPL only: what this file, :mod:`.commands` and
:mod:`.routine` make may be used under version 2 of that licence as well as under that of this project.
"""

from __future__ import annotations

from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.assembler import (
    ADD,
    BYTE,
    DOUBLE,
    EQUAL,
    FRAME,
    HALF,
    MOVE,
    NOT_EQUAL,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    SHIFT_RIGHT,
    WORD,
)
from teleport_conch.ssh.tracing.routine import (
    KEPT,
    KEY,
    READ_USER,
    READ_USER_TEXT,
    VALUE,
    Maps,
    Routine,
    lost,
)
from teleport_conch.ssh.tracing.tracepoints import Field, Tracepoint

_SYN_SENT, _TCP = 2, 6
_CREAT_FLAGS = 0o1101
"""O_CREAT, O_WRONLY and O_TRUNC, which creat(2) stands for."""


def fork(maps: Maps, at: Tracepoint) -> Routine:
    """A thread belongs to the session of the one that starts it, before it runs for the first time."""
    it = Routine(maps)
    it.this_task()
    it.find_thread()
    it.find_session()
    it.load(WORD, R1, R8, layout.OF_SESSION)
    it.store(WORD, FRAME, VALUE + layout.OF_SESSION, R1)
    it.calculate(SHIFT_RIGHT, R7, 32)
    it.store(WORD, FRAME, VALUE + layout.STARTED_BY, R7)
    for offset in (layout.PATH_AT, layout.FLAGS, layout.ASKED):
        it.store_number(DOUBLE, FRAME, VALUE + offset, 0)
    it.load(WORD, R1, R6, at.field("child_pid").offset)
    it.store(WORD, FRAME, KEY, R1)
    it.stack_pointer(R3, VALUE)
    it.put_thread(KEY, R3)
    it.end(layout.LOST_THREADS)
    return it


def gone(maps: Maps, at: Tracepoint) -> Routine:
    """A thread ends, and its number may be another's."""
    it = Routine(maps)
    it.this_task()
    it.find_thread()
    it.forget_thread(KEY)
    it.end()
    return it


def opening(maps: Maps, at: Tracepoint) -> Routine:
    """A file is to be opened: its name is read when the call comes back, as it is certainly in memory then."""
    it = Routine(maps)
    it.this_task()
    it.find_thread()
    it.load(DOUBLE, R1, R6, _any_field(at, "filename", "pathname").offset)
    it.store(DOUBLE, R8, layout.PATH_AT, R1)
    flags = at.fields.get("how") or at.fields.get("flags")
    if flags is None:
        it.calculate(MOVE, R1, _CREAT_FLAGS)
    else:
        it.load(DOUBLE, R1, R6, flags.offset)
    it.store(DOUBLE, R8, layout.FLAGS, R1)
    it.end()
    return it


def opened(maps: Maps, at: Tracepoint) -> Routine:
    """It was opened, or not."""
    it = Routine(maps)
    it.this_task()
    it.find_thread()
    it.load(DOUBLE, R1, R8, layout.PATH_AT)
    it.jump_if(R1, EQUAL, 0, "out")
    it.store(DOUBLE, FRAME, KEPT, R1)
    it.store_number(DOUBLE, R8, layout.PATH_AT, 0)
    it.find_session()
    it.check_wanted(layout.DISK)
    it.count(layout.DISK)
    it.begin_record(layout.OPENED)
    it.set_result(at.field("ret").offset)
    if at.name.endswith("openat2"):
        it.combine(MOVE, R1, R7)
        it.calculate(ADD, R1, layout.AFTER_HEAD)
        it.calculate(MOVE, R2, 4)
        it.load(DOUBLE, R3, R8, layout.FLAGS)
        it.call(READ_USER)
    else:
        it.load(WORD, R1, R8, layout.FLAGS)
        it.store(WORD, R7, layout.AFTER_HEAD, R1)
    it.load(DOUBLE, R3, FRAME, KEPT)
    it.read_path(READ_USER_TEXT)
    it.put_out(layout.DISK)
    it.end(lost(layout.DISK))
    it.no_path()
    return it


def connecting(maps: Maps, at: Tracepoint) -> Routine:
    """A connection of TCP is begun."""
    it = Routine(maps)
    it.load(WORD, R1, R6, at.field("newstate").offset)
    it.jump_if(R1, NOT_EQUAL, _SYN_SENT, "out")
    protocol = at.field("protocol")
    it.load({1: BYTE, 2: HALF}[protocol.size], R1, R6, protocol.offset)
    it.jump_if(R1, NOT_EQUAL, _TCP, "out")
    it.this_task()
    it.find_thread_or_process()
    it.find_session()
    it.check_wanted(layout.NETWORK)
    it.count(layout.NETWORK)
    it.begin_record(layout.CONNECTED)
    at_byte = layout.AFTER_HEAD
    for name, size in (("family", 2), ("dport", 2)):
        it.load(HALF, R1, R6, at.field(name).offset)
        it.store(HALF, R7, at_byte, R1)
        at_byte += size
    at_byte += 4
    for name, size in (("saddr", 4), ("daddr", 4), ("saddr_v6", 16), ("daddr_v6", 16)):
        for word in range(0, size, 4):
            it.load(WORD, R1, R6, at.field(name).offset + word)
            it.store(WORD, R7, at_byte, R1)
            at_byte += 4
    it.calculate(MOVE, R6, at_byte)
    it.put_out(layout.NETWORK)
    it.end(lost(layout.NETWORK))
    return it


def _any_field(at: Tracepoint, *names: str) -> Field:
    return next((at.fields[name] for name in names if name in at.fields), None) or at.field(names[0])
