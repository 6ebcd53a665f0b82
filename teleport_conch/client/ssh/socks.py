"""SOCKS, as much of it as browsers and curl need: version 5 without a login, CONNECT only (RFC 1928)."""

from __future__ import annotations

import ipaddress

from attrs import frozen

from teleport_conch.errors import BadParameter

MAX_REQUEST_BYTES = 4 + 1 + 255 + 2
MAX_GREETING_BYTES = 2 + 255

NO_LOGIN = b"\x05\x00"
CONNECTED = b"\x05\x00\x00\x01\0\0\0\0\0\0"
REFUSED = b"\x05\x05\x00\x01\0\0\0\0\0\0"
_VERSION, _CONNECT = 5, 1
_ADDRESS_BYTES = {1: 4, 4: 16}
_NAME = 3


@frozen
class Target:
    """Where to, and how many bytes said so."""

    host: str
    port: int
    size: int


def greeting_size(data: bytes) -> int:
    """How many bytes the greeting has; 0 where it is not complete.

    :raises BadParameter: it is none, or does not offer to go without a login.
    """
    if data[:1] != bytes((_VERSION,)):
        if data:
            raise BadParameter("A client does not speak SOCKS version 5.")
        return 0
    size = 2 + data[1] if len(data) > 1 else MAX_GREETING_BYTES
    if len(data) < size:
        return 0
    if 0 not in data[2:size]:
        raise BadParameter("A client of SOCKS insists on a login.")
    return size


def target(data: bytes) -> Target | None:
    """What is asked for behind the greeting; None where it is not complete.

    :raises BadParameter: it is not a CONNECT.
    """
    if len(data) < 5:
        return None
    if data[0] != _VERSION or data[1] != _CONNECT:
        raise BadParameter("A client of SOCKS asks for something else than a connection.")
    kind = data[3]
    start, size = (5, data[4]) if kind == _NAME else (4, _ADDRESS_BYTES.get(kind, 0))
    if not size:
        raise BadParameter("A client of SOCKS names an address of an unknown kind.")
    end = start + size
    if len(data) < end + 2:
        return None
    host = data[start:end]
    return Target(_text(host, kind), int.from_bytes(data[end : end + 2], "big"), end + 2)


def _text(host: bytes, kind: int) -> str:
    if kind != _NAME:
        return str(ipaddress.ip_address(host))
    try:
        text = host.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or " " in text or not text:
        raise BadParameter("A client of SOCKS names a host that is none.")
    return text
