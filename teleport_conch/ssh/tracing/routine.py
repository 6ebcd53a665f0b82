"""The pieces that programs in the kernel are made of.

Throughout a program R6 is what the kernel gave it, R8 the entry of the thread, R9 that of its session, and R7 the
record that is put together. Every program answers 0: it only looks on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.assembler import (
    ABOVE,
    ADD,
    BELOW,
    BITS,
    BYTE,
    DOUBLE,
    EQUAL,
    FRAME,
    MOVE,
    NOT_EQUAL,
    OR,
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    SHIFT_RIGHT,
    SUBTRACT,
    WORD,
    Assembler,
)

LOOK_UP, UPDATE, DELETE = 1, 2, 3
CLOCK, TASK, NAME, CGROUP = 5, 14, 16, 80
READ_USER, READ_USER_TEXT, READ_KERNEL_TEXT = 112, 114, 115
OUTPUT = 130
"""Functions of the kernel (``linux/bpf.h``)."""

_COARSE_BITS = 20
"""Times are compared in units of about a millisecond, since a number in an instruction has 32 bits."""

# The stack, by distance from its end.
KEY, OTHER_KEY, THIS_TASK, KEPT, POINTER, VALUE = -4, -8, -16, -24, -32, -64


class Maps(NamedTuple):
    """Descriptors of the maps (see :mod:`.layout`), and of the ring of each kind."""

    threads: int
    sessions: int
    scratch: int
    rings: Mapping[int, int]


class Routine(Assembler):
    """A program that begins with its context in R6. Labels: ``out`` is the end, ``lost`` counts and ends."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self._maps = maps
        self.combine(MOVE, R6, R1)

    def look_up(self, of_map: int, key: int) -> None:
        """R0 is the value at the key that is on the stack, or 0."""
        self.load_map(R1, of_map)
        self.stack_pointer(R2, key)
        self.call(LOOK_UP)

    def stack_pointer(self, to: int, offset: int) -> None:
        self.combine(MOVE, to, FRAME)
        self.calculate(ADD, to, offset)

    def this_task(self) -> None:
        """R7 and the stack have this thread (low half) and process (high half), KEY the thread."""
        self.call(TASK)
        self.combine(MOVE, R7, R0)
        self.store(DOUBLE, FRAME, THIS_TASK, R7)
        self.store(WORD, FRAME, KEY, R7)

    def find_thread(self) -> None:
        """R8 is the entry of the thread at KEY; that is all where there is none."""
        self.look_up(self._maps.threads, KEY)
        self.jump_if(R0, EQUAL, 0, "out")
        self.combine(MOVE, R8, R0)

    def find_thread_or_process(self) -> None:
        """The same; a thread that the kernel made for a process counts as the process (workers of io_uring)."""
        self.look_up(self._maps.threads, KEY)
        self.jump_if(R0, NOT_EQUAL, 0, "found")
        self.combine(MOVE, R1, R7)
        self.calculate(SHIFT_RIGHT, R1, 32)
        self.store(WORD, FRAME, KEY, R1)
        self.look_up(self._maps.threads, KEY)
        self.jump_if(R0, EQUAL, 0, "out")
        self.label("found")
        self.combine(MOVE, R8, R0)

    def find_session(self) -> None:
        """R9 is the entry of its session; that is all where there is none any more."""
        self.load(WORD, R1, R8, layout.OF_SESSION)
        self.store(WORD, FRAME, OTHER_KEY, R1)
        self.look_up(self._maps.sessions, OTHER_KEY)
        self.jump_if(R0, EQUAL, 0, "out")
        self.combine(MOVE, R9, R0)

    def check_wanted(self, kind: int) -> None:
        self.load(WORD, R1, R9, layout.WANTED)
        self.jump_if(R1, BITS, kind, "wanted")
        self.jump("out")
        self.label("wanted")

    def count(self, kind: int) -> None:
        """One more in this period; beyond the bound it is lost. Processors that count at once may count one too few."""
        self.call(CLOCK)
        self.load(DOUBLE, R1, R9, layout.BEGAN)
        self.combine(MOVE, R2, R0)
        self.combine(SUBTRACT, R2, R1)
        self.calculate(SHIFT_RIGHT, R2, _COARSE_BITS)
        self.jump_if(R2, BELOW, layout.PERIOD_S * 1_000_000_000 >> _COARSE_BITS, "same period")
        self.store(DOUBLE, R9, layout.BEGAN, R0)
        for each in layout.KINDS:
            self.store_number(DOUBLE, R9, counted(each), 0)
        self.label("same period")
        self.load(DOUBLE, R1, R9, counted(kind))
        self.calculate(ADD, R1, 1)
        self.store(DOUBLE, R9, counted(kind), R1)
        self.jump_if(R1, ABOVE, layout.MAX_PER_PERIOD[kind], "lost")

    def begin_record(self, sort: int) -> None:
        """R7 is a record of this sort, about THIS_TASK, with a result of 0 and no texts."""
        self.store_number(WORD, FRAME, KEY, 0)
        self.look_up(self._maps.scratch, KEY)
        self.jump_if(R0, EQUAL, 0, "lost")
        self.combine(MOVE, R7, R0)
        self.store_number(WORD, R7, layout.SORT, sort)
        self.load(WORD, R1, R8, layout.OF_SESSION)
        self.store(WORD, R7, layout.NUMBER, R1)
        self.load(DOUBLE, R1, FRAME, THIS_TASK)
        self.store(DOUBLE, R7, layout.TASK, R1)
        self.load(WORD, R1, R8, layout.STARTED_BY)
        self.store(WORD, R7, layout.PARENT, R1)
        self.store_number(WORD, R7, layout.RESULT, 0)
        self.store_number(DOUBLE, R7, layout.AFTER_HEAD, 0)
        self.call(CGROUP)
        self.store(DOUBLE, R7, layout.CGROUP, R0)
        self.combine(MOVE, R1, R7)
        self.calculate(ADD, R1, layout.NAME)
        self.calculate(MOVE, R2, layout.NAME_BYTES)
        self.call(NAME)

    def set_result(self, offset: int) -> None:
        """From the context."""
        self.load(DOUBLE, R1, R6, offset)
        self.store(WORD, R7, layout.RESULT, R1)

    def read_path(self, function: int) -> None:
        """The text at R3 becomes the first one, and R6, instead of the context, the length of the record."""
        self.combine(MOVE, R1, R7)
        self.calculate(ADD, R1, layout.AFTER_TEXTS)
        self.calculate(MOVE, R2, layout.MAX_PATH_BYTES)
        self.call(function)
        self.jump_if(R0, ABOVE, layout.MAX_PATH_BYTES, "no path")
        self.label("path")
        self.combine(MOVE, R6, R0)
        self.calculate(ADD, R6, layout.AFTER_TEXTS)

    def mark(self, flag: int) -> None:
        """Sets one of the flags before the texts."""
        self.load(WORD, R1, R7, layout.AFTER_HEAD)
        self.calculate(OR, R1, flag)
        self.store(WORD, R7, layout.AFTER_HEAD, R1)

    def no_path(self, flag: int = 0) -> None:
        """Stands behind the end: where :meth:`read_path` could not read it, it is empty, and marked by ``flag``."""
        self.label("no path")
        self.mark(flag)
        self.store_number(BYTE, R7, layout.AFTER_TEXTS, 0)
        self.calculate(MOVE, R0, 1)
        self.jump("path")

    def put_out(self, kind: int) -> None:
        """Into the ring, with R6 as the length; R0 is 0 where there was room."""
        self.load_map(R1, self._maps.rings[kind])
        self.combine(MOVE, R2, R7)
        self.combine(MOVE, R3, R6)
        self.calculate(MOVE, R4, 0)
        self.call(OUTPUT)

    def put_thread(self, key: int, value: int) -> None:
        """An entry of a thread, at a key on the stack; R0 is 0 where there was room."""
        self.load_map(R1, self._maps.threads)
        self.stack_pointer(R2, key)
        self.combine(MOVE, R3, value)
        self.calculate(MOVE, R4, 0)
        self.call(UPDATE)

    def forget_thread(self, key: int) -> None:
        self.load_map(R1, self._maps.threads)
        self.stack_pointer(R2, key)
        self.call(DELETE)

    def end(self, lost: int = -1) -> None:
        """Counts at this offset of the session where something was lost; without one, nothing can be."""
        if lost >= 0:
            self.jump_if(R0, EQUAL, 0, "out")
            self.label("lost")
            self.calculate(MOVE, R1, 1)
            self.add_atomically(R9, lost, R1)
        self.label("out")
        self.calculate(MOVE, R0, 0)
        self.leave()


def counted(kind: int) -> int:
    """Where a session's records of a kind are counted."""
    return layout.COUNTED + 8 * layout.KINDS.index(kind)


def lost(kind: int) -> int:
    """Where those are counted that were lost."""
    return layout.LOST + 8 * layout.KINDS.index(kind)
