"""The requests of the protocol itself, as an account's own rights allow them.

Each function takes the state of the session and the fields of its request, and answers a message. What the operating
system refuses it raises as OSError; :mod:`teleport_conch.ssh.sftp.server` makes a status of that. Orders, flags and
what is refused are those of OpenSSH's ``sftp-server``, as clients are made for it.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from teleport_conch.ssh.sftp import codec, listing, messages, paths
from teleport_conch.ssh.sftp.handles import Handles, OpenDirectory, OpenFile, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from teleport_conch.ssh.sftp.codec import Attributes

    Answer = tuple[int, bytes, bytes | memoryview]
    """Type, fields, and file data behind them, which is to be used before the next request."""

NO_LINKS = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EPERM}
"""What ``link`` says where a file system has no hard links, or none of this file."""


class State:
    """What a session remembers between two requests."""

    def __init__(self) -> None:
        self.handles = Handles()
        self.owners = listing.Owners()
        self.buffer = memoryview(bytearray(messages.MAX_DATA_BYTES))


def status(code: int, text: bytes = b"") -> Answer:
    """:param text: a sentence for people, where there is more to say than the code does."""
    return messages.STATUS, codec.pack("Iss", code, text or messages.STATUS_TEXTS[code], b""), b""


DONE = status(messages.OK)
AT_END = status(messages.EOF)


def one_name(name: bytes) -> Answer:
    """What REALPATH and READLINK answer."""
    return messages.NAME, codec.pack("n", [(name, name, codec.Attributes())]), b""


# Files.


def open_(state: State, path: bytes, pflags: int, attributes: Attributes) -> Answer:
    mode = 0o666 if attributes.permissions is None else attributes.permissions & 0o7777
    append = bool(pflags & messages.FLAG_APPEND)
    opened = OpenFile(os.open(path, open_flags(pflags), mode), path, append)
    return messages.HANDLE, codec.string(state.handles.add(opened)), b""


def open_flags(pflags: int) -> int:
    """The flags of ``open(2)``; neither reading nor writing is taken for reading."""
    both, flags = messages.FLAG_READ | messages.FLAG_WRITE, os.O_NOCTTY
    flags |= os.O_RDWR if pflags & both == both else os.O_WRONLY if pflags & messages.FLAG_WRITE else os.O_RDONLY
    for flag, meaning in (
        (messages.FLAG_APPEND, os.O_APPEND),
        (messages.FLAG_CREATE, os.O_CREAT),
        (messages.FLAG_TRUNCATE, os.O_TRUNC),
        (messages.FLAG_EXCLUSIVE, os.O_EXCL),
    ):
        if pflags & flag:
            flags |= meaning
    return flags


def close(state: State, handle: bytes) -> Answer:
    state.handles.close(handle)
    return DONE


def read(state: State, handle: bytes, offset: int, size: int) -> Answer:
    """At most :data:`~teleport_conch.ssh.sftp.messages.MAX_DATA_BYTES`, whatever was asked for."""
    count = os.preadv(state.handles.file(handle).fd, [state.buffer[:size]], offset)
    if not count and size:
        return AT_END
    return messages.DATA, count.to_bytes(4, "big"), state.buffer[:count]


def write(state: State, handle: bytes, offset: int, data: memoryview) -> Answer:
    """All of ``data``, however often the operating system takes less than it was given."""
    file = state.handles.file(handle)
    while data:
        done = os.write(file.fd, data) if file.append else os.pwrite(file.fd, data, offset)
        data = data[done:]
        offset += done
    return DONE


# Attributes.


def _attrs(found: os.stat_result) -> Answer:
    return messages.ATTRS, listing.attributes_of(found), b""


def stat_(state: State, path: bytes) -> Answer:
    return _attrs(os.stat(path))


def lstat(state: State, path: bytes) -> Answer:
    return _attrs(os.lstat(path))


def fstat(state: State, handle: bytes) -> Answer:
    return _attrs(os.fstat(state.handles.file(handle).fd))


def setstat(state: State, path: bytes, attributes: Attributes) -> Answer:
    set_attributes(path, attributes)
    return DONE


def fsetstat(state: State, handle: bytes, attributes: Attributes) -> Answer:
    set_attributes(state.handles.file(handle).fd, attributes)
    return DONE


def set_attributes(file: bytes | int, wanted: Attributes, follow: bool = True) -> None:
    """Size, permissions, times, owner, in OpenSSH's order; one that fails does not keep the others from being set.

    :raises OSError: the last of the errors.
    """
    steps: list[Callable[[], None]] = []
    size, mode, atime, mtime, uid, gid = (
        wanted.size,
        wanted.permissions,
        wanted.atime,
        wanted.mtime,
        wanted.uid,
        wanted.gid,
    )
    if size is not None:
        steps.append(lambda: os.truncate(file, size))
    if mode is not None:
        steps.append(lambda: _chmod(file, mode & 0o7777, follow))
    if atime is not None and mtime is not None:
        steps.append(lambda: os.utime(file, (atime, mtime), follow_symlinks=follow))
    if uid is not None and gid is not None:
        steps.append(lambda: os.chown(file, _owner(uid), _owner(gid), follow_symlinks=follow))
    problem = None
    for step in steps:
        try:
            step()
        except OSError as error:
            problem = error
    if problem is not None:
        raise problem


def _chmod(file: bytes | int, mode: int, follow: bool) -> None:
    try:
        os.chmod(file, mode, follow_symlinks=follow)
    except NotImplementedError:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP)) from None


def _owner(number: int) -> int:
    """Four bytes of ones mean that nothing is changed, which is -1 to Python."""
    return -1 if number == 0xFFFFFFFF else number


# Directories and names.


def opendir(state: State, path: bytes) -> Answer:
    return messages.HANDLE, codec.string(state.handles.add(OpenDirectory(path))), b""


def readdir(state: State, handle: bytes) -> Answer:
    entries = listing.batch(state.handles.directory(handle), state.owners, time.time())
    if not entries:
        return AT_END
    return messages.NAME, len(entries).to_bytes(4, "big"), b"".join(entries)


def remove(state: State, path: bytes) -> Answer:
    os.unlink(path)
    return DONE


def mkdir(state: State, path: bytes, attributes: Attributes) -> Answer:
    os.mkdir(path, 0o777 if attributes.permissions is None else attributes.permissions & 0o7777)
    return DONE


def rmdir(state: State, path: bytes) -> Answer:
    os.rmdir(path)
    return DONE


def realpath(state: State, path: bytes) -> Answer:
    return one_name(paths.resolve(path or b"."))


def rename(state: State, old: bytes, new: bytes) -> Answer:
    """Never onto what is there. For a file that is certain, as ``link`` makes it sure; for the rest there is a moment
    between looking and renaming.
    """
    if stat.S_ISREG(os.lstat(old).st_mode):
        try:
            os.link(old, new, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        else:
            _unlink_renamed(old, new)
            return DONE
    if os.path.lexists(new):
        raise Refused(messages.FAILURE, os.strerror(errno.EEXIST))
    os.rename(old, new)
    return DONE


def _unlink_renamed(old: bytes, new: bytes) -> None:
    try:
        os.unlink(old)
    except OSError:
        os.unlink(new)
        raise


def readlink(state: State, path: bytes) -> Answer:
    return one_name(os.readlink(path))


def symlink(state: State, target: bytes, path: bytes) -> Answer:
    os.symlink(target, path)
    return DONE


REQUESTS: Mapping[int, Callable[..., Answer]] = {
    messages.OPEN: open_,
    messages.CLOSE: close,
    messages.READ: read,
    messages.WRITE: write,
    messages.LSTAT: lstat,
    messages.FSTAT: fstat,
    messages.SETSTAT: setstat,
    messages.FSETSTAT: fsetstat,
    messages.OPENDIR: opendir,
    messages.READDIR: readdir,
    messages.REMOVE: remove,
    messages.MKDIR: mkdir,
    messages.RMDIR: rmdir,
    messages.REALPATH: realpath,
    messages.STAT: stat_,
    messages.RENAME: rename,
    messages.READLINK: readlink,
    messages.SYMLINK: symlink,
}
