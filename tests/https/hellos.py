"""ClientHellos: of a real client, and put together by hand."""

from __future__ import annotations

import ssl
import struct
from functools import cache


@cache
def hello(server_name: str = "proxy.example.com", newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What Python's own client sends first; without a name where none is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name or None)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a client alone has shaken hands")


def record(data: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return struct.pack(">BHH", kind, version, len(data)) + data


def message(body: bytes, kind: int = 1) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def vector(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def server_name(name: bytes, kind: int = 0) -> bytes:
    """The extension of that type, with one name."""
    return extension(0, vector(bytes((kind,)) + vector(name, 2), 2))


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">H", kind) + vector(data, 2)


def body(*extensions: bytes, session: bytes = b"", suites: bytes = b"\x13\x01", compressions: bytes = b"\0") -> bytes:
    """A ClientHello with these extensions."""
    fixed = b"\x03\x03" + bytes(32) + vector(session, 1) + vector(suites, 2) + vector(compressions, 1)
    return fixed + vector(b"".join(extensions), 2)


def made(*extensions: bytes) -> bytes:
    """The same as it comes over a connection."""
    return record(message(body(*extensions)))
