"""The server name that a client asks for: found in every real hello, and what is none is refused."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.https.client_hello import MAX_HELLO_BYTES, MAX_RECORDS, ClientHello, HelloRefused, read_hello
from tests.https.hellos import body, extension, hello, made, message, record, server_name, vector

NAME = "proxy.example.com"


class HelloTests(SynchronousTestCase):
    def found(self, data: bytes) -> str:
        read = read_hello(data)
        assert read is not None
        return read.server_name

    def refused(self, data: bytes) -> str:
        return str(self.assertRaises(HelloRefused, read_hello, data))

    def test_real(self) -> None:
        """Of TLS 1.2 and 1.3, with a name and without one, in whatever case it is asked for."""
        for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(read_hello(hello(NAME, newest)), ClientHello(NAME))
            self.assertEqual(read_hello(hello("", newest)), ClientHello(""))
        self.assertEqual(self.found(made(server_name(b"Proxy.Example.COM"))), NAME)

    def test_truncated(self) -> None:
        """Every beginning of it waits for more."""
        whole = hello(NAME)
        for end in range(len(whole)):
            self.assertIs(read_hello(whole[:end]), None)

    def test_records(self) -> None:
        """One message may come in several records, and every beginning of those waits, too."""
        sent = message(body(server_name(NAME.encode())))
        pieces = [sent[:1], sent[1:4], sent[4:30], sent[30:]]
        spread = b"".join(map(record, pieces))
        self.assertEqual(self.found(spread), NAME)
        for end in range(len(spread)):
            self.assertIs(read_hello(spread[:end]), None)

    def test_without_extensions(self) -> None:
        """A client may send none at all."""
        self.assertEqual(self.found(record(message(body()[:-2]))), "")

    def test_no_tls(self) -> None:
        """The very first byte is enough to know."""
        for data in (b"G", b"SSH-2.0-x\r\n", b"\x80\x2e\x01", b"\x16\x02", b"\r\n\r\n\0\r\nQUIT\n"):
            self.assertEqual(self.refused(data), "The connection does not begin with TLS.")

    def test_another_message(self) -> None:
        """A server's hello, say."""
        self.assertEqual(
            self.refused(record(message(body(), kind=2))), "The TLS connection does not begin with a ClientHello."
        )

    def test_bounds(self) -> None:
        """What says that it is too long is refused before it comes, and so are endless pieces."""
        long = "A ClientHello has at most 16384 bytes here."
        self.assertEqual(self.refused(record(b"\x01" + (MAX_HELLO_BYTES + 1).to_bytes(3, "big"))), long)
        self.assertEqual(
            self.refused(b"\x16\x03\x01\x40\x01"), "A TLS record of 16385 bytes was sent, where 1 to 16384 are due."
        )
        self.assertEqual(self.refused(record(b"")), "A TLS record of 0 bytes was sent, where 1 to 16384 are due.")
        pieces = b"".join(record(bytes((each,))) for each in message(body())[:MAX_RECORDS])
        self.assertEqual(self.refused(pieces), "A ClientHello has at most 8 records here.")

    def test_malformed(self) -> None:
        """Fields that end too early or too late, and values that no client sends."""
        for broken, sentence in (
            (b"\x03\x03", "The ClientHello ends in the middle of a field."),
            (body() + b"\0", "The ClientHello holds more than its fields."),
            (body(session=bytes(33)), "The ClientHello offers nothing that TLS could use."),
            (body(suites=b""), "The ClientHello offers nothing that TLS could use."),
            (body(suites=b"\x13"), "The ClientHello offers nothing that TLS could use."),
            (body(compressions=b""), "The ClientHello offers nothing that TLS could use."),
            (
                body(server_name(b"a"), server_name(b"b")),
                "The ClientHello has an extension twice, or too many of them.",
            ),
            (
                body(*(extension(each + 1, b"") for each in range(65))),
                "The ClientHello has an extension twice, or too many of them.",
            ),
            (body(server_name(b"")), "The server name of the ClientHello is none."),
            (body(server_name(b"a\0b")), "The server name of the ClientHello is none."),
            (body(server_name(b"\xff")), "The server name of the ClientHello is none."),
            (body(server_name(b"x" * 256)), "The server name of the ClientHello is none."),
            (body(server_name(b"a", kind=1)), "The server name of the ClientHello is none."),
            (body(extension(0, vector(b"\0\0\1a\0\0\1b", 2))), "The ClientHello holds more than its fields."),
        ):
            self.assertEqual(self.refused(record(message(broken))), sentence)

    def test_something_follows(self) -> None:
        """Nothing is due in the same record; in the next one it is not looked at."""
        self.assertEqual(
            self.refused(record(message(body()) + b"\1")), "Something follows the ClientHello before it was answered."
        )
        self.assertEqual(self.found(hello(NAME) + b"\x14\x03\x03\0\1\1"), NAME)

    @given(st.binary(max_size=600))
    def test_anything(self, data: bytes) -> None:
        """Any bytes are read, waited for, or refused."""
        for each in (data, record(message(data)) if data else b"", record(message(body(data)))):
            try:
                read = read_hello(each)
            except HelloRefused:
                continue
            self.assertIsInstance(read, ClientHello | None)
