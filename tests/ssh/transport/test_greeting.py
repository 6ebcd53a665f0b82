"""The exchange of versions: what each side may say, and how much of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.transport.greeting import MAX_LINES_BEFORE, Greeting, GreetingRefused
from tests.ssh.transport.test_packets import cut

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=4)


class GreetingTests(SynchronousTestCase):
    def version(self, data: bytes, of_server: bool = False) -> bytes:
        greeting = Greeting(of_server)
        self.assertIsNotNone(greeting.feed(data))
        return greeting.version

    def refused(self, data: bytes, of_server: bool = False, reason: int = 2) -> str:
        problem = self.assertRaises(GreetingRefused, Greeting(of_server).feed, data)
        self.assertEqual(problem.reason, reason)
        return str(problem)

    def test_versions(self) -> None:
        """The line without its end, which may lack the carriage return."""
        for line in (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"SSH-2.0-x\n", b"SSH-2.0-\r\n"):
            for of_server in (False, True):
                self.assertEqual(self.version(line, of_server), line.rstrip(b"\r\n"))

    @given(SIZES, st.booleans())
    def test_in_pieces(self, sizes: list[int], of_server: bool) -> None:
        """However it is cut, what follows the version is what follows it."""
        data = (b"Welcome.\r\n\r\n" if of_server else b"") + b"SSH-2.0-client\r\n" + bytes(range(256))
        greeting, rest = Greeting(of_server), b""
        for piece in cut(data, sizes):
            rest += (piece if greeting.version else greeting.feed(piece)) or b""
        self.assertEqual((greeting.version, rest), (b"SSH-2.0-client", bytes(range(256))))

    def test_only_servers_say_more(self) -> None:
        """A client's first byte is the first of its version, and nobody waits for the rest to find out otherwise."""
        for start in (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", b"GET / HTTP/1.1\r\n", b"\r\n", b"SSH:", b"\0", b"S\n"):
            self.assertEqual(self.refused(start), "a client begins with its version, SSH-2.0")
        self.assertEqual(self.version(b"Go away.\r\n\nSSH-2.0-x\r\n", True), b"SSH-2.0-x")

    def test_length(self) -> None:
        """T12: a line that does not end is given up, however small its pieces are."""
        self.assertEqual(self.version(b"SSH-2.0-" + b"x" * 245 + b"\r\n"), b"SSH-2.0-" + b"x" * 245)
        for of_server in (False, True):
            sentence = self.refused(b"SSH-2.0-" + b"x" * 246 + b"\r\n", of_server)
            self.assertEqual(sentence, "a version of more than 255 bytes")
            self.refused(b"SSH-2.0-" + b"x" * 10_000_000, of_server)
        greeting = Greeting(False)
        for _ in range(255):
            self.assertIsNone(greeting.feed(b"SSH-"[len(greeting._line) : len(greeting._line) + 1] or b"x"))
        self.assertRaises(GreetingRefused, greeting.feed, b"x")

    def test_lines_before(self) -> None:
        """T12: nor are lines without end, nor a line without end, in front of a server's version."""
        lines = b"Welcome.\r\n" * MAX_LINES_BEFORE
        self.assertEqual(self.version(lines + b"SSH-2.0-x\n", True), b"SSH-2.0-x")
        self.assertEqual(self.refused(lines + b"once more\n", True), "more than 32 lines in front of the version")
        for size in (1025, 10_000_000):
            sentence = self.refused(b"x" * size, True)
            self.assertEqual(sentence, "a line of more than 1024 bytes in front of the version")

    def test_other_versions(self) -> None:
        """SSH 1 is not spoken; 1.99 is what servers say that speak both."""
        for spoken in ("1.5-old", "3.0-new", "2.0", ""):
            sentence = self.refused(f"SSH-{spoken}\n".encode(), reason=8)
            self.assertEqual(sentence, f"version {spoken.partition('-')[0]} of SSH is not spoken here, only 2.0")
        self.assertEqual(self.version(b"SSH-1.99-both\n", True), b"SSH-1.99-both")
        self.assertIn("1.99", self.refused(b"SSH-1.99-both\n", reason=8))

    def test_letters(self) -> None:
        """Versions come into logs and hashes: printable ASCII, and nothing else."""
        for letter in (b"\0", b"\x1b", b"\x7f", b"\xe4", b"\t", b"\r"):
            sentence = self.refused(b"SSH-2.0-a" + letter + b"b\r\n")
            self.assertEqual(sentence, "a version that is not printable ASCII")

    @given(st.binary(max_size=3000), st.booleans(), SIZES)
    def test_anything(self, data: bytes, of_server: bool, sizes: list[int]) -> None:
        """Whatever comes is a version, the beginning of one, or a refusal; and little is kept."""
        greeting = Greeting(of_server)
        try:
            for piece in cut(data, sizes):
                if greeting.feed(piece) is not None:
                    break
        except GreetingRefused:
            return
        self.assertLessEqual(len(greeting._line), 1024)
