"""The server: frames in, answers out, one client, until there is no more to read.

It runs as a program of its own, as the account whose files it serves, and needs no more protection than that: what the
account may not do, the operating system refuses. It imports as little as it can, because its start is part of every
transfer.
"""

from __future__ import annotations

import errno
import os

from teleport_conch.ssh.sftp import codec, extensions, files, messages
from teleport_conch.ssh.sftp.codec import MalformedError
from teleport_conch.ssh.sftp.handles import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from teleport_conch.ssh.sftp.files import Answer

BUFFER_BYTES = 4 * messages.MAX_PACKET_BYTES
"""What is read at a time; more than a frame, so that it is seldom moved."""
FLUSH_BYTES = 256 << 10
"""Answers are written when they are as long as this, and always before the server waits for the next request."""
DIRECT_BYTES = 64 << 10
"""File data as long as this is not copied before it is written."""
MAX_PARTS = 512
"""Pieces in one ``writev``; the operating system takes 1,024."""

_STATUS_OF_ERROR = {
    errno.ENOENT: messages.NO_SUCH_FILE,
    errno.ENOTDIR: messages.NO_SUCH_FILE,
    errno.EBADF: messages.NO_SUCH_FILE,
    errno.ELOOP: messages.NO_SUCH_FILE,
    errno.EPERM: messages.PERMISSION_DENIED,
    errno.EACCES: messages.PERMISSION_DENIED,
    errno.EFAULT: messages.PERMISSION_DENIED,
    errno.ENAMETOOLONG: messages.BAD_MESSAGE,
    errno.EINVAL: messages.BAD_MESSAGE,
    errno.ENOSYS: messages.OP_UNSUPPORTED,
}
"""As OpenSSH has it; everything else is FAILURE, also what is there already (EEXIST)."""

_NUMBER = slice(1, 5)


class Broken(Exception):
    """The client does not speak SFTP; nothing it says can be answered."""


class Server:
    """Answers requests, each at once and in their order.

    :param output: the descriptor that answers go to; it blocks.
    """

    def __init__(self, output: int) -> None:
        self._output = output
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._state = files.State()
        self._begun = False

    def received(self, frame: memoryview) -> None:
        """One frame, without its length.

        :raises Broken: it is too short for an answer, or came before INIT.
        """
        if frame[0] == messages.INIT and len(frame) >= 5:
            self._begun = True
            version = codec.message(messages.FXP_VERSION, None, messages.VERSION, dict(messages.EXTENSIONS))
            self._add(version)
        elif not self._begun or len(frame) < 5:
            raise Broken("the client does not begin as the protocol says.")
        else:
            self._reply(int.from_bytes(frame[_NUMBER], "big"), self._answer(frame))

    def _reply(self, number: int, answer: Answer) -> None:
        """What is read from a file stands in a buffer that the next READ needs: a lot is written from there at once,
        and a little copied to go with other answers.
        """
        kind, fields, data = answer
        self._add(codec.head(kind, number, len(fields) + len(data)) + fields)
        if len(data) >= DIRECT_BYTES:
            self._add(data)
            self.flush()
        elif data:
            self._add(bytes(data))

    def _add(self, part: bytes | memoryview) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size >= FLUSH_BYTES or len(self._parts) >= MAX_PARTS:
            self.flush()

    def _answer(self, frame: memoryview) -> Answer:
        try:
            return self._perform(frame)
        except OSError as error:
            code = _STATUS_OF_ERROR.get(error.errno or 0, messages.FAILURE)
            return files.status(code, os.fsencode(error.strerror or ""))
        except Refused as refusal:
            return files.status(refusal.status, refusal.why.encode())
        except MalformedError as error:
            return files.status(messages.BAD_MESSAGE, str(error).encode())
        except OverflowError:
            return files.status(messages.BAD_MESSAGE, b"a number that no file can have")

    def _perform(self, frame: memoryview) -> Answer:
        kind = frame[0]
        if kind == messages.EXTENDED:
            return self._extended(frame)
        request = files.REQUESTS.get(kind)
        if request is None:
            raise Refused(messages.OP_UNSUPPORTED)
        return request(self._state, *codec.unpack(messages.FIELDS[kind], frame, 5))

    def _extended(self, frame: memoryview) -> Answer:
        name, fields = codec.unpack("sr", frame, 5)
        assert isinstance(name, bytes) and isinstance(fields, bytes)
        request = extensions.REQUESTS.get(name)
        if request is None:
            raise Refused(messages.OP_UNSUPPORTED)
        return request(self._state, *codec.unpack(messages.EXTENSION_FIELDS[name], memoryview(fields)))

    def flush(self) -> None:
        """Writes what there is to say."""
        if not self._parts:
            return
        parts, size, self._parts, self._size = self._parts, self._size, [], 0
        written = os.writev(self._output, parts)
        if written < size:
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                rest = rest[os.write(self._output, rest) :]


class FrameReader:
    """Takes frames out of what is read, without copying them.

    :raises Broken: a frame that is empty or longer than :data:`~teleport_conch.ssh.sftp.messages.MAX_PACKET_BYTES`.
    """

    def __init__(self) -> None:
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._start = self._end = 0

    def fill(self, source: int) -> bool:
        """Reads what is there, and waits for something. False at the end."""
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._view) - self._start < messages.MAX_PACKET_BYTES + 4:
            size = self._end - self._start
            self._view[:size] = self._view[self._start : self._end]
            self._start, self._end = 0, size
        count = os.readv(source, [self._view[self._end :]])
        self._end += count
        return count > 0

    def frames(self) -> Iterator[memoryview]:
        """The whole frames that have been read; each is valid until the next :meth:`fill`."""
        while self._end - self._start >= 4:
            begin = self._start + 4
            size = int.from_bytes(self._view[self._start : begin], "big")
            if not 0 < size <= messages.MAX_PACKET_BYTES:
                raise Broken(f"the client sent a message of {size} bytes.")
            if self._end - begin < size:
                return
            self._start = begin + size
            yield self._view[begin : begin + size]


def serve(source: int, output: int) -> None:
    """Serves one client until it sends no more.

    :raises Broken: it does not speak SFTP.
    :raises OSError: it has gone.
    """
    reader, server = FrameReader(), Server(output)
    while reader.fill(source):
        try:
            for frame in reader.frames():
                server.received(frame)
        finally:
            server.flush()


def main() -> int:
    """Serves standard input and output. Answers the status to exit with."""
    os.set_blocking(0, True)
    os.set_blocking(1, True)
    try:
        serve(0, 1)
    except Broken as reason:
        os.write(2, f"sftp: {reason}\n".encode())
        return 1
    except (BrokenPipeError, ConnectionResetError):
        return 1
    return 0
