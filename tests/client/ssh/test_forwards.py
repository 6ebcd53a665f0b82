"""What -L, -R and -D mean, what a client of SOCKS asks for, and which keys are tsh's own."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.ssh import socks
from teleport_conch.client.ssh.forwards import Forward, parse_dynamic, parse_forward
from teleport_conch.client.ssh.terminal import Escapes
from teleport_conch.errors import BadParameter


class ForwardTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """As ssh(1) has them: loopback unless an address is named, everywhere for an empty one or a star."""
        for text, expected in (
            ("80:web:8080", Forward("127.0.0.1", 80, "web", 8080)),
            ("10.0.0.1:80:web:8080", Forward("10.0.0.1", 80, "web", 8080)),
            (":80:web:8080", Forward("0.0.0.0", 80, "web", 8080)),
            ("*:80:web:8080", Forward("0.0.0.0", 80, "web", 8080)),
            ("[::1]:80:[fe80::1]:8080", Forward("::1", 80, "fe80::1", 8080)),
        ):
            self.assertEqual(parse_forward(text), expected)
        self.assertEqual(parse_dynamic("1080"), Forward("127.0.0.1", 1080))
        self.assertEqual(parse_dynamic("[::1]:1080"), Forward("::1", 1080))

    def test_refused(self) -> None:
        for text in ("", "80", "80:web", "80:web:x", "99999:web:1", "80::1", "a:b:c:d:e", "80:web:1:", "[::1:80:a:1"):
            problem = self.assertRaises(BadParameter, parse_forward, text)
            self.assertIn("is not a forward: write -L or -R [BIND:]PORT:HOST:PORT", problem.sentence)
        for text in ("", "x", "a:b", "1:2:3"):
            self.assertRaises(BadParameter, parse_dynamic, text)


class SocksTests(SynchronousTestCase):
    def test_greeting(self) -> None:
        self.assertEqual(socks.greeting_size(b"\x05\x02\x00\x01rest"), 4)
        for part in (b"", b"\x05", b"\x05\x02\x00"):
            self.assertEqual(socks.greeting_size(part), 0)
        for other in (b"\x04\x01", b"GET / ", b"\x05\x01\x02"):
            self.assertRaises(BadParameter, socks.greeting_size, other)

    def test_targets(self) -> None:
        """A name, and addresses of both kinds; what follows is not looked at."""
        for data, host in (
            (b"\x05\x01\x00\x03\x04web1", "web1"),
            (b"\x05\x01\x00\x01\x0a\x00\x00\x01", "10.0.0.1"),
            (b"\x05\x01\x00\x04" + b"\0" * 15 + b"\x01", "::1"),
        ):
            whole = data + b"\x00\x50"
            self.assertEqual(socks.target(whole + b"more"), socks.Target(host, 80, len(whole)))
            for cut in range(len(whole)):
                self.assertIsNone(socks.target(whole[:cut]))

    def test_refused(self) -> None:
        for data in (
            b"\x05\x02\x00\x01\x7f\0\0\1\0\1",
            b"\x04\x01\x00\x01\x7f\0\0\1\0\1",
            b"\x05\x01\x00\x02\x7f\0\0\1\0\1",
            b"\x05\x01\x00\x03\x02a\n\0\1",
            b"\x05\x01\x00\x03\x01\xff\0\1",
        ):
            self.assertRaises(BadParameter, socks.target, data)

    @given(st.binary(max_size=300))
    def test_anything(self, data: bytes) -> None:
        """Whatever is sent, the answer is a target, a wish for more, or a refusal."""
        for read in (socks.greeting_size, socks.target):
            with contextlib.suppress(BadParameter):
                read(data)


class EscapeTests(SynchronousTestCase):
    def taken(self, *pieces: bytes) -> tuple[bytes, bool, bool]:
        escapes, data = Escapes(), b""
        for piece in pieces:
            found = escapes.take(piece)
            data += found.data
            if found.ends or found.help:
                return data, found.ends, found.help
        return data, False, False

    def test_end(self) -> None:
        """At the start and behind a new line, in one piece or key by key."""
        for pieces in ((b"~.",), (b"~", b"."), (b"ls\r~.",), (b"ls\r", b"~", b".")):
            self.assertTrue(self.taken(*pieces)[1], pieces)

    def test_elsewhere(self) -> None:
        """In the middle of a line a tilde is a tilde."""
        self.assertEqual(self.taken(b"cd ~.\r"), (b"cd ~.\r", False, False))

    def test_help(self) -> None:
        self.assertEqual(self.taken(b"\r~?"), (b"\r", False, True))

    def test_tilde(self) -> None:
        self.assertEqual(self.taken(b"~~x"), (b"~x", False, False))
        self.assertEqual(self.taken(b"~x"), (b"~x", False, False))

    @given(st.binary(max_size=64), st.integers(0, 64))
    def test_pieces(self, data: bytes, cut: int) -> None:
        """How keys are cut into pieces makes no difference."""
        self.assertEqual(self.taken(data), self.taken(data[:cut], data[cut:]))
