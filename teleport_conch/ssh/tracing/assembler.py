"""Instructions of the kernel's BPF machine, written one below the other, with labels to jump to.

Source: ``Documentation/bpf/standardization/instruction-set.rst`` of the kernel (RFC 9669). Each instruction is eight
bytes: opcode, two registers of four bits, a signed offset of 16 bits, a signed number of 32 bits.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FRAME = range(11)
"""Registers. A call answers in R0 and loses R1 to R5; FRAME is the end of 512 bytes of stack."""

BYTE, HALF, WORD, DOUBLE = 0x10, 0x08, 0x00, 0x18
"""Sizes of what is loaded and stored: 1, 2, 4 and 8 bytes."""

EQUAL, NOT_EQUAL, ABOVE, BELOW, LESS, BITS = 0x10, 0x50, 0x20, 0xA0, 0xC0, 0x40
"""Comparisons: ABOVE and BELOW without a sign, LESS with one, BITS where both have a bit in common."""

ADD, SUBTRACT, OR, AND, SHIFT_LEFT, SHIFT_RIGHT, MOVE = 0x00, 0x10, 0x40, 0x50, 0x60, 0x70, 0xB0

_LOAD, _STORE, _STORE_NUMBER, _ATOMIC = 0x61, 0x63, 0x62, 0xC3
_ALU, _JUMP, _OF_REGISTER = 0x07, 0x05, 0x08
_CALL, _EXIT, _LOAD_64 = 0x85, 0x95, 0x18
_MAP = 1
_INSTRUCTION = struct.Struct("<BBhi")


class _Jump(NamedTuple):
    at: int
    label: str


class Assembler:
    """Collects instructions; :meth:`assembled` answers them."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._jumps: list[_Jump] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """What comes next is where jumps to ``name`` lead."""
        if name in self._labels:
            raise ValueError(f"the label {name} is there already")
        self._labels[name] = len(self._code)

    def calculate(self, operation: int, to: int, number: int) -> None:
        """``to = to operation number``; of MOVE, ``to = number``."""
        self._add(_ALU | operation, to, 0, 0, number)

    def combine(self, operation: int, to: int, register: int) -> None:
        """The same with a register."""
        self._add(_ALU | operation | _OF_REGISTER, to, register, 0, 0)

    def load(self, size: int, to: int, pointer: int, offset: int) -> None:
        self._add(_LOAD | size, to, pointer, offset, 0)

    def store(self, size: int, pointer: int, offset: int, register: int) -> None:
        self._add(_STORE | size, pointer, register, offset, 0)

    def store_number(self, size: int, pointer: int, offset: int, number: int) -> None:
        self._add(_STORE_NUMBER | size, pointer, 0, offset, number)

    def add_atomically(self, pointer: int, offset: int, register: int) -> None:
        """Adds eight bytes, whatever other processors do to them at the same time."""
        self._add(_ATOMIC | DOUBLE, pointer, register, offset, 0)

    def load_map(self, to: int, descriptor: int) -> None:
        """A map, by its descriptor in the process that loads the program. Two instructions long."""
        self._add(_LOAD_64, to, _MAP, 0, descriptor)
        self._add(0, 0, 0, 0, 0)

    def call(self, function: int) -> None:
        """One of the kernel's functions for programs, by its number."""
        self._add(_CALL, 0, 0, 0, function)

    def jump(self, label: str) -> None:
        self._jump_to(label)
        self._add(_JUMP, 0, 0, 0, 0)

    def jump_if(self, register: int, comparison: int, number: int, label: str) -> None:
        self._jump_to(label)
        self._add(_JUMP | comparison, register, 0, 0, number)

    def jump_if_register(self, register: int, comparison: int, other: int, label: str) -> None:
        self._jump_to(label)
        self._add(_JUMP | comparison | _OF_REGISTER, register, other, 0, 0)

    def leave(self) -> None:
        """The end, with R0 as the answer."""
        self._add(_EXIT, 0, 0, 0, 0)

    def assembled(self) -> bytes:
        """:raises KeyError: a jump leads to a label that is not there."""
        code = list(self._code)
        for at, label in self._jumps:
            opcode, registers, _, number = code[at]
            code[at] = (opcode, registers, self._labels[label] - at - 1, number)
        return b"".join(_INSTRUCTION.pack(*each) for each in code)

    def _jump_to(self, label: str) -> None:
        self._jumps.append(_Jump(len(self._code), label))

    def _add(self, opcode: int, to: int, source: int, offset: int, number: int) -> None:
        self._code.append((opcode, source << 4 | to, offset, number))
