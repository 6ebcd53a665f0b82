"""Reads and writes the messages of :mod:`teleport_conch.ssh.sftp.messages`.

What follows the last field of a message is ignored, as OpenSSH ignores it. This module starts with the server of each
SFTP session: it imports what Python has loaded anyhow, and ``struct``.
"""

from __future__ import annotations

import struct

from teleport_conch.ssh.sftp.messages import FIELDS, FXP_VERSION, INIT, MAX_HANDLE_BYTES, MAX_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UINT32, _UINT64 = struct.Struct(">I"), struct.Struct(">Q")
_HEAD = struct.Struct(">IBI")
_WITHOUT_ID = (INIT, FXP_VERSION)
_SIZE, _OWNER, _PERMISSIONS, _TIMES, _EXTENDED = 1, 2, 4, 8, 1 << 31
_ALL = struct.Struct(">IQIIIII")


class MalformedError(ValueError):
    """A message that is not what its type says."""


class Attributes:
    """What is said of a file (section 5); None stands for what is not said.

    ``size`` is in bytes, ``permissions`` is ``st_mode`` (with the kind of file where a server says it), times are POSIX
    seconds. ``uid`` goes with ``gid``, and ``atime`` with ``mtime``.
    """

    __slots__ = ("atime", "gid", "mtime", "permissions", "size", "uid")

    def __init__(
        self,
        size: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        permissions: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        self.size, self.uid, self.gid, self.permissions = size, uid, gid, permissions
        self.atime, self.mtime = atime, mtime

    def _values(self) -> tuple[int | None, ...]:
        return (self.size, self.uid, self.gid, self.permissions, self.atime, self.mtime)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"Attributes{self._values()}"


# Reading. Each function takes the message and a place in it, and answers a value and the place behind it.


def _uint32(view: memoryview, at: int) -> tuple[int, int]:
    return _UINT32.unpack_from(view, at)[0], at + 4


def _uint64(view: memoryview, at: int) -> tuple[int, int]:
    return _UINT64.unpack_from(view, at)[0], at + 8


def _data(view: memoryview, at: int) -> tuple[memoryview, int]:
    end = at + 4 + _UINT32.unpack_from(view, at)[0]
    if end > len(view):
        raise MalformedError("a string goes beyond the end of its message")
    return view[at + 4 : end], end


def _string(view: memoryview, at: int) -> tuple[bytes, int]:
    end = at + 4 + _UINT32.unpack_from(view, at)[0]
    if end > len(view):
        raise MalformedError("a string goes beyond the end of its message")
    return bytes(view[at + 4 : end]), end


def _path(view: memoryview, at: int) -> tuple[bytes, int]:
    found, at = _string(view, at)
    if b"\0" in found:
        raise MalformedError("a name with a NUL byte")
    return found, at


def _handle(view: memoryview, at: int) -> tuple[bytes, int]:
    size = _UINT32.unpack_from(view, at)[0]
    if size > MAX_HANDLE_BYTES:
        raise MalformedError(f"a handle of more than {MAX_HANDLE_BYTES} bytes")
    return _string(view, at)


def _attributes(view: memoryview, at: int) -> tuple[Attributes, int]:
    flags, at = _uint32(view, at)
    found = Attributes()
    if flags & _SIZE:
        found.size, at = _uint64(view, at)
    if flags & _OWNER:
        found.uid, at = _uint32(view, at)
        found.gid, at = _uint32(view, at)
    if flags & _PERMISSIONS:
        found.permissions, at = _uint32(view, at)
    if flags & _TIMES:
        found.atime, at = _uint32(view, at)
        found.mtime, at = _uint32(view, at)
    if flags & _EXTENDED:
        count, at = _uint32(view, at)
        for _ in range(2 * count):  # as many strings as there are bytes for, and then it is malformed
            _, at = _data(view, at)
    return found, at


def _extensions(view: memoryview, at: int) -> tuple[dict[bytes, bytes], int]:
    found: dict[bytes, bytes] = {}
    while at < len(view):
        name, at = _string(view, at)
        found[name], at = _string(view, at)
    return found, at


def _names(view: memoryview, at: int) -> tuple[list[tuple[bytes, bytes, Attributes]], int]:
    count, at = _uint32(view, at)
    if count > MAX_NAMES:
        raise MalformedError(f"more than {MAX_NAMES} names in a message")
    found = []
    for _ in range(count):
        name, at = _string(view, at)
        line, at = _string(view, at)
        attributes, at = _attributes(view, at)
        found.append((name, line, attributes))
    return found, at


def _rest(view: memoryview, at: int) -> tuple[bytes, int]:
    return bytes(view[at:]), len(view)


_READERS: Mapping[str, Callable[[memoryview, int], tuple[object, int]]] = {
    "I": _uint32,
    "Q": _uint64,
    "s": _string,
    "p": _path,
    "h": _handle,
    "d": _data,
    "a": _attributes,
    "x": _extensions,
    "n": _names,
    "r": _rest,
}


def unpack(fields: str, view: memoryview, at: int = 0) -> list[object]:
    """The values of ``fields``, from ``at`` on. A memoryview among them is valid for as long as ``view`` is.

    :raises MalformedError: the message ends too early, or holds what no field may hold.
    """
    values = []
    try:
        for letter in fields:
            value, at = _READERS[letter](view, at)
            values.append(value)
    except struct.error:
        raise MalformedError("a message that ends too early") from None
    return values


def parse(view: memoryview) -> tuple[int, int | None, list[object]]:
    """Type, request id (None where there is none) and values of a frame without its length.

    :raises MalformedError: no such message, or one that is not what it has to be.
    """
    if not len(view):
        raise MalformedError("an empty message")
    kind = view[0]
    if kind not in FIELDS:
        raise MalformedError(f"there is no message {kind}")
    if kind in _WITHOUT_ID:
        return kind, None, unpack(FIELDS[kind], view, 1)
    number, *values = unpack("I" + FIELDS[kind], view, 1)
    assert isinstance(number, int)
    return kind, number, values


# Writing.


def string(value: bytes | memoryview) -> bytes:
    return _UINT32.pack(len(value)) + value


def attributes(value: Attributes) -> bytes:
    flags, parts = 0, []
    if value.size is not None:
        flags |= _SIZE
        parts.append(_UINT64.pack(value.size))
    for flag, first, second in ((_OWNER, value.uid, value.gid), (_TIMES, value.atime, value.mtime)):
        if first is not None and second is not None:
            flags |= flag
            parts.append(_UINT32.pack(first) + _UINT32.pack(second))
        if flag == _OWNER and value.permissions is not None:
            flags |= _PERMISSIONS
            parts.append(_UINT32.pack(value.permissions))
    return _UINT32.pack(flags) + b"".join(parts)


def all_attributes(size: int, uid: int, gid: int, permissions: int, atime: int, mtime: int) -> bytes:
    """Everything that is said of a file, as a server says it; times that 32 bits cannot hold are cut."""
    flags = _SIZE | _OWNER | _PERMISSIONS | _TIMES
    return _ALL.pack(flags, size, uid, gid, permissions, atime & 0xFFFFFFFF, mtime & 0xFFFFFFFF)


def _pack_extensions(value: Mapping[bytes, bytes]) -> bytes:
    return b"".join(string(name) + string(version) for name, version in value.items())


def _pack_names(value: list[tuple[bytes, bytes, Attributes]]) -> bytes:
    entries = (string(name) + string(line) + attributes(found) for name, line, found in value)
    return _UINT32.pack(len(value)) + b"".join(entries)


_WRITERS: Mapping[str, Callable[..., bytes]] = {
    "I": _UINT32.pack,
    "Q": _UINT64.pack,
    "s": string,
    "p": string,
    "h": string,
    "d": string,
    "a": attributes,
    "x": _pack_extensions,
    "n": _pack_names,
    "r": bytes,
}


def pack(fields: str, *values: object) -> bytes:
    """The fields of a message, one value for each letter."""
    return b"".join(_WRITERS[letter](value) for letter, value in zip(fields, values, strict=True))


def message(kind: int, number: int | None, *values: object) -> bytes:
    """A whole frame. ``number`` is the request id, None for INIT and VERSION."""
    head = bytes((kind,)) if number is None else bytes((kind,)) + _UINT32.pack(number)
    return string(head + pack(FIELDS[kind], *values))


def head(kind: int, number: int, size: int) -> bytes:
    """What comes before the ``size`` bytes of an answer's fields."""
    return _HEAD.pack(5 + size, kind, number)
