"""Frames between the processes of a server: whole messages over a Unix socket, with descriptors.

``SOCK_SEQPACKET`` keeps the bounds of messages, and a message that is too long is cut and noticed. A frame is ``byte
kind, uint32 number, body``; the number of an answer is that of its request.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from teleport_conch import wire

MAX_FRAME_BYTES = 160 << 10
"""Longest frame, in bytes: a command of 128 KiB, which is all that the kernel takes, with its environment."""

MAX_DESCRIPTORS = 4
_DESCRIPTOR = struct.Struct("i")
_ROOM = socket.CMSG_SPACE(MAX_DESCRIPTORS * _DESCRIPTOR.size)
MAX_WAITING = 1024
"""Frames that wait for a reader; one that leaves more is cut off."""


class Violation(Exception):
    """The other side does not keep to what frames are."""


class Frame(NamedTuple):
    """One message; who takes it owns the descriptors."""

    kind: int
    number: int
    body: bytes
    descriptors: tuple[int, ...] = ()

    def packed(self) -> bytes:
        """What is sent beside the descriptors."""
        return wire.byte(self.kind) + wire.uint32(self.number) + self.body

    def close(self) -> None:
        """Closes descriptors that nobody wants."""
        for fd in self.descriptors:
            os.close(fd)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that take frames of the full length and never block."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        prepare(end)
    return ends


def prepare(end: socket.socket) -> None:
    """Makes an end that was inherited as :func:`pair` makes them."""
    end.setblocking(False)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_FRAME_BYTES)


class Peer:
    """Our end of a pair, with what could not be sent yet."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()

    def fileno(self) -> int:
        return self._end.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether :meth:`flush` is due when the socket takes more."""
        return bool(self._waiting)

    @property
    def waiting(self) -> int:
        """Frames that the other side has not taken yet."""
        return len(self._waiting)

    def send(self, frame: Frame) -> None:
        """Sends ``frame`` or keeps it; its descriptors are closed here once they are sent.

        :raises Violation: the other side does not read.
        """
        data = frame.packed()
        if len(data) > MAX_FRAME_BYTES or len(self._waiting) >= MAX_WAITING:
            frame.close()
            raise Violation("a frame that is too long, or too many that nobody reads")
        self._waiting.append((data, frame.descriptors))
        self.flush()

    def flush(self) -> None:
        """Sends what waits, as far as it goes. A side that has gone is noticed when it is read from."""
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                socket.send_fds(self._end, [data], descriptors)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                pass
            self._waiting.popleft()
            for fd in descriptors:
                os.close(fd)

    def receive(self) -> Frame | None:
        """The next frame; None when there is none now.

        :raises EOFError: the other side has gone.
        :raises Violation: it sent what is no frame.
        """
        try:
            # Not recv_fds: before Python 3.12 it forgets its flags, and programs would inherit the descriptors.
            data, passed, flags, _ = self._end.recvmsg(MAX_FRAME_BYTES, _ROOM, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionError:
            raise EOFError from None
        if not data:
            raise EOFError
        descriptors = tuple(number for _, _, packed in passed for (number,) in _DESCRIPTOR.iter_unpack(packed))
        frame = Frame(data[0], int.from_bytes(data[1:5], "big"), data[5:], descriptors)
        if len(data) < 5 or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            frame.close()
            raise Violation("a frame that is cut")
        return frame

    def close(self) -> None:
        """Closes the end and everything that waits for it."""
        for _, descriptors in self._waiting:
            for fd in descriptors:
                with suppress(OSError):
                    os.close(fd)
        self._waiting.clear()
        self._end.close()
