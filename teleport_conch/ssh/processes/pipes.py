"""Our ends of a child's pipes and terminal, driven by the reactor, with back-pressure in both directions.

Twisted's own process pipes read 8 KiB at a time and buffer what they write without a bound. These read up to 256 KiB,
stop reading while paused (so that the child is held by the full pipe), and tell the writing side when to wait.
Each end owns its descriptor, and closes it once.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from twisted.internet.interfaces import IPushProducer, IReactorFDSet, IReactorTime, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.errors import LimitExceeded
from teleport_conch.ssh.gathering import Gathering

PIPE_BYTES = 1 << 20
"""What a pipe holds, where the kernel's limit for the account allows it (64 KiB by default)."""

SMALL_READ_BYTES = 64 << 10
LARGE_READ_BYTES = 256 << 10
"""Size of a read. A large buffer costs 20 microseconds even for one byte, so it is used while reads come back full."""

HIGH_WATER_BYTES = 1 << 20
LOW_WATER_BYTES = 256 << 10
"""A writer asks its producer to wait above the one, and to go on at or below the other."""

BUFFER_BYTES = 8 << 20
"""What a writer holds at most, for a producer that does not wait."""

STREAM_PIECES = range(8 << 10, (32 << 10) + 1)
"""Input of these lengths is taken for a packet of a stream, which others follow at once."""

_CHUNKS_A_WRITE = 64
"""Buffered chunks that go into one ``writev`` (the kernel takes 1,024)."""


def grow_pipe(fd: int) -> None:
    """Let the pipe hold :data:`PIPE_BYTES`; where the kernel refuses (``pipe-user-pages-soft``), it stays as it is."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


@implementer(IReadDescriptor, IPushProducer)
class PipeReader:
    """Reads a pipe or the master side of a terminal until it ends.

    :param clock: for the moments in which what comes gathers.
    :param fd: the descriptor; made non-blocking, and closed at the end.
    :param received: called with each piece that was read.
    :param ended: called once, after the last piece: end of file, or ``EIO`` of a terminal that nobody has open.
    :param reads: how often to read in one turn of the reactor. A terminal gives 4 KiB a read, a pipe all it has.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        fd: int,
        received: Callable[[bytes], None],
        ended: Callable[[], None],
        reads: int = 1,
    ) -> None:
        self._reactor = reactor
        self._fd = fd
        self._received = received
        self._ended = ended
        self._reads = reads
        self._size = SMALL_READ_BYTES
        self._paused = False
        self._gathering = Gathering(clock, SMALL_READ_BYTES, self._rest, self._go_on)
        os.set_blocking(fd, False)
        reactor.addReader(self)

    @property
    def open(self) -> bool:
        """Whether anything can still come."""
        return self._fd >= 0

    def pauseProducing(self) -> None:
        """Leave what comes in the pipe."""
        self._paused = True
        if self.open:
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        """Read again."""
        self._paused = False
        if self.open and not self._gathering.resting:
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        """Close without another call of ``received`` or ``ended``."""
        if self.open:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1
        self._gathering.stop()

    def drain(self, limit: int) -> None:
        """Deliver what can be read at this moment, ``limit`` bytes at most and paused or not, then end."""
        while self.open and limit > 0 and (data := self._read(min(limit, LARGE_READ_BYTES))):
            limit -= len(data)
            self._received(data)
        self._end()

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "session output"

    def doRead(self) -> Failure | None:
        """One turn: deliver what is there, or notice the end."""
        data = self._read(self._size)
        if data == b"":
            self._end()
        elif data:
            self._received(data if self._reads == 1 else self._with_more(data))
            if self.open and not self._paused:
                self._gathering.came(len(data))
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The reactor saw that the other side is gone and nothing is left to read."""
        self._end()

    def _rest(self) -> None:
        self._reactor.removeReader(self)

    def _go_on(self) -> None:
        if not self._paused:
            self._reactor.addReader(self)

    def _with_more(self, first: bytes) -> bytes:
        pieces = [first]
        while len(pieces) < self._reads and (data := self._read(SMALL_READ_BYTES)):
            pieces.append(data)
        return b"".join(pieces)

    def _read(self, size: int) -> bytes | None:
        """What is there; ``b""`` at the end, None when there is nothing yet."""
        try:
            data = os.read(self._fd, size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""
        self._size = LARGE_READ_BYTES if len(data) >= SMALL_READ_BYTES else SMALL_READ_BYTES
        return data

    def _end(self) -> None:
        if self.open:
            self.stopProducing()
            self._ended()


@implementer(IWriteDescriptor)
class PipeWriter:
    """Writes to a pipe or the master side of a terminal, and keeps what does not fit yet.

    A reader that has gone (``EPIPE``, or ``EIO`` of a terminal) is no error: what is written from then on is dropped,
    as nobody will ever read it.

    :param fd: the descriptor; made non-blocking, and closed at the end.
    :param drained: called when a :meth:`write` that answered False has been caught up with.
    """

    def __init__(self, reactor: IReactorFDSet, fd: int, drained: Callable[[], None]) -> None:
        self._reactor = reactor
        self._fd = fd
        self._drained = drained
        self._chunks: deque[bytes | memoryview] = deque()
        self._buffered = 0
        self._owes_drained = False
        self._closing = False
        os.set_blocking(fd, False)

    @property
    def open(self) -> bool:
        """Whether what is written can still arrive."""
        return self._fd >= 0 and not self._closing

    def write(self, data: bytes) -> bool:
        """Send ``data``, in order. False asks the producer to wait for ``drained``.

        :raises LimitExceeded: the producer did not wait, and :data:`BUFFER_BYTES` are full.
        """
        if not self.open or not data:
            return True
        if self._buffered + len(data) > BUFFER_BYTES:
            raise LimitExceeded(f"The input of the session exceeds the {BUFFER_BYTES} bytes that are held for it.")
        self._chunks.append(data)
        self._buffered += len(data)
        if len(self._chunks) == 1:
            self._begin(len(data))
        self._owes_drained = self._buffered > HIGH_WATER_BYTES or self._owes_drained
        return not self._owes_drained

    def close(self) -> None:
        """No more input: close when everything has been written."""
        self._closing = True
        if not self._chunks:
            self.abort()

    def abort(self) -> None:
        """Close at once and drop what has not been written."""
        if self._fd < 0:
            return
        self._reactor.removeWriter(self)
        os.close(self._fd)
        self._fd = -1
        self._chunks.clear()
        self._buffered = 0
        self._tell_drained()

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "session input"

    def doWrite(self) -> Failure | None:
        """One turn: write what fits."""
        self._flush()
        if self._buffered <= LOW_WATER_BYTES:
            self._tell_drained()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The reactor saw that the reader is gone."""
        self.abort()

    def _begin(self, size: int) -> None:
        """A packet of a stream waits for the others that were read with it, so that the program wakes up once."""
        if size in STREAM_PIECES:
            self._reactor.addWriter(self)
        else:
            self._flush()

    def _flush(self) -> None:
        try:
            written = os.writev(self._fd, tuple(islice(self._chunks, _CHUNKS_A_WRITE)))
        except (BlockingIOError, InterruptedError):
            written = 0
        except OSError:
            self.abort()
            return
        self._discard(written)
        if self._chunks:
            self._reactor.addWriter(self)
        elif self._closing:
            self.abort()
        else:
            self._reactor.removeWriter(self)

    def _discard(self, written: int) -> None:
        self._buffered -= written
        while self._chunks and written >= len(self._chunks[0]):
            written -= len(self._chunks.popleft())
        if written:
            self._chunks[0] = memoryview(self._chunks[0])[written:]

    def _tell_drained(self) -> None:
        if self._owes_drained:
            self._owes_drained = False
            self._drained()
