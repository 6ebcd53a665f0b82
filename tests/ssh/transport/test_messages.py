"""The small messages of the transport: round trips, truncations, and what is more than due."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.transport.messages import (
    Disconnect,
    check_debug,
    extensions_to_content,
    parse_extensions,
    parse_string,
    parse_unimplemented,
)
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import WireError

TEXT = st.binary(max_size=40)


class MessageTests(SynchronousTestCase):
    def assert_strict(self, parse: Callable[[bytes], object], content: bytes, ends: bool = True) -> None:
        """Nothing shorter can be read, and nothing longer where the message has an end."""
        for at in range(len(content)):
            self.assertRaises(WireError, parse, content[:at])
        if ends:
            self.assertRaises(WireError, parse, content + b"\0")

    @given(st.integers(0, 2**32 - 1), TEXT)
    def test_disconnect(self, reason: int, sentence: bytes) -> None:
        """Programs differ in what they say behind the sentence, so that is not looked at."""
        said = Disconnect(reason, sentence)
        self.assertEqual(Disconnect.parse(said.to_content()), said)
        self.assertEqual(Disconnect.parse(said.to_content()[:-4]), said)
        self.assert_strict(Disconnect.parse, said.to_content()[:-4], ends=False)

    @given(st.dictionaries(TEXT, TEXT, max_size=5))
    def test_extensions(self, extensions: dict[bytes, bytes]) -> None:
        """Names and values."""
        content = extensions_to_content(extensions)
        self.assertEqual(parse_extensions(content), extensions)
        self.assert_strict(parse_extensions, content)

    def test_too_many_extensions(self) -> None:
        """T07: a number is not believed before there is something for it."""
        for count in (65, 0xFFFF_FFFF):
            problem = self.assertRaises(ProtocolViolation, parse_extensions, wire.uint32(count) + bytes(8) * 65)
            self.assertEqual(str(problem), f"{count} extensions, where 64 are the limit")

    @given(TEXT)
    def test_string(self, value: bytes) -> None:
        """The name of a service; what a ping holds."""
        self.assertEqual(parse_string(wire.string(value)), value)
        self.assert_strict(parse_string, wire.string(value))

    @given(st.integers(0, 2**32 - 1))
    def test_unimplemented(self, sequence: int) -> None:
        """The number of a packet."""
        self.assertEqual(parse_unimplemented(wire.uint32(sequence)), sequence)
        self.assert_strict(parse_unimplemented, wire.uint32(sequence))

    @given(st.booleans(), TEXT, TEXT)
    def test_debug(self, display: bool, text: bytes, language: bytes) -> None:
        """Read, and forgotten."""
        content = wire.boolean(display) + wire.string(text) + wire.string(language)
        check_debug(content)
        self.assert_strict(check_debug, content)
