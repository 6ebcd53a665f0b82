"""The system calls that put programs into the kernel: ``bpf(2)`` and ``perf_event_open(2)``, by their numbers.

Python has neither, and the C library of most hosts lacks both. Sources: the manual pages, and ``linux/bpf.h`` and
``linux/perf_event.h`` of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl

NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}
"""``bpf`` and ``perf_event_open``, by machine."""

HASH, ARRAY_PER_PROCESSOR, RING = 1, 6, 27
_MAP_CREATE, _LOOK_UP, _UPDATE, _DELETE, _LOAD = 0, 1, 2, 3, 5
_OF_TRACEPOINT = 5
_EVENT_TRACEPOINT = 2
_EVENT_BYTES = 112
_SET_PROGRAM, _ENABLE = 0x40042408, 0x2400
_CLOSE_ON_EXEC = 8
_LICENCE = b"GPL\0"
"""The functions that read memory are for programs of this licence only; see :mod:`.programs`."""

_LOG_BYTES = 64 << 10
_ONLINE = "/sys/devices/system/cpu/online"


class Untraceable(Exception):
    """This kernel, or this account, cannot trace; the message is a sentence about the first thing that is missing."""


def check_host() -> None:
    """What can be said before anything is tried. Raises :class:`Untraceable`."""
    if platform.machine() not in NUMBERS:
        known = " and ".join(NUMBERS)
        raise Untraceable(f"Sessions can be traced on {known}, and this is {platform.machine()}.")
    if os.geteuid() != 0:
        raise Untraceable("Sessions can be traced by root only, and this service was started by another account.")
    if _read("/proc/self/ns/pid", link=True) != "pid:[4026531836]":
        raise Untraceable("Sessions cannot be traced from a container that numbers its processes for itself.")


def create_map(kind: int, key_bytes: int, value_bytes: int, entries: int, name: str) -> int:
    """A map, as a descriptor that programs of sessions do not inherit. Raises OSError."""
    return _bpf(_MAP_CREATE, struct.pack("<5I2I16s", kind, key_bytes, value_bytes, entries, 0, 0, 0, name.encode()))


def look_up(of_map: int, key: bytes, value_bytes: int) -> bytes | None:
    """The value of a key; None where there is none."""
    found = ctypes.create_string_buffer(value_bytes)
    try:
        _of_element(_LOOK_UP, of_map, key, found)
    except FileNotFoundError:
        return None
    return found.raw


def update(of_map: int, key: bytes, value: bytes) -> None:
    """Puts a value there. Raises OSError, above all where a map is full."""
    _of_element(_UPDATE, of_map, key, ctypes.create_string_buffer(value, len(value)))


def delete(of_map: int, key: bytes) -> None:
    """Takes a key away; nothing where there is none."""
    with suppress(FileNotFoundError):
        _of_element(_DELETE, of_map, key, None)


def load(code: bytes, name: str) -> int:
    """A program for tracepoints, once the kernel has verified it.

    :raises OSError: it has not; the last lines of its reasons are the text.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(_LICENCE)
    asked = struct.pack("<2I2Q", _OF_TRACEPOINT, len(code) // 8, _address(instructions), _address(licence))
    quiet = struct.pack("<2IQ2I16s", 0, 0, 0, 0, 0, name.encode())
    try:
        return _bpf(_LOAD, asked + quiet)
    except OSError as refusal:
        if refusal.errno not in (errno.EACCES, errno.EINVAL):
            raise
        reasons = ctypes.create_string_buffer(_LOG_BYTES)
        loud = struct.pack("<2IQ2I16s", 1, len(reasons), _address(reasons), 0, 0, name.encode())
        with suppress(OSError):
            return _bpf(_LOAD, asked + loud)
        raise OSError(refusal.errno, reasons.value.decode("ascii", "replace")[-2000:] or refusal.strerror) from None


def attach(program: int, tracepoint: int) -> int:
    """Runs a program at each passing of a tracepoint, in every process, until the descriptor is closed. Raises OSError.

    An event belongs to one processor; its program runs on all of them.
    """
    attributes = struct.pack("<2IQQ", _EVENT_TRACEPOINT, _EVENT_BYTES, tracepoint, 1).ljust(_EVENT_BYTES, b"\0")
    held = ctypes.create_string_buffer(attributes, len(attributes))
    number = NUMBERS[platform.machine()][1]
    event = _call(number, ctypes.byref(held), -1, _first_processor(), -1, _CLOSE_ON_EXEC)
    try:
        ioctl(event, _SET_PROGRAM, program)
        ioctl(event, _ENABLE, 0)
    except OSError:
        os.close(event)
        raise
    return event


@contextmanager
def room_for_maps() -> Iterator[None]:
    """Kernels before 5.11 count maps as locked memory; the bound is as before afterwards, for sessions inherit it."""
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


def _of_element(command: int, of_map: int, key: bytes, value: ctypes.Array[ctypes.c_char] | None) -> None:
    held = ctypes.create_string_buffer(key, len(key))
    where = 0 if value is None else _address(value)
    _bpf(command, struct.pack("<2I3Q", of_map, 0, _address(held), where, 0))


def _bpf(command: int, attributes: bytes) -> int:
    held = ctypes.create_string_buffer(attributes, len(attributes))
    return _call(NUMBERS[platform.machine()][0], command, ctypes.byref(held), len(attributes))


def _call(number: int, *arguments: object) -> int:
    answer: int = _LIBRARY.syscall(number, *arguments)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _first_processor() -> int:
    return int(_read(_ONLINE).replace("-", ",").split(",")[0] or 0)


def _read(path: str, *, link: bool = False) -> str:
    try:
        if link:
            return os.readlink(path)
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


_LIBRARY = ctypes.CDLL(None, use_errno=True)
_LIBRARY.syscall.restype = ctypes.c_long
