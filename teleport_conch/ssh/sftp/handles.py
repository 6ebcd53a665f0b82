"""What a client has open: files and directories, by the handles that it was given."""

from __future__ import annotations

import os

from teleport_conch.ssh.sftp.messages import FAILURE, NO_SUCH_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_OPEN = 4096
"""Files and directories that one client may have open; the limit of the process (``ulimit -n``) mostly is lower."""


class Refused(Exception):
    """A request that is answered with this status, for another reason than an error of the operating system."""

    def __init__(self, status: int, why: str = "") -> None:
        super().__init__(why)
        self.status, self.why = status, why


class OpenFile:
    """:ivar append: what is written goes to the end, whatever place the client names."""

    __slots__ = ("append", "fd", "path")

    def __init__(self, fd: int, path: bytes, append: bool) -> None:
        self.fd, self.path, self.append = fd, path, append

    def close(self) -> None:
        os.close(self.fd)


class OpenDirectory:
    """:ivar names: those that the client has not seen yet."""

    __slots__ = ("_entries", "names", "path")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self._entries = os.scandir(path)
        self.names = self._names()

    def _names(self) -> Iterator[bytes]:
        yield b"."
        yield b".."
        for entry in self._entries:
            yield entry.name

    def close(self) -> None:
        self._entries.close()


class Handles:
    """Each handle is a number of its own, in four bytes, as OpenSSH's are: some clients expect no more."""

    def __init__(self) -> None:
        self._open: dict[bytes, OpenFile | OpenDirectory] = {}
        self._next = 0

    def add(self, opened: OpenFile | OpenDirectory) -> bytes:
        """The handle of what was just opened.

        :raises Refused: too much is open; ``opened`` has been closed again.
        """
        if len(self._open) >= MAX_OPEN:
            opened.close()
            raise Refused(FAILURE, f"more than {MAX_OPEN} files are open")
        while (handle := self._next.to_bytes(4, "big")) in self._open:
            self._next = (self._next + 1) & 0xFFFFFFFF
        self._next = (self._next + 1) & 0xFFFFFFFF
        self._open[handle] = opened
        return handle

    def file(self, handle: bytes, status: int = FAILURE) -> OpenFile:
        """:raises Refused: with ``status``: no handle, or that of a directory."""
        found = self._open.get(handle)
        if not isinstance(found, OpenFile):
            raise Refused(status, "no handle of a file")
        return found

    def directory(self, handle: bytes) -> OpenDirectory:
        """:raises Refused: no handle, or that of a file."""
        found = self._open.get(handle)
        if not isinstance(found, OpenDirectory):
            raise Refused(FAILURE, "no handle of a directory")
        return found

    def close(self, handle: bytes) -> None:
        """:raises Refused: no handle.
        :raises OSError: what was written could not be kept.
        """
        found = self._open.pop(handle, None)
        if found is None:
            raise Refused(NO_SUCH_FILE, "no handle")
        found.close()
