"""Ends of pipes: whole data, back-pressure, one end. Turn by turn, on a reactor that the test turns itself."""

from __future__ import annotations

import fcntl
import os
import tty
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer, IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from teleport_conch.errors import LimitExceeded
from teleport_conch.ssh import gathering
from teleport_conch.ssh.processes import pipes
from teleport_conch.ssh.processes.pipes import PipeReader, PipeWriter, grow_pipe


@implementer(IReactorFDSet)
class Turns:
    """A reactor for which every registered descriptor is ready in every turn."""

    def __init__(self) -> None:
        self.readers: list[IReadDescriptor] = []
        self.writers: list[IWriteDescriptor] = []

    def addReader(self, reader: IReadDescriptor) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: IReadDescriptor) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        raise NotImplementedError

    def getReaders(self) -> list[IReadDescriptor]:
        return self.readers

    def getWriters(self) -> list[IWriteDescriptor]:
        return self.writers

    def turn(self) -> None:
        for reader in tuple(self.readers):
            reader.doRead()
        for writer in tuple(self.writers):
            writer.doWrite()


def is_open(fd: int) -> bool:
    """Whether the number is a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class PipeCase(SynchronousTestCase):
    """A pipe whose one end is ours."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.clock = Clock()
        self.read, self.write = os.pipe()
        for fd in (self.read, self.write):
            self.addCleanup(self.close, fd)

    def close(self, fd: int) -> None:
        if is_open(fd):
            os.close(fd)


class ReaderCase(PipeCase):
    """A reader that writes down what it hears."""

    def setUp(self) -> None:
        super().setUp()
        grow_pipe(self.write)
        self.heard: list[bytes | str] = []

    def reader(self, fd: int | None = None, reads: int = 1) -> PipeReader:
        heard = self.heard.append
        reader = PipeReader(self.turns, self.clock, fd or self.read, heard, lambda: heard("end"), reads)
        self.addCleanup(reader.stopProducing)
        return reader


class ReaderTests(ReaderCase):
    """Reading a pipe."""

    def test_interfaces(self) -> None:
        """It can be given to a reactor and to a consumer."""
        reader = self.reader()
        verifyObject(IReadDescriptor, reader)
        verifyObject(IPushProducer, reader)

    def test_pieces_and_end(self) -> None:
        """Each turn gives what is there; the end comes once, after the last piece, and closes the descriptor."""
        self.reader()
        os.write(self.write, b"one")
        self.turns.turn()
        self.turns.turn()
        os.write(self.write, b"two")
        os.close(self.write)
        for _ in range(3):
            self.turns.turn()
        self.assertEqual(self.heard, [b"one", b"two", "end"])
        self.assertFalse(is_open(self.read))
        self.assertEqual(self.turns.readers, [])

    def test_reads_grow_and_shrink(self) -> None:
        """A full buffer is answered with a larger one, a small piece with the small one."""
        self.reader()
        os.write(self.write, bytes(900_000))
        sizes: list[int] = []
        while not sizes or sum(sizes) < 900_000:
            self.turns.turn()
            sizes = [len(piece) for piece in self.heard]
        self.assertEqual(sizes, [65536, 262144, 262144, 262144, 48032])
        os.write(self.write, bytes(100_000))
        self.turns.turn()
        self.assertEqual(len(self.heard[-1]), 65536)

    def test_pause(self) -> None:
        """A paused reader leaves all of it in the pipe, and takes it up again."""
        reader = self.reader()
        reader.pauseProducing()
        os.write(self.write, b"later")
        self.turns.turn()
        self.assertEqual(self.heard, [])
        reader.resumeProducing()
        self.turns.turn()
        self.assertEqual(self.heard, [b"later"])

    def test_pause_while_receiving(self) -> None:
        """The consumer may pause, and stop, from within the call."""
        reader = PipeReader(self.turns, self.clock, self.read, lambda _: reader.pauseProducing(), self.fail)
        os.write(self.write, b"x")
        self.turns.turn()
        self.assertEqual(self.turns.readers, [])
        reader.stopProducing()
        reader.resumeProducing()
        self.assertEqual(self.turns.readers, [])
        self.assertFalse(reader.open)

    def stream(self, *sizes: int) -> None:
        """A program writes, and each time is read at once."""
        for size in sizes:
            os.write(self.write, bytes(size))
            self.turns.turn()

    def test_stream_gathers(self) -> None:
        """Behind several reads of a stream, what comes within a millisecond is one piece."""
        self.reader()
        self.stream(4096, 8192, 4096, 4096, 20_000)
        self.assertEqual([len(piece) for piece in self.heard], [4096, 8192, 4096])
        self.clock.advance(gathering.REST_S)
        self.turns.turn()
        self.assertEqual(len(self.heard[-1]), 24_096)
        self.assertEqual((self.turns.readers, len(self.clock.getDelayedCalls())), ([], 1))

    def test_full_read_does_not_wait(self) -> None:
        """While there is more, it is read."""
        self.reader()
        os.write(self.write, bytes(600_000))
        for _ in range(4):
            self.turns.turn()
        self.assertEqual(sum(map(len, self.heard)), 600_000)

    def test_answers_do_not_wait(self) -> None:
        """What comes in small pieces, also between large ones, is read at once."""
        self.reader()
        self.stream(4096, 4096, 100, 4096, 4096, 100, *[4095] * 10)
        self.assertEqual((len(self.heard), self.clock.getDelayedCalls()), (16, []))

    def test_pause_while_gathering(self) -> None:
        """Who pauses meanwhile is given nothing when the time is over, and everything when it resumes."""
        reader = self.reader()
        self.stream(4096, 4096, 4096)
        reader.pauseProducing()
        self.clock.advance(gathering.REST_S)
        self.stream(5000)
        self.assertEqual(len(self.heard), 3)
        reader.resumeProducing()
        self.turns.turn()
        self.assertEqual(len(self.heard[-1]), 5000)

    def test_resume_while_gathering(self) -> None:
        """To resume does not shorten it."""
        reader = self.reader()
        self.stream(4096, 4096, 4096)
        reader.pauseProducing()
        reader.resumeProducing()
        self.assertEqual(self.turns.readers, [])

    def test_stop_while_gathering(self) -> None:
        """No timer is left behind."""
        reader = self.reader()
        self.stream(4096, 4096, 4096)
        reader.stopProducing()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_reader_is_silent(self) -> None:
        """After stopProducing nothing is heard, not even the end."""
        reader = self.reader()
        os.write(self.write, b"x")
        reader.stopProducing()
        reader.stopProducing()
        reader.connectionLost(Failure(OSError()))
        self.turns.turn()
        self.assertEqual(self.heard, [])

    def test_lost(self) -> None:
        """The reactor reports a hang-up by itself when nothing is left to read: that is the end."""
        reader = self.reader()
        reader.connectionLost(Failure(OSError()))
        self.assertEqual(self.heard, ["end"])

    def test_drain(self) -> None:
        """What is there is delivered although paused, then it ends; others may hold the pipe open."""
        reader = self.reader()
        reader.pauseProducing()
        os.write(self.write, b"x" * 500_000)
        reader.drain(1 << 20)
        self.assertEqual(self.heard[-1], "end")
        self.assertEqual(b"".join(piece for piece in self.heard if isinstance(piece, bytes)), b"x" * 500_000)

    def test_drain_is_bounded(self) -> None:
        """No more than the limit, however much there is."""
        os.write(self.write, b"x" * 500_000)
        self.reader().drain(300_000)
        self.assertEqual([len(piece) for piece in self.heard], [262144, 37856, 3])

    def test_stop_while_draining(self) -> None:
        """The consumer may stop the reader from within a drain."""
        reader = PipeReader(self.turns, self.clock, self.read, lambda _: reader.stopProducing(), self.fail)
        os.write(self.write, b"x" * 500_000)
        reader.drain(1 << 20)
        self.assertFalse(reader.open)


class TerminalReaderTests(ReaderCase):
    """Reading the master side of a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        for fd in (self.master, self.slave):
            self.addCleanup(self.close, fd)

    def test_gathers(self) -> None:
        """Several small reads make one piece."""
        self.reader(self.master, reads=16)
        os.set_blocking(self.slave, False)
        written = sum(os.write(self.slave, bytes(5000)) for _ in range(2))
        self.assertGreater(written, 4096)
        self.turns.turn()
        self.assertEqual([len(piece) for piece in self.heard], [written])

    def test_closed_terminal(self) -> None:
        """EIO, when nobody has the slave side open any more, is the end and no error; what was written comes first."""
        self.reader(self.master, reads=16)
        os.write(self.slave, b"bye")
        os.close(self.slave)
        self.turns.turn()
        self.turns.turn()
        self.assertEqual(self.heard, [b"bye", "end"])


class WriterCase(PipeCase):
    """A writer to a pipe of 64 KiB."""

    def setUp(self) -> None:
        super().setUp()
        self.drained = 0
        fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, 65536)
        os.set_blocking(self.read, False)

    def writer(self, drained: Callable[[], None] | None = None) -> PipeWriter:
        writer = PipeWriter(self.turns, self.write, drained or self._drained)
        self.addCleanup(writer.abort)
        return writer

    def _drained(self) -> None:
        self.drained += 1

    def everything(self) -> bytes:
        """Read and turn until the pipe is empty and nothing more comes."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = os.read(self.read, 1 << 20)
            except BlockingIOError:
                piece = b""
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            self.turns.turn()


class WriterTests(WriterCase):
    """Writing to a pipe."""

    def test_interface(self) -> None:
        """It can be given to a reactor."""
        verifyObject(IWriteDescriptor, self.writer())

    def test_at_once(self) -> None:
        """What fits does not wait for a turn."""
        self.assertTrue(self.writer().write(b"now"))
        self.assertEqual(os.read(self.read, 10), b"now")
        self.assertEqual(self.turns.writers, [])

    def test_stream(self) -> None:
        """The packets of a stream wait for each other, and wake the program once."""
        writer = self.writer()
        for _ in range(4):
            self.assertTrue(writer.write(bytes(10_000)))
        self.assertRaises(BlockingIOError, os.read, self.read, 1)
        self.turns.turn()
        self.assertEqual(os.read(self.read, 65536), bytes(40_000))
        self.assertEqual(self.turns.writers, [])

    def test_order_and_all(self) -> None:
        """Any number of pieces of any size arrives in order."""
        writer = self.writer()
        sent = [bytes([number % 251]) * (number * 37 % 9000) for number in range(200)]
        for piece in sent:
            writer.write(piece)
        self.assertEqual(self.everything(), b"".join(sent))
        self.assertEqual(self.turns.writers, [])

    def test_asks_to_wait(self) -> None:
        """Above the high mark the answer is no; below the low mark the producer is told, once."""
        writer = self.writer()
        answers = [writer.write(bytes(100_000)) for _ in range(12)]
        self.assertEqual(answers, [True] * 11 + [False])
        self.assertFalse(writer.write(b"x"))
        for _ in range(3):
            self.turns.turn()
        self.assertEqual(self.drained, 0)
        self.assertEqual(len(self.everything()), 1_200_001)
        self.assertEqual(self.drained, 1)
        self.assertTrue(writer.write(b"x"))

    def test_bounded(self) -> None:
        """A producer that does not wait is refused; what was taken is kept."""
        writer = self.writer()
        for _ in range(8):
            writer.write(bytes(1 << 20))
        refusal = self.assertRaises(LimitExceeded, writer.write, bytes(1 << 20))
        self.assertEqual(
            refusal.sentence, f"The input of the session exceeds the {pipes.BUFFER_BYTES} bytes that are held for it."
        )
        self.assertEqual(len(self.everything()), 8 << 20)

    def test_close_flushes(self) -> None:
        """End of file comes after the last byte."""
        writer = self.writer()
        writer.write(bytes(300_000))
        writer.close()
        self.assertFalse(writer.open)
        self.assertTrue(writer.write(b"too late"))
        self.assertEqual(len(self.everything()), 300_000)
        self.assertFalse(is_open(self.write))
        self.assertEqual(os.read(self.read, 1), b"")

    def test_close_when_empty(self) -> None:
        """With nothing to write it is closed at once, and once."""
        writer = self.writer()
        writer.close()
        writer.close()
        self.assertFalse(is_open(self.write))

    def test_abort_drops(self) -> None:
        """What was not written is dropped, and a waiting producer is let go."""
        writer = self.writer()
        writer.write(bytes(2 << 20))
        writer.abort()
        writer.abort()
        self.assertEqual(self.drained, 1)
        self.assertEqual(self.turns.writers, [])
        self.assertFalse(is_open(self.write))

    def test_reader_gone(self) -> None:
        """EPIPE is no error: the rest is dropped, a waiting producer is let go, later writes are nothing."""
        writer = self.writer()
        writer.write(bytes(2 << 20))
        os.close(self.read)
        self.turns.turn()
        self.assertEqual(self.drained, 1)
        self.assertFalse(is_open(self.write))
        self.assertTrue(writer.write(b"x"))

    def test_reader_gone_before(self) -> None:
        """Also when the first write meets it."""
        writer = self.writer()
        os.close(self.read)
        self.assertTrue(writer.write(bytes(2 << 20)))
        self.assertEqual(self.drained, 0)

    def test_lost(self) -> None:
        """The reactor reports the same by itself."""
        writer = self.writer()
        writer.write(bytes(2 << 20))
        writer.connectionLost(Failure(OSError()))
        self.assertEqual(self.drained, 1)
