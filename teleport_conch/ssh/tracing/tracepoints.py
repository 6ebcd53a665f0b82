"""Where the kernel lets programs look on: its tracepoints, their numbers, and where the fields of each are.

They stand in tracefs (``Documentation/trace/events.rst`` of the kernel). Where that is not mounted, a short-lived child
mounts it for itself, so that no session ever sees another table of mounts than without us.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from teleport_conch.ssh.tracing.kernel import Untraceable

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
MAX_FORMAT_BYTES = 16 << 10
"""Longest description of a tracepoint that is read, in bytes."""

MAX_FORMATS_BYTES = 1 << 20
"""All that a child may answer, in bytes."""

_FIELD = re.compile(r"^\s*field:(?P<what>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);", re.MULTILINE)
_NAME = re.compile(r"(\w+)(?:\[\d*\])?$")
_NUMBER = re.compile(r"^ID: (\d+)$", re.MULTILINE)
_NEW_MOUNTS, _PRIVATE, _RECURSIVE = 0x20000, 1 << 18, 1 << 14


class Field(NamedTuple):
    """Where a field is in what a program is given, in bytes."""

    offset: int
    size: int


class Tracepoint(NamedTuple):
    """A tracepoint of this kernel."""

    name: str
    number: int
    fields: Mapping[str, Field]

    def field(self, name: str) -> Field:
        """:raises Untraceable: this kernel has no such field there."""
        try:
            return self.fields[name]
        except KeyError:
            raise Untraceable(f"This kernel's tracepoint {self.name} lacks the field {name}.") from None


def parse_format(name: str, text: str) -> Tracepoint:
    """A tracepoint from its file ``format``.

    :raises Untraceable: the file is not as it should be.
    """
    number = _NUMBER.search(text)
    if number is None:
        raise Untraceable(f"This kernel describes its tracepoint {name} in an unknown way.")
    fields = {}
    for found in _FIELD.finditer(text):
        named = _NAME.search(found["what"])
        if named is not None:
            fields[named[1]] = Field(int(found["offset"]), int(found["size"]))
    return Tracepoint(name, int(number[1]), fields)


def read_tracepoints(names: Iterable[str]) -> dict[str, Tracepoint]:
    """Those of ``names``, such as ``sched/sched_process_exec``, that this kernel has.

    :raises Untraceable: it shows none at all.
    """
    wanted = tuple(names)
    for place in PLACES:
        if _is_mounted(place):
            found = _read_formats(place, wanted)
            break
    else:
        found = _read_elsewhere(wanted)
    return {name: parse_format(name, text) for name, text in found.items()}


def _is_mounted(place: Path) -> bool:
    return (place / "events").is_dir()


def _read_formats(place: Path, names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(FileNotFoundError), (place / "events" / name / "format").open() as file:
            found[name] = file.read(MAX_FORMAT_BYTES)
    return found


def _read_elsewhere(names: Iterable[str]) -> dict[str, str]:
    """The same by a child with mounts of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(writing, names)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read(MAX_FORMATS_BYTES)
    os.waitpid(child, 0)
    answer = json.loads(said or b'"its reader ended without a word"')
    if isinstance(answer, str):
        raise Untraceable(f"The tracepoints of this kernel cannot be read: {answer}.")
    return {str(name): str(text) for name, text in answer.items()}


def _answer(writing: int, names: Iterable[str]) -> None:
    """In the child: writes what it read, or why it could not, and ends."""
    try:
        signal.set_wakeup_fd(-1)
        _mount(PLACES[0])
        answer: object = _read_formats(PLACES[0], names)
    except OSError as problem:
        answer = f"{problem.strerror} ({problem.filename})"
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _mount(place: Path) -> None:
    """Mounts tracefs for this process alone. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    _check(library.unshare(_NEW_MOUNTS), "unshare")
    _check(library.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None), "/")
    _check(library.mount(b"tracefs", os.fsencode(place), b"tracefs", 0, None), str(place))


def _check(answer: int, what: str) -> None:
    if answer:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
