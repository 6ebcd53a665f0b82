"""The messages between the processes: each round trip, each truncation, and frames that are too long."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.login.proof import LoginProof
from teleport_conch.ssh.monitor import frames, orders
from teleport_conch.ssh.monitor.frames import MAX_FRAME_BYTES, Frame, Peer, Violation
from teleport_conch.ssh.monitor.orders import Account, Order, Program, Terminal
from teleport_conch.ssh.monitor.verifier import pack_proof, read_proof
from teleport_conch.wire import Reader, WireError

uint32 = some.integers(0, 0xFFFFFFFF)
texts = some.binary(max_size=30).filter(lambda value: b"\0" not in value).map(os.fsdecode)
accounts = some.builds(Account, texts, uint32, uint32, texts, texts)
terminals = some.builds(Terminal, texts, uint32, uint32, uint32, uint32, some.binary(max_size=30))
programs = some.builds(
    Program,
    some.none() | texts,
    some.dictionaries(texts, texts, max_size=4),
    some.none() | terminals,
    some.booleans(),
    some.integers(0, 7),
)
whole_orders = some.builds(Order, accounts, programs, texts, uint32)
blobs = some.binary(max_size=30)
proofs = some.builds(LoginProof, blobs, some.text(max_size=20), blobs, blobs, blobs, blobs)


class MessageTests(SynchronousTestCase):
    """What is packed is read again; what is cut is refused, wherever it is cut."""

    def check(self, packed: bytes, read: Callable[[bytes], object], expected: object) -> None:
        self.assertEqual(read(packed), expected)
        for cut in range(len(packed)):
            self.assertRaises(WireError, read, packed[:cut])
        self.assertRaises(WireError, read, packed + b"\0")

    @given(whole_orders)
    def test_order(self, order: Order) -> None:
        packed = orders.pack_order(order)
        expected = order._replace(program=_normal(order.program))
        self.assertEqual(orders.read_order(packed), expected)
        for cut in range(0, len(packed), 7):
            self.assertRaises(WireError, orders.read_order, packed[:cut])
        self.assertRaises(WireError, orders.read_order, packed + b"\0")

    def test_kinds(self) -> None:
        """What there is nothing of to be recorded is refused."""
        reader = Reader(orders.pack_program(Program("id", {}, traced=8)))
        problem = self.assertRaises(WireError, orders.read_program, reader)
        self.assertEqual(str(problem), "there are no kinds 8 to be recorded")

    @given(texts, texts)
    def test_refusal(self, code: str, sentence: str) -> None:
        self.check(orders.pack_refusal(code, sentence), orders.read_refusal, (code, sentence))

    @given(proofs, texts)
    def test_proof(self, proof: LoginProof, host: str) -> None:
        self.check(pack_proof(proof, host), read_proof, (proof, host))

    @given(some.lists(blobs, max_size=4))
    def test_blobs(self, many: list[bytes]) -> None:
        def read(packed: bytes) -> tuple[bytes, ...]:
            reader = Reader(packed)
            found = orders.read_blobs(reader, 4)
            reader.end()
            return found

        self.check(orders.pack_blobs(many), read, tuple(many))

    def test_bounds(self) -> None:
        """Nobody sends more of anything than there is room for."""
        self.assertRaises(WireError, orders.read_blobs, Reader(orders.pack_blobs([b""] * 5)), 4)
        variables = {f"V{number}": "" for number in range(orders.MAX_VARIABLES + 1)}
        self.assertRaises(WireError, orders.read_program, Reader(orders.pack_program(Program("id", variables))))

    def test_zero_bytes(self) -> None:
        """No name, command or variable has one, which would end it somewhere else."""
        packed = orders.pack_program(Program("id", {"A": "b"}))
        self.assertRaises(WireError, orders.read_program, Reader(packed.replace(b"id", b"i\0")))


class FrameTests(SynchronousTestCase):
    """Messages on a socket, with descriptors."""

    def setUp(self) -> None:
        ends = frames.pair()
        self.raw = ends
        self.ours, self.theirs = map(Peer, ends)
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.ours.close)

    def test_there(self) -> None:
        """Whole and in order, and nothing more."""
        for number in range(3):
            self.ours.send(Frame(7, number, b"x" * number))
        self.assertEqual([self.theirs.receive() for _ in range(4)], [*(Frame(7, n, b"x" * n) for n in range(3)), None])

    def test_descriptors(self) -> None:
        """They arrive open, are inherited by nobody, and are closed on our side."""
        reading, writing = os.pipe()
        self.ours.send(Frame(7, 1, b"", (reading, writing)))
        self.assertRaises(OSError, os.fstat, reading)
        frame = self.theirs.receive()
        assert frame is not None
        self.assertEqual([os.get_inheritable(fd) for fd in frame.descriptors], [False, False])
        frame.close()

    def test_longest(self) -> None:
        body = b"x" * (MAX_FRAME_BYTES - 5)
        self.ours.send(Frame(7, 1, body))
        self.assertEqual(self.theirs.receive(), Frame(7, 1, body))
        self.assertRaises(Violation, self.ours.send, Frame(7, 1, body + b"x"))

    def test_cut(self) -> None:
        """A message that is too short or too long is none."""
        for data in (b"\1", b"\1\0\0\0", b"x" * (MAX_FRAME_BYTES + 1)):
            self.raw[0].send(data)
            self.assertRaises(Violation, self.theirs.receive)

    def test_too_many_descriptors(self) -> None:
        """What did not fit is noticed, and what did is closed."""
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(self.raw[0], [b"\1\0\0\0\0"], [0] * (frames.MAX_DESCRIPTORS + 4))
        self.assertRaises(Violation, self.theirs.receive)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_gone(self) -> None:
        self.ours.close()
        self.assertRaises(EOFError, self.theirs.receive)

    def test_nobody_reads(self) -> None:
        """What waits is bounded, and goes when there is room."""
        for _ in range(3):
            self.ours.send(Frame(7, 1, b"x" * 100_000))
        while not self.ours.wants_write:
            self.ours.send(Frame(7, 1, b"x" * 100_000))
        self.assertIsNotNone(self.theirs.receive())
        while self.theirs.receive() is not None:
            self.ours.flush()
        self.assertFalse(self.ours.wants_write)

        def flood() -> None:
            for _ in range(frames.MAX_WAITING + 1000):
                self.ours.send(Frame(7, 1, b"x" * 1000))

        self.assertRaises(Violation, flood)


def _normal(program: Program) -> Program:
    return program._replace(environment=dict(program.environment))
