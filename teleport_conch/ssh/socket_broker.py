"""Makes and connects Unix sockets as one account, and hands them over; a program of its own, run by its path.

Whether an account may connect to a socket, or make one in a folder, is the kernel's to say: so this process becomes the
account before it reads anything. Whoever started it owns the other end of descriptor 0, a ``SOCK_SEQPACKET`` pair, and
sends one request per packet: a letter and an absolute path. The answer is the number of an error, or 0 with the socket
as a passed descriptor:

``C`` connect; ``L`` listen, at a path where nothing is yet, for this account alone (mode 0600); ``R`` remove what was
made there by ``L``. At the end of the pair everything that was made is removed, unless something else is there now.

It imports nothing but the standard library, as the account may not be able to read our package.
"""

from __future__ import annotations

import errno
import os
import socket
import sys

MAX_REQUEST_BYTES = 4096
BACKLOG = 64


def main(control: socket.socket, arguments: list[str]) -> None:
    """Serves requests to the end of ``control``. ``arguments`` are name, uid and gid of the account."""
    become(arguments[0], int(arguments[1]), int(arguments[2]))
    made: dict[bytes, tuple[int, int]] = {}
    try:
        while request := control.recv(MAX_REQUEST_BYTES):
            answer(control, request, made)
    finally:
        for path in list(made):
            remove(path, made)


def become(name: str, uid: int, gid: int) -> None:
    """Gives up every right but those of the account."""
    os.umask(0o177)
    os.chdir("/")
    if os.geteuid() == 0 and uid != 0:
        os.initgroups(name, gid)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def answer(control: socket.socket, request: bytes, made: dict[bytes, tuple[int, int]]) -> None:
    """Does one request and says how it went."""
    verb, path = request[:1], request[1:]
    try:
        if not path.startswith(b"/") or b"\0" in path:
            raise OSError(errno.EINVAL, "not an absolute path")
        if verb == b"R":
            remove(path, made)
            control.send(b"0")
            return
        ready = connected(path) if verb == b"C" else listening(path, made)
    except OSError as problem:
        # A path that is too long for a socket has no number of its own.
        control.send(b"%d" % (problem.errno or errno.ENAMETOOLONG))
        return
    with ready:
        socket.send_fds(control, [b"0"], [ready.fileno()])


def connected(path: bytes) -> socket.socket:
    """A connection; where there is no room in the queue of who listens, that is a refusal."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made


def listening(path: bytes, made: dict[bytes, tuple[int, int]]) -> socket.socket:
    """A listening socket at ``path``, which is removed again later."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        server.bind(path)
        status = os.lstat(path)
        made[path] = (status.st_dev, status.st_ino)
        server.listen(BACKLOG)
    except OSError:
        server.close()
        remove(path, made)
        raise
    return server


def remove(path: bytes, made: dict[bytes, tuple[int, int]]) -> None:
    """Takes away what was made at ``path``, if it is there still."""
    identity = made.pop(path, None)
    try:
        status = os.lstat(path)
        if identity == (status.st_dev, status.st_ino):
            os.unlink(path)
    except OSError:
        return


if __name__ == "__main__":
    main(socket.socket(fileno=0), sys.argv[1:])
