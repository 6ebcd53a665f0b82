"""Compression: whole, at once, and never more than a packet may hold."""

from __future__ import annotations

import contextlib
import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.transport.compression import CompressionRefused, Deflater, Inflater


class CompressionTests(SynchronousTestCase):
    @given(st.lists(st.binary(min_size=1, max_size=200), max_size=20))
    def test_round_trip(self, payloads: list[bytes]) -> None:
        """Each payload comes out of what was made of it, without those that follow."""
        deflater, inflater = Deflater(), Inflater(200)
        for payload in payloads:
            self.assertEqual(inflater.inflate(deflater.deflate(payload)), payload)

    def test_learns(self) -> None:
        """What was said before is said shorter."""
        deflater = Deflater()
        first, again = (len(deflater.deflate(b"The quick brown fox jumps.")) for _ in range(2))
        self.assertLess(again, first / 2)

    def refused(self, data: bytes, max_bytes: int = 1000) -> str:
        problem = self.assertRaises(CompressionRefused, Inflater(max_bytes).inflate, data)
        self.assertEqual(problem.reason, 6)
        return str(problem)

    def test_bomb(self) -> None:
        """T11: what would become too long is given up at the limit, without the memory for the rest."""
        bomb = zlib.compress(bytes(20 << 20))
        self.assertLess(len(bomb), 32 << 10)
        self.assertEqual(self.refused(bomb, 256 << 10), "a packet decompresses to more than 262144 bytes")
        exact = Deflater().deflate(bytes(1000))
        self.assertEqual(Inflater(1000).inflate(exact), bytes(1000))
        self.assertEqual(self.refused(Deflater().deflate(bytes(1001))), "a packet decompresses to more than 1000 bytes")

    def test_malformed(self) -> None:
        """What is no compressed data at all, what is nothing, and what goes on behind its own end."""
        self.assertEqual(self.refused(b"\xff\xff\xff\xff"), "a packet cannot be decompressed")
        self.assertEqual(self.refused(b""), "a packet decompresses to nothing")
        ended = Inflater(1000)
        ended.inflate(zlib.compress(b"the end"))
        self.assertRaises(CompressionRefused, ended.inflate, b"more")

    @given(st.binary(max_size=100))
    def test_anything(self, data: bytes) -> None:
        """Whatever arrives, there is a payload or that refusal."""
        with contextlib.suppress(CompressionRefused):
            self.assertTrue(0 < len(Inflater(1000).inflate(data)) <= 1000)
