"""The first message of a TLS client, read for one thing: the server name that it asks for (RFC 8446, RFC 6066).

Nothing of TLS is spoken here. The bytes stay where they are for whoever goes on with the connection, and who that is
depends on the name. What is not exactly a ClientHello is refused; a hello may be spread over several records.
"""

from __future__ import annotations

from attrs import frozen

from teleport_conch.errors import BadParameter

MAX_HELLO_BYTES = 16 << 10
"""Of the message. Clients with post-quantum key exchange send about 2 KiB."""
MAX_RECORD_BYTES = 16 << 10
"""RFC 8446, section 5.1."""
MAX_RECORDS = 8
"""Over which one message may be spread; clients that do so use two or three."""
MAX_EXTENSIONS = 64

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _HOST_NAME = 0, 0
_RECORD_HEAD_BYTES, _MESSAGE_HEAD_BYTES = 5, 4
_MAX_NAME_BYTES = 255
_MAX_SESSION_ID_BYTES = 32


class HelloRefused(BadParameter):
    """A connection does not begin as TLS does."""

    code = "HELLO_REFUSED"


@frozen
class ClientHello:
    """:ivar server_name: in lower case; empty where the client asks for none."""

    server_name: str


def read_hello(start: bytes) -> ClientHello | None:
    """What the bytes at the start of a connection ask for; None where more of them decide.

    :raises HelloRefused: no ClientHello begins so, or one that is longer than any that we take.
    """
    message = _message(start)
    return None if message is None else ClientHello(_server_name(message))


def _message(start: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records."""
    joined, position = bytearray(), 0
    for _ in range(MAX_RECORDS):
        head = start[position : position + _RECORD_HEAD_BYTES]
        _check_head(head)
        if len(head) < _RECORD_HEAD_BYTES:
            return None
        size = int.from_bytes(head[3:], "big")
        if not 0 < size <= MAX_RECORD_BYTES:
            raise HelloRefused(f"A TLS record of {size} bytes was sent, where 1 to {MAX_RECORD_BYTES} are due.")
        position += _RECORD_HEAD_BYTES
        joined += start[position : position + size]
        _check_message_head(joined)
        if len(start) < position + size:
            return None
        if _is_whole(joined):
            return bytes(joined[_MESSAGE_HEAD_BYTES:])
        position += size
    raise HelloRefused(f"A ClientHello has at most {MAX_RECORDS} records here.")


def _is_whole(joined: bytes | bytearray) -> bool:
    if len(joined) < _MESSAGE_HEAD_BYTES:
        return False
    size = _MESSAGE_HEAD_BYTES + int.from_bytes(joined[1:4], "big")
    if len(joined) > size:
        raise HelloRefused("Something follows the ClientHello before it was answered.")
    return len(joined) == size


def _check_head(head: bytes) -> None:
    if head[:1] not in (b"", bytes((_HANDSHAKE,))) or head[1:2] not in (b"", b"\x03"):
        raise HelloRefused("The connection does not begin with TLS.")


def _check_message_head(joined: bytes | bytearray) -> None:
    if joined[:1] not in (b"", bytes((_CLIENT_HELLO,))):
        raise HelloRefused("The TLS connection does not begin with a ClientHello.")
    if len(joined) >= _MESSAGE_HEAD_BYTES and int.from_bytes(joined[1:4], "big") > MAX_HELLO_BYTES:
        raise HelloRefused(f"A ClientHello has at most {MAX_HELLO_BYTES} bytes here.")


class _Reader:
    """Reads vectors as TLS writes them: a length of so many bytes, and then as many."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def finished(self) -> bool:
        return self._position == len(self._data)

    def take(self, count: int) -> bytes:
        found = self._data[self._position : self._position + count]
        if len(found) < count:
            raise HelloRefused("The ClientHello ends in the middle of a field.")
        self._position += count
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def end(self) -> None:
        if not self.finished:
            raise HelloRefused("The ClientHello holds more than its fields.")


def _server_name(message: bytes) -> str:
    reader = _Reader(message)
    reader.take(2 + 32)  # version and random
    session, suites, compressions = reader.vector(1), reader.vector(2), reader.vector(1)
    if len(session) > _MAX_SESSION_ID_BYTES or not suites or len(suites) % 2 or not compressions:
        raise HelloRefused("The ClientHello offers nothing that TLS could use.")
    if reader.finished:
        return ""
    extensions = _Reader(reader.vector(2))
    reader.end()
    return _name_in(_extension(extensions, _SERVER_NAME))


def _extension(extensions: _Reader, wanted: int) -> bytes:
    """The extension of one type, empty where it is missing. Each may be there once (RFC 8446, section 4.2)."""
    seen: dict[int, bytes] = {}
    while not extensions.finished:
        kind, data = extensions.number(2), extensions.vector(2)
        if kind in seen or len(seen) == MAX_EXTENSIONS:
            raise HelloRefused("The ClientHello has an extension twice, or too many of them.")
        seen[kind] = data
    return seen.get(wanted, b"")


def _name_in(extension: bytes) -> str:
    if not extension:
        return ""
    outer = _Reader(extension)
    names = _Reader(outer.vector(2))
    outer.end()
    kind, name = names.number(1), names.vector(2)
    names.end()  # one name of each kind, and there is one kind (RFC 6066, section 3)
    if kind != _HOST_NAME or not 0 < len(name) <= _MAX_NAME_BYTES or not name.isascii() or b"\0" in name:
        raise HelloRefused("The server name of the ClientHello is none.")
    return name.decode("ascii").lower()
