"""The messages of the transport itself, apart from those of a key exchange: numbers, and contents behind the number.

RFC 4253, sections 10 and 11; RFC 8308 (extensions); OpenSSH's PROTOCOL, section 1.9 (ping).
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from teleport_conch import wire
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader

MSG_DISCONNECT = 1
MSG_IGNORE = 2
MSG_UNIMPLEMENTED = 3
MSG_DEBUG = 4
MSG_SERVICE_REQUEST = 5
MSG_SERVICE_ACCEPT = 6
MSG_EXT_INFO = 7
MSG_KEXINIT = 20
MSG_NEWKEYS = 21
MSG_METHOD_FIRST = 30
MSG_USERAUTH_FIRST = 50
MSG_USERAUTH_SUCCESS = 52
MSG_PING = 192
MSG_PONG = 193

PING = b"ping@openssh.com"
"""The name of the extension by which who answers pings says so."""

MAX_EXTENSIONS = 64


@frozen
class Disconnect:
    """Why somebody leaves: a code (RFC 4253, section 11.1), and a sentence for people."""

    reason: int
    sentence: bytes

    @classmethod
    def parse(cls, content: bytes) -> Disconnect:
        """The language, and what some programs put in its place, is not looked at."""
        reader = Reader(content)
        return cls(reader.uint32(), reader.string())

    def to_content(self) -> bytes:
        return wire.uint32(self.reason) + wire.string(self.sentence) + wire.string(b"")


def check_debug(content: bytes) -> None:
    """Reads a message that nobody needs, so that a malformed one is refused. Raises WireError."""
    reader = Reader(content)
    reader.boolean()
    reader.string()
    reader.string()
    reader.end()


def parse_unimplemented(content: bytes) -> int:
    """The number of the packet that the peer did not understand."""
    reader = Reader(content)
    sequence = reader.uint32()
    reader.end()
    return sequence


def parse_string(content: bytes) -> bytes:
    """The content of a message that is one string: the name of a service, or what a ping holds."""
    reader = Reader(content)
    value = reader.string()
    reader.end()
    return value


def parse_extensions(content: bytes) -> dict[bytes, bytes]:
    """What the peer tells of itself. :raises ProtocolViolation: it tells too much."""
    reader = Reader(content)
    count = reader.uint32()
    if count > MAX_EXTENSIONS:
        raise ProtocolViolation(f"{count} extensions, where {MAX_EXTENSIONS} are the limit")
    extensions = {}
    for _ in range(count):
        name = reader.string()
        extensions[name] = reader.string()
    reader.end()
    return extensions


def extensions_to_content(extensions: Mapping[bytes, bytes]) -> bytes:
    told = [wire.string(name) + wire.string(value) for name, value in extensions.items()]
    return b"".join((wire.uint32(len(told)), *told))
