"""What is done to a new terminal: its modes (RFC 4254, section 8) and its owner.

Imports next to nothing, as the small process that starts sessions needs it.
"""

from __future__ import annotations

import grp
import os
import stat
import termios
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

MAX_MODES_BYTES = 1024
"""Longest string of encoded modes: every opcode there is takes 795 bytes."""

_OP_END = 0
_OP_FIRST_UNDEFINED = 160
_OP_OUTPUT_SPEED = 129
"""The input speed (128) is the same one to Linux."""

_DISABLED_ON_THE_WIRE = 255

# Places in the list that tcgetattr answers.
_INPUT, _OUTPUT, _, _LOCAL, _INPUT_SPEED, _OUTPUT_SPEED, _CHARACTERS = range(7)

_IUTF8 = 0o40000
"""Not in Python's :mod:`termios`; RFC 8160 gives it opcode 42."""

_CHARACTER: Mapping[int, int] = MappingProxyType({
    1: termios.VINTR, 2: termios.VQUIT, 3: termios.VERASE, 4: termios.VKILL, 5: termios.VEOF, 6: termios.VEOL,
    7: termios.VEOL2, 8: termios.VSTART, 9: termios.VSTOP, 10: termios.VSUSP, 12: termios.VREPRINT,
    13: termios.VWERASE, 14: termios.VLNEXT, 16: termios.VSWTC, 18: termios.VDISCARD,
})  # fmt: skip

# Opcodes 90 to 93, character size and parity, are missing: a Linux pseudo-terminal always has 8 bits and no parity, and
# the C library calls it an error when it keeps them.
_FLAG: Mapping[int, tuple[int, int]] = MappingProxyType({
    30: (_INPUT, termios.IGNPAR), 31: (_INPUT, termios.PARMRK), 32: (_INPUT, termios.INPCK),
    33: (_INPUT, termios.ISTRIP), 34: (_INPUT, termios.INLCR), 35: (_INPUT, termios.IGNCR),
    36: (_INPUT, termios.ICRNL), 37: (_INPUT, termios.IUCLC), 38: (_INPUT, termios.IXON),
    39: (_INPUT, termios.IXANY), 40: (_INPUT, termios.IXOFF), 41: (_INPUT, termios.IMAXBEL),
    42: (_INPUT, _IUTF8),
    50: (_LOCAL, termios.ISIG), 51: (_LOCAL, termios.ICANON), 52: (_LOCAL, termios.XCASE),
    53: (_LOCAL, termios.ECHO), 54: (_LOCAL, termios.ECHOE), 55: (_LOCAL, termios.ECHOK),
    56: (_LOCAL, termios.ECHONL), 57: (_LOCAL, termios.NOFLSH), 58: (_LOCAL, termios.TOSTOP),
    59: (_LOCAL, termios.IEXTEN), 60: (_LOCAL, termios.ECHOCTL), 61: (_LOCAL, termios.ECHOKE),
    62: (_LOCAL, termios.PENDIN),
    70: (_OUTPUT, termios.OPOST), 71: (_OUTPUT, termios.OLCUC), 72: (_OUTPUT, termios.ONLCR),
    73: (_OUTPUT, termios.OCRNL), 74: (_OUTPUT, termios.ONOCR), 75: (_OUTPUT, termios.ONLRET),
})  # fmt: skip

_SPEED: Mapping[int, int] = MappingProxyType({
    speed: getattr(termios, f"B{speed}")
    for speed in (50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600,
                  19200, 38400, 57600, 115200, 230400)
})  # fmt: skip


def decode(encoded: bytes) -> dict[int, int]:
    """Opcodes and their arguments; the last of a repeated opcode counts.

    Stops at ``TTY_OP_END``, at the end of the string (clients leave the terminator out) and at the first of the opcodes
    160 to 255, whose arguments have no known length.

    :raises ValueError: longer than :data:`MAX_MODES_BYTES`, or cut in the middle of an argument.
    """
    if len(encoded) > MAX_MODES_BYTES:
        raise ValueError(f"The terminal modes take {len(encoded)} bytes; {MAX_MODES_BYTES} is the limit.")
    modes: dict[int, int] = {}
    for at in range(0, len(encoded), 5):
        opcode = encoded[at]
        if opcode == _OP_END or opcode >= _OP_FIRST_UNDEFINED:
            break
        argument = encoded[at + 1 : at + 5]
        if len(argument) < 4:
            raise ValueError("The terminal modes end in the middle of an argument.")
        modes[opcode] = int.from_bytes(argument, "big")
    return modes


def apply_modes(fd: int, modes: Mapping[int, int]) -> None:
    """Set what Linux has of ``modes`` on the terminal ``fd``; the rest is ignored, as RFC 4254 section 8 allows."""
    attributes = termios.tcgetattr(fd)
    for opcode, argument in modes.items():
        if opcode in _FLAG:
            place, bit = _FLAG[opcode]
            attributes[place] = attributes[place] | bit if argument else attributes[place] & ~bit
        elif opcode in _CHARACTER and argument <= 0xFF:
            attributes[_CHARACTERS][_CHARACTER[opcode]] = _character(argument)
        elif opcode == _OP_OUTPUT_SPEED and argument in _SPEED:
            attributes[_INPUT_SPEED] = attributes[_OUTPUT_SPEED] = _SPEED[argument]
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _character(argument: int) -> bytes:
    """255 means "no such character" on the wire; Linux says that with a zero byte (``_POSIX_VDISABLE``)."""
    return bytes([0 if argument == _DISABLED_ON_THE_WIRE else argument])


def give_to(slave: int, uid: int, gid: int) -> None:
    """Owner, group and mode that ``write(1)`` and ``mesg(1)`` count on."""
    group, mode = gid, stat.S_IRUSR | stat.S_IWUSR
    with suppress(KeyError):
        group, mode = grp.getgrnam("tty").gr_gid, mode | stat.S_IWGRP
    os.fchown(slave, uid, group)
    os.fchmod(slave, mode)
