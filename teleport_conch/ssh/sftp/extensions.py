"""OpenSSH's extensions (PROTOCOL, section 4), in the form of :mod:`teleport_conch.ssh.sftp.files`."""

from __future__ import annotations

import errno
import os

from teleport_conch.ssh.sftp import codec, messages, paths
from teleport_conch.ssh.sftp.files import DONE, State, one_name, set_attributes
from teleport_conch.ssh.sftp.handles import MAX_OPEN, Refused
from teleport_conch.ssh.sftp.listing import group_name, user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from teleport_conch.ssh.sftp.codec import Attributes
    from teleport_conch.ssh.sftp.files import Answer
    from teleport_conch.ssh.sftp.handles import OpenFile

COPY_BYTES = 1 << 20
"""How much of a file is copied at a time."""


def _reply(fields: bytes) -> Answer:
    return messages.EXTENDED_REPLY, fields, b""


def posix_rename(state: State, old: bytes, new: bytes) -> Answer:
    """``rename(2)``: what ``new`` was is gone."""
    os.rename(old, new)
    return DONE


def hardlink(state: State, old: bytes, new: bytes) -> Answer:
    os.link(old, new, follow_symlinks=False)
    return DONE


def fsync(state: State, handle: bytes) -> Answer:
    os.fsync(state.handles.file(handle, messages.NO_SUCH_FILE).fd)
    return DONE


def statvfs(state: State, path: bytes) -> Answer:
    return _space(os.statvfs(path))


def fstatvfs(state: State, handle: bytes) -> Answer:
    return _space(os.statvfs(state.handles.file(handle).fd))


def _space(found: os.statvfs_result) -> Answer:
    flags = found.f_flag & (os.ST_RDONLY | os.ST_NOSUID)  # 1 and 2, here as in PROTOCOL
    sizes = (found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail)
    files = (found.f_files, found.f_ffree, found.f_favail)
    return _reply(codec.pack("QQQQQQQQQQQ", *sizes, *files, found.f_fsid & (1 << 64) - 1, flags, found.f_namemax))


def lsetstat(state: State, path: bytes, attributes: Attributes) -> Answer:
    """Never through a symbolic link; a link has no size to be set."""
    if attributes.size is not None:
        raise Refused(messages.BAD_MESSAGE, "a link has no size to be set")
    set_attributes(path, attributes, follow=False)
    return DONE


def limits(state: State) -> Answer:
    """The longest packet, read and write in bytes, and how much may be open."""
    import resource  # a shared library, which only this needs

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN if soft == resource.RLIM_INFINITY else min(MAX_OPEN, max(soft - 5, 1))
    return _reply(codec.pack("QQQQ", messages.MAX_PACKET_BYTES, messages.MAX_DATA_BYTES, messages.MAX_DATA_BYTES, most))


def expand_path(state: State, path: bytes) -> Answer:
    try:
        return one_name(paths.resolve(paths.expand(path) or b"."))
    except KeyError:
        raise Refused(messages.NO_SUCH_FILE, "no such user") from None


def home_directory(state: State, user: bytes) -> Answer:
    try:
        return one_name(paths.home(user))
    except KeyError:
        raise Refused(messages.FAILURE, "no such user") from None


def users_groups(state: State, uids: bytes, gids: bytes) -> Answer:
    """The names of users and groups; an empty one for each number that has none."""
    users, groups = _names(uids, user_name), _names(gids, group_name)
    if len(users) + len(groups) > messages.MAX_DATA_BYTES:
        raise Refused(messages.FAILURE, "the names do not fit into one answer")
    return _reply(codec.string(users) + codec.string(groups))


def _names(numbers: bytes, name: Callable[[int], str]) -> bytes:
    if len(numbers) % 4:
        raise codec.MalformedError("a list of numbers whose length is no multiple of four")
    found = (int.from_bytes(numbers[at : at + 4], "big") for at in range(0, len(numbers), 4))
    return b"".join(codec.string(os.fsencode(name(number))) for number in found)


def copy_data(state: State, source: bytes, start: int, size: int, target: bytes, at: int) -> Answer:
    """Copies ``size`` bytes, or all up to the end if that is 0. A copy of a file into itself is refused."""
    read, write = (state.handles.file(handle, messages.NO_SUCH_FILE) for handle in (source, target))
    if read.path == write.path or os.path.sameopenfile(read.fd, write.fd):
        raise Refused(messages.FAILURE, "a file cannot be copied into itself")
    copied = _copy(read, start, size or (1 << 63) - 1 - start, write, at)
    if size and copied < size:
        raise Refused(messages.EOF)
    return DONE


def _copy(read: OpenFile, start: int, size: int, write: OpenFile, at: int) -> int:
    """How much was copied, by the operating system itself where it can do that."""
    copied = 0
    in_kernel = not write.append
    while copied < size:
        wanted = min(COPY_BYTES, size - copied)
        if in_kernel:
            done = _copy_in_kernel(read.fd, start + copied, wanted, write.fd, at + copied)
            in_kernel = done > 0
            copied += done
        else:
            data = memoryview(os.pread(read.fd, wanted, start + copied))
            if not data:
                break
            while data:
                done = os.write(write.fd, data) if write.append else os.pwrite(write.fd, data, at + copied)
                data = data[done:]
                copied += done
    return copied


_CANNOT = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM, errno.ETXTBSY}


def _copy_in_kernel(read: int, start: int, size: int, write: int, at: int) -> int:
    """0 where it cannot, and at the end (files of ``/proc`` look as if they were at their end)."""
    try:
        return os.copy_file_range(read, write, size, start, at)
    except OSError as error:
        if error.errno in _CANNOT:
            return 0
        raise


REQUESTS: Mapping[bytes, Callable[..., Answer]] = {
    messages.POSIX_RENAME: posix_rename,
    messages.HARDLINK: hardlink,
    messages.FSYNC: fsync,
    messages.STATVFS: statvfs,
    messages.FSTATVFS: fstatvfs,
    messages.LSETSTAT: lsetstat,
    messages.LIMITS: limits,
    messages.EXPAND_PATH: expand_path,
    messages.COPY_DATA: copy_data,
    messages.HOME_DIRECTORY: home_directory,
    messages.USERS_GROUPS: users_groups,
}
