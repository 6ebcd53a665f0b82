"""Instructions, against the bytes that the kernel's own documents have for them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.tracing.assembler import (
    ADD,
    BITS,
    DOUBLE,
    EQUAL,
    FRAME,
    HALF,
    LESS,
    MOVE,
    R0,
    R1,
    R2,
    R6,
    WORD,
    Assembler,
)


class AssemblerTests(SynchronousTestCase):
    def test_encodings(self) -> None:
        """Opcode, registers, offset and number of each form (RFC 9669)."""
        cases: tuple[tuple[Callable[[Assembler], None], str], ...] = (
            (lambda it: it.calculate(MOVE, R0, 0), "b700000000000000"),
            (lambda it: it.calculate(ADD, R2, -8), "07020000f8ffffff"),
            (lambda it: it.combine(MOVE, R6, R1), "bf16000000000000"),
            (lambda it: it.load(DOUBLE, R1, R6, 16), "7961100000000000"),
            (lambda it: it.load(HALF, R1, R6, 26), "69611a0000000000"),
            (lambda it: it.store(WORD, FRAME, -4, R0), "630afcff00000000"),
            (lambda it: it.store_number(DOUBLE, FRAME, -8, 7), "7a0af8ff07000000"),
            (lambda it: it.add_atomically(R0, 40, R1), "db10280000000000"),
            (lambda it: it.load_map(R1, 5), "18110000050000000000000000000000"),
            (lambda it: it.call(14), "850000000e000000"),
            (lambda it: it.leave(), "9500000000000000"),
        )
        for write, encoded in cases:
            it = Assembler()
            write(it)
            self.assertEqual(it.assembled().hex(), encoded)

    def test_jumps(self) -> None:
        """A jump counts from the instruction behind it, forwards and backwards, and a map counts as two."""
        it = Assembler()
        it.jump_if(R0, EQUAL, 0, "end")
        it.label("again")
        it.load_map(R1, 3)
        it.jump_if_register(R1, LESS, R2, "again")
        it.jump_if(R1, BITS, 4, "end")
        it.jump("end")
        it.label("end")
        it.leave()
        code = it.assembled()
        jumps = [code[at : at + 8].hex() for at in (0, 24, 32, 40)]
        self.assertEqual(jumps, ["1500050000000000", "cd21fdff00000000", "4501010004000000", "0500000000000000"])

    def test_labels(self) -> None:
        """One that is missing, or there twice, is a mistake of ours."""
        it = Assembler()
        it.jump("nowhere")
        self.assertRaises(KeyError, it.assembled)
        it.label("here")
        self.assertRaises(ValueError, it.label, "here")
