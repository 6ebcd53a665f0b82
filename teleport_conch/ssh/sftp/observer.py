"""Sees what a client does with files, from copies of the bytes that go by, whoever serves them.

An :class:`Observer` never touches the session: it does not delay, change or refuse anything. What it keeps is bounded,
what is in files is counted and skipped. When it meets something that it does not understand (a message that is none, an
answer to nothing, two requests under one number, which could be told apart in one way here and in another in the
server), it says so once, and sees nothing from then on.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen

from teleport_conch.ssh.sftp import codec, messages
from teleport_conch.ssh.sftp.codec import Attributes, MalformedError
from teleport_conch.ssh.sftp.scanning import Scanner

MAX_PENDING = 65_536
"""Requests without an answer: some clients ask for a whole file at once. Each costs some 150 bytes."""
MAX_NAMED = 1024
"""Of these, requests that name files, whose names are kept for so long."""
MAX_OPEN = 4096
"""Files that are open."""
MAX_NAME_BYTES = 1024
"""What is kept of a name."""

_REQUEST_BYTES = 16 << 10
_WANTED_OF_CLIENT = {messages.WRITE: 1 + 4 + 4 + messages.MAX_HANDLE_BYTES + 8 + 4}
_WANTED_OF_SERVER = {messages.STATUS: 9, messages.DATA: 9, messages.HANDLE: 1 + 4 + 4 + messages.MAX_HANDLE_BYTES}
_ANSWER_BYTES = 5

_ACTIONS = {
    messages.REMOVE: "remove",
    messages.MKDIR: "mkdir",
    messages.RMDIR: "rmdir",
    messages.RENAME: "rename",
    messages.SYMLINK: "symlink",
    messages.SETSTAT: "setstat",
}
_NAMED = frozenset({messages.OPEN, messages.CLOSE, messages.FSETSTAT, *_ACTIONS})
_EXTENDED_ACTIONS = {
    messages.POSIX_RENAME: "rename",
    messages.HARDLINK: "hardlink",
    messages.LSETSTAT: "setstat",
}


@frozen
class Operation:
    """Something that was done with a file, or was tried, and how it ended.

    :ivar action: ``download`` and ``upload`` (a file that was opened and closed; it is an upload if it was opened to be
        written), ``remove``, ``rename``, ``mkdir``, ``rmdir``, ``symlink``, ``hardlink``, ``setstat`` or ``copy``.
    :ivar path: the name that the client used; relative ones begin at the account's home directory.
    :ivar target: the other name of a rename, link or copy. A symbolic link's ``path`` is the link, and ``target`` what
        it says; a copy's ``path`` is what was copied.
    :ivar flags: of the OPEN (section 6.3 of the draft).
    :ivar read, written: bytes that the client got from the file, and that it put there.
    :ivar attributes: what a ``setstat`` asked for.
    :ivar status: the code of the answer; None for a file that was open when the session ended, or that was never
        answered.
    """

    action: str
    path: bytes
    status: int | None
    target: bytes = b""
    flags: int = 0
    read: int = 0
    written: int = 0
    attributes: Attributes | None = None


@define
class _File:
    path: bytes
    flags: int
    read: int = 0
    written: int = 0

    def operation(self, status: int | None) -> Operation:
        action = "upload" if self.flags & messages.FLAG_WRITE else "download"
        return Operation(action, self.path, status, b"", self.flags, self.read, self.written)


@frozen
class _Named:
    """A request that names files, or means one by its handle."""

    kind: int
    action: str
    path: bytes
    target: bytes = b""
    flags: int = 0
    attributes: Attributes | None = None


_Pending = _Named | bytes | tuple[bytes, int] | None
"""What awaits an answer: a READ is its handle, a WRITE handle and size; None is of no interest."""


class Observer:
    """Of one session.

    :param told: gets each operation when it has ended.
    :param blinded: gets the reason, once, if nothing more can be seen.
    """

    def __init__(self, told: Callable[[Operation], None], blinded: Callable[[str], None]) -> None:
        self._told = told
        self._blinded = blinded
        self._requests = Scanner(_WANTED_OF_CLIENT, _REQUEST_BYTES)
        self._answers = Scanner(_WANTED_OF_SERVER, _ANSWER_BYTES)
        self._pending: dict[int, _Pending] = {}
        self._named = 0
        self._files: dict[bytes, _File] = {}
        self._sees = True

    def from_client(self, data: bytes) -> None:
        """Bytes on their way to the server."""
        if self._sees:
            self._look(self._requests, data, self._request)

    def from_server(self, data: bytes) -> None:
        """Bytes on their way to the client."""
        if self._sees:
            self._look(self._answers, data, self._answer)

    def ended(self) -> None:
        """The session is over: tells of what was open."""
        self._sees = False
        files, self._files = self._files, {}
        self._pending.clear()
        for file in files.values():
            self._told(file.operation(None))

    def _look(self, scanner: Scanner, data: bytes, seen: Callable[[bytes], None]) -> None:
        try:
            for beginning in scanner.feed(data):
                seen(beginning)
        except MalformedError as problem:
            self.ended()
            self._blinded(str(problem))

    # Requests.

    def _request(self, beginning: bytes) -> None:
        kind = beginning[0]
        if kind == messages.INIT:
            return
        number = _uint32(beginning, 1)
        if number in self._pending:
            raise MalformedError("two requests with one number")
        if len(self._pending) >= MAX_PENDING:
            raise MalformedError(f"more than {MAX_PENDING} requests without an answer")
        request = self._pending[number] = self._read_request(kind, beginning)
        if isinstance(request, _Named):
            self._named += 1
            if self._named > MAX_NAMED:
                raise MalformedError(f"more than {MAX_NAMED} names without an answer")

    def _read_request(self, kind: int, beginning: bytes) -> _Pending:
        if kind == messages.READ:
            return _handle(beginning)
        if kind == messages.WRITE:
            handle = _handle(beginning)
            return handle, _uint32(beginning, 9 + len(handle) + 8)
        if kind == messages.EXTENDED:
            return self._read_extended(memoryview(beginning))
        if kind in _NAMED:
            found = codec.unpack(messages.FIELDS[kind], memoryview(beginning), 5)
            return _named(kind, _ACTIONS.get(kind, "setstat"), found)
        return None

    def _read_extended(self, view: memoryview) -> _Pending:
        name, fields = codec.unpack("sr", view, 5)
        assert isinstance(name, bytes) and isinstance(fields, bytes)
        if name == messages.COPY_DATA:
            source, _, _, target, _ = codec.unpack(messages.EXTENSION_FIELDS[name], memoryview(fields))
            assert isinstance(source, bytes) and isinstance(target, bytes)
            return _Named(messages.EXTENDED, "copy", source, target)
        if name in _EXTENDED_ACTIONS:
            found = codec.unpack(messages.EXTENSION_FIELDS[name], memoryview(fields))
            return _named(messages.EXTENDED, _EXTENDED_ACTIONS[name], found)
        return None

    # Answers.

    def _answer(self, beginning: bytes) -> None:
        kind, number = beginning[0], _uint32(beginning, 1)
        if kind == messages.FXP_VERSION:
            if number != messages.VERSION:
                raise MalformedError(f"version {number} of the protocol")
            return
        if number not in self._pending:
            raise MalformedError("an answer to nothing")
        request = self._pending.pop(number)
        if isinstance(request, _Named):
            self._named -= 1
            self._ended(request, kind, beginning)
        elif request is not None:
            self._moved(request, kind, beginning)

    def _moved(self, request: bytes | tuple[bytes, int], kind: int, beginning: bytes) -> None:
        """Counts what was read or written. The file is looked up now: a client may use a handle before it knows it."""
        handle, size = (request, 0) if isinstance(request, bytes) else request
        file = self._files.get(handle)
        if file is None:
            return
        if kind == messages.DATA:
            file.read += _uint32(beginning, 5)
        elif kind == messages.STATUS and _uint32(beginning, 5) == messages.OK:
            file.written += size

    def _ended(self, request: _Named, kind: int, beginning: bytes) -> None:
        if request.kind == messages.OPEN:
            self._opened(request, kind, beginning)
            return
        if kind != messages.STATUS:
            raise MalformedError(f"the answer {kind} to a request that has a status")
        status, path, target = _uint32(beginning, 5), request.path, request.target
        if request.kind == messages.CLOSE:
            file = self._files.pop(path, None)
            if file is not None:
                self._told(file.operation(status))
            return
        if request.kind == messages.FSETSTAT or request.action == "copy":
            path, target = self._name_of(path), self._name_of(target)
        self._told(Operation(request.action, path, status, target, attributes=request.attributes))

    def _opened(self, request: _Named, kind: int, beginning: bytes) -> None:
        file = _File(request.path, request.flags)
        if kind == messages.STATUS:
            self._told(file.operation(_uint32(beginning, 5)))
        elif kind != messages.HANDLE:
            raise MalformedError(f"the answer {kind} to an OPEN")
        elif len(self._files) >= MAX_OPEN:
            raise MalformedError(f"more than {MAX_OPEN} open files")
        else:
            self._files[_handle(beginning)] = file

    def _name_of(self, handle: bytes) -> bytes:
        file = self._files.get(handle)
        return b"" if file is None else file.path


def _named(kind: int, action: str, found: list[object]) -> _Named:
    """From the fields of a request: names come first, as bytes; flags and attributes follow them."""
    names = [each[:MAX_NAME_BYTES] for each in found if isinstance(each, bytes)]
    flags = next((each for each in found if isinstance(each, int)), 0)
    attributes = next((each for each in found if isinstance(each, Attributes)), None)
    first, second = (names[0], names[1]) if len(names) > 1 else (names[0], b"")
    if kind == messages.SYMLINK:
        first, second = second, first
    return _Named(kind, action, first, second, flags, None if action != "setstat" else attributes)


def _uint32(beginning: bytes, at: int) -> int:
    number = beginning[at : at + 4]
    if len(number) < 4:
        raise MalformedError("a message that ends too early")
    return int.from_bytes(number, "big")


def _handle(beginning: bytes) -> bytes:
    """The handle with which the fields of a message begin."""
    size = _uint32(beginning, 5)
    handle = beginning[9 : 9 + size]
    if len(handle) < size:
        raise MalformedError("a handle that is too long")
    return handle
