"""The programs at the tracepoints that start programs; see :mod:`.programs`.

What is asked for is told when the call begins: its memory is gone when it has worked. Whether it has is told later.
"""

from __future__ import annotations

from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.assembler import (
    ABOVE,
    ADD,
    AND,
    BYTE,
    DOUBLE,
    EQUAL,
    FRAME,
    LESS,
    MOVE,
    NOT_EQUAL,
    OR,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    SHIFT_LEFT,
    SHIFT_RIGHT,
    WORD,
)
from teleport_conch.ssh.tracing.routine import (
    KEPT,
    KEY,
    OTHER_KEY,
    POINTER,
    READ_KERNEL_TEXT,
    READ_USER,
    READ_USER_TEXT,
    THIS_TASK,
    Maps,
    Routine,
    lost,
)
from teleport_conch.ssh.tracing.tracepoints import Tracepoint

_DATA_AT = 0xFFFF
"""The part of a ``__data_loc`` that says where the data are; the other half is their length."""


def starting(maps: Maps, at: Tracepoint) -> Routine:
    """A program is to be started: what is asked for is told, and how it ends follows."""
    it = Routine(maps)
    it.this_task()
    it.find_thread()
    it.find_session()
    it.check_wanted(layout.COMMAND)
    _copy_parent(it, maps)
    it.store_number(WORD, R8, layout.ASKED, layout.UNTOLD)
    it.count(layout.COMMAND)
    it.begin_record(layout.STARTING)
    it.store(DOUBLE, FRAME, KEPT, R8)
    it.load(DOUBLE, R3, R6, at.field("filename").offset)
    it.load(DOUBLE, R8, R6, at.field("argv").offset)
    it.read_path(READ_USER_TEXT)
    _read_arguments(it)
    it.label("complete")
    it.put_out(layout.COMMAND)
    it.jump_if(R0, NOT_EQUAL, 0, "lost")
    it.load(DOUBLE, R8, FRAME, KEPT)
    it.store_number(WORD, R8, layout.ASKED, layout.TOLD)
    it.end(lost(layout.COMMAND))
    it.no_path(layout.UNREAD)
    _mark_unread(it)
    return it


def _copy_parent(it: Routine, maps: Maps) -> None:
    """A thread beside the first takes over who started the process, as it will be the first when its program runs."""
    it.combine(MOVE, R1, R7)
    it.calculate(SHIFT_RIGHT, R1, 32)
    it.store(WORD, FRAME, OTHER_KEY, R1)
    it.load(WORD, R2, FRAME, KEY)
    it.jump_if_register(R1, EQUAL, R2, "parent known")
    it.look_up(maps.threads, OTHER_KEY)
    it.jump_if(R0, EQUAL, 0, "parent known")
    it.load(WORD, R1, R0, layout.STARTED_BY)
    it.store(WORD, R8, layout.STARTED_BY, R1)
    it.label("parent known")


def _read_arguments(it: Routine) -> None:
    """R8 goes from pointer to pointer, R6 is where the next text goes."""
    for number in range(layout.MAX_ARGUMENTS):
        _next_argument(it)
        it.combine(MOVE, R1, R7)
        it.combine(ADD, R1, R6)
        it.calculate(MOVE, R2, layout.MAX_ARGUMENT_BYTES)
        it.call(READ_USER_TEXT)
        it.jump_if(R0, ABOVE, layout.MAX_ARGUMENT_BYTES, f"unread {number}")
        it.label(f"argument {number}")
        it.combine(ADD, R6, R0)
        it.store_number(WORD, R7, layout.AFTER_HEAD + 4, number + 1)
        it.calculate(ADD, R8, 8)
    _next_argument(it)
    it.mark(layout.MORE)


def _next_argument(it: Routine) -> None:
    """R3 is the next pointer; it goes on at ``complete`` behind the last."""
    it.stack_pointer(R1, POINTER)
    it.calculate(MOVE, R2, 8)
    it.combine(MOVE, R3, R8)
    it.call(READ_USER)
    it.jump_if(R0, NOT_EQUAL, 0, "no pointer")
    it.load(DOUBLE, R3, FRAME, POINTER)
    it.jump_if(R3, EQUAL, 0, "complete")


def _mark_unread(it: Routine) -> None:
    """Stands behind the end: an argument that is not in memory at this moment is empty, and marked."""
    for number in range(layout.MAX_ARGUMENTS):
        it.label(f"unread {number}")
        it.mark(layout.UNREAD)
        it.combine(MOVE, R1, R7)
        it.combine(ADD, R1, R6)
        it.store_number(BYTE, R1, 0, 0)
        it.calculate(MOVE, R0, 1)
        it.jump(f"argument {number}")
    it.label("no pointer")
    it.mark(layout.UNREAD)
    it.jump("complete")


def not_started(maps: Maps, at: Tracepoint) -> Routine:
    """The call came back with an error, so that the program was not started."""
    it = Routine(maps)
    it.load(DOUBLE, R1, R6, at.field("ret").offset)
    it.jump_if(R1, LESS, 0, "refused")
    it.jump("out")
    it.label("refused")
    it.this_task()
    it.find_thread()
    it.load(WORD, R7, R8, layout.ASKED)
    it.store_number(WORD, R8, layout.ASKED, layout.NOTHING)
    it.jump_if(R7, NOT_EQUAL, layout.TOLD, "out")
    it.find_session()
    it.begin_record(layout.NOT_STARTED)
    it.set_result(at.field("ret").offset)
    it.calculate(MOVE, R6, layout.AFTER_HEAD)
    it.put_out(layout.COMMAND)
    it.end(lost(layout.COMMAND))
    return it


def has_started(maps: Maps, at: Tracepoint) -> Routine:
    """A program runs, under the number of the process; the thread that called may have had another."""
    it = Routine(maps)
    it.load(WORD, R7, R6, at.field("old_pid").offset)
    it.store(WORD, FRAME, KEY, R7)
    it.find_thread()
    it.load(WORD, R1, R6, at.field("pid").offset)
    it.store(WORD, FRAME, OTHER_KEY, R1)
    it.combine(MOVE, R2, R1)
    it.calculate(SHIFT_LEFT, R2, 32)
    it.combine(OR, R2, R7)
    it.store(DOUBLE, FRAME, THIS_TASK, R2)
    it.jump_if_register(R1, EQUAL, R7, "same number")
    it.put_thread(OTHER_KEY, R8)
    it.combine(MOVE, R7, R0)
    it.forget_thread(KEY)
    it.jump_if(R7, NOT_EQUAL, 0, "out")
    it.look_up(maps.threads, OTHER_KEY)
    it.jump_if(R0, EQUAL, 0, "out")
    it.combine(MOVE, R8, R0)
    it.label("same number")
    it.load(WORD, R7, R8, layout.ASKED)
    it.store_number(WORD, R8, layout.ASKED, layout.NOTHING)
    it.jump_if(R7, EQUAL, layout.UNTOLD, "out")
    it.find_session()
    it.check_wanted(layout.COMMAND)
    it.jump_if(R7, EQUAL, layout.TOLD, "counted")
    it.count(layout.COMMAND)
    it.label("counted")
    it.begin_record(layout.HAS_STARTED)
    it.load(WORD, R1, R6, at.field("filename").offset)
    it.calculate(AND, R1, _DATA_AT)
    it.combine(MOVE, R3, R6)
    it.combine(ADD, R3, R1)
    it.read_path(READ_KERNEL_TEXT)
    it.put_out(layout.COMMAND)
    it.end(lost(layout.COMMAND))
    it.no_path()
    return it
