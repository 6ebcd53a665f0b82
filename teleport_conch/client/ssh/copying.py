"""Files and folders between here and a node, as ``scp`` copies them, over SFTP.

A node names what is in its folders. A name that would lie elsewhere, or that a terminal would obey, ends the copy; and
below a folder that is copied nothing is written through a link that lies here.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from attrs import frozen

from teleport_conch.client.ssh.sftp import SFTPClient
from teleport_conch.errors import AccessDenied, BadParameter, NotFound, TooLarge
from teleport_conch.ssh.sftp.codec import Attributes

MAX_DEPTH = 64
"""Folders in folders, as OpenSSH has it: links may lead round in a circle."""
_FOLDER_MODE = 0o777
_FILE_MODE = 0o666
_HERE = (b".", b"..")


class Progress(Protocol):
    """Is told what is copied."""

    def begin(self, name: str, size: int) -> None:
        """A file of so many bytes, as far as is known."""

    def moved(self, count: int) -> None:
        """So many bytes more."""

    def end(self) -> None:
        """The file is complete."""


@frozen
class Copying:
    """:ivar recursive: folders with what is in them.
    :ivar preserve: times and modes.
    """

    sftp: SFTPClient
    progress: Progress
    recursive: bool = False
    preserve: bool = False

    # From the node.

    async def get(self, sources: Sequence[str], target: Path) -> None:
        """:raises TeleportError: the first thing that went wrong."""
        if len(sources) > 1 and not target.is_dir():
            raise NotFound(f"{target} is not a folder, and several files are to go there.")
        for source in sources:
            path = remote(source)
            name = posixpath.basename(path.rstrip(b"/"))
            inside = target.is_dir() and name not in (b"", *_HERE)
            await self._get(path, target / os.fsdecode(checked(name)) if inside else target, 0)

    async def _get(self, path: bytes, here: Path, depth: int) -> None:
        found = await self.sftp.stat(path)
        if stat.S_ISDIR(found.permissions or 0):
            await self._get_folder(path, here, found, depth)
        elif stat.S_ISREG(found.permissions or 0):
            await self._get_file(path, here, found, depth)
        else:
            raise BadParameter(f"On the node: {_text(path)} is neither a file nor a folder.")

    async def _get_folder(self, path: bytes, here: Path, found: Attributes, depth: int) -> None:
        self._check_folder(_text(path), depth)
        if depth and here.is_symlink():
            raise AccessDenied(f"{here} is a link, and nothing is written through it.")
        here.mkdir(exist_ok=True)
        for name, _ in await self.sftp.names(path):
            if name not in _HERE:
                await self._get(posixpath.join(path, checked(name)), here / os.fsdecode(name), depth + 1)
        self._preserve(here, found)

    async def _get_file(self, path: bytes, here: Path, found: Attributes, depth: int) -> None:
        mode = stat.S_IMODE(found.permissions or 0) & 0o777 or _FILE_MODE
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | (os.O_NOFOLLOW if depth else 0)
        self.progress.begin(here.name, found.size or 0)
        with os.fdopen(os.open(here, flags, mode), "wb") as file:
            await self.sftp.download(path, self._counted(file.write))
        self._preserve(here, found)
        self.progress.end()

    def _preserve(self, here: Path, found: Attributes) -> None:
        if not self.preserve:
            return
        here.chmod(stat.S_IMODE(found.permissions or 0) & 0o777)
        if found.mtime is not None:
            os.utime(here, (found.atime or found.mtime, found.mtime))

    # To the node.

    async def put(self, sources: Sequence[Path], target: str) -> None:
        """:raises TeleportError: the first thing that went wrong; OSError where that is here."""
        path = remote(target)
        is_folder = stat.S_ISDIR(await self.sftp.kind(path) or 0)
        if len(sources) > 1 and not is_folder:
            raise NotFound(f"On the node: {_text(path)} is not a folder, and several files are to go there.")
        for source in sources:
            name = os.fsencode(source.resolve().name)
            await self._put(source, posixpath.join(path, name) if is_folder else path, 0)

    async def _put(self, source: Path, path: bytes, depth: int) -> None:
        found = source.stat()
        if stat.S_ISDIR(found.st_mode):
            await self._put_folder(source, path, found, depth)
        elif stat.S_ISREG(found.st_mode):
            await self._put_file(source, path, found)
        else:
            raise BadParameter(f"{source} is neither a file nor a folder.")

    async def _put_folder(self, source: Path, path: bytes, found: os.stat_result, depth: int) -> None:
        self._check_folder(str(source), depth)
        if await self.sftp.kind(path) is None:
            await self.sftp.make_folder(path, stat.S_IMODE(found.st_mode) if self.preserve else _FOLDER_MODE)
        for each in sorted(source.iterdir()):
            await self._put(each, posixpath.join(path, os.fsencode(each.name)), depth + 1)
        await self._preserve_there(path, found)

    async def _put_file(self, source: Path, path: bytes, found: os.stat_result) -> None:
        self.progress.begin(source.name, found.st_size)
        with source.open("rb") as file:
            await self.sftp.upload(path, self._reading(file), stat.S_IMODE(found.st_mode) & 0o777)
        await self._preserve_there(path, found)
        self.progress.end()

    async def _preserve_there(self, path: bytes, found: os.stat_result) -> None:
        if self.preserve:
            mode, times = stat.S_IMODE(found.st_mode) & 0o777, (int(found.st_atime), int(found.st_mtime))
            await self.sftp.set(path, Attributes(permissions=mode, atime=times[0], mtime=times[1]))

    # Both.

    def _check_folder(self, name: str, depth: int) -> None:
        if not self.recursive:
            raise BadParameter(f"{name} is a folder; -r copies folders.")
        if depth > MAX_DEPTH:
            raise TooLarge(f"{name} lies in more than {MAX_DEPTH} folders, which is the limit.")

    def _counted(self, write: Callable[[bytes | memoryview], object]) -> Callable[[bytes | memoryview], object]:
        def counted(data: bytes | memoryview) -> None:
            write(data)
            self.progress.moved(len(data))

        return counted

    def _reading(self, file: BinaryIO) -> Callable[[int], bytes]:
        def reading(count: int) -> bytes:
            data = file.read(count)
            self.progress.moved(len(data))
            return data

        return reading


def remote(path: str) -> bytes:
    """A path as it is typed: one that does not begin with a slash is below the account's home."""
    if path == "~":
        return b"."
    return os.fsencode(path.removeprefix("~/")) or b"."


def checked(name: bytes) -> bytes:
    """A name that a node says is in a folder, once nothing but a file in that folder can be meant.

    :raises AccessDenied: it is none.
    """
    if not name or name in _HERE or b"/" in name or any(each < 32 or each == 127 for each in name):
        raise AccessDenied(
            f"The node names a file {_text(name)!a}, which cannot be in a folder. Nothing more is copied."
        )
    return name


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


@frozen
class Silent:
    """Shows nothing."""

    def begin(self, name: str, size: int) -> None:
        """Nothing is shown."""

    def moved(self, count: int) -> None:
        """Nothing is shown."""

    def end(self) -> None:
        """Nothing is shown."""


class OnTerminal:
    """One line for each file: its name, how much of it is there, and how fast that is.

    :param write: to the terminal.
    :param clock: answers seconds.
    """

    INTERVAL_S = 0.5

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._name, self._size, self._done = "", 0, 0
        self._begun = self._shown = 0.0

    def begin(self, name: str, size: int) -> None:
        self._name = name if name.isprintable() else ascii(name)[1:-1]
        self._size, self._done = size, 0
        self._begun = self._shown = self._clock()

    def moved(self, count: int) -> None:
        self._done += count
        if self._clock() - self._shown >= self.INTERVAL_S:
            self._shown = self._clock()
            self._write(f"\r{self._line()}")

    def end(self) -> None:
        self._write(f"\r{self._line()}\n")

    def _line(self) -> str:
        share = 100 if self._done >= self._size else 100 * self._done // self._size
        took_s = max(self._clock() - self._begun, 0.001)
        return f"{self._name[:40]:<40} {share:3d}% {_bytes(self._done):>9} {_bytes(self._done / took_s):>9}/s"


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
