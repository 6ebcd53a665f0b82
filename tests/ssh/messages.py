"""Messages of RFC 4254 as a peer would write them: each function answers the payload behind the message number."""

from __future__ import annotations

from teleport_conch import wire


def open_channel(kind: bytes, sender: int, window: int, max_packet: int, payload: bytes = b"") -> bytes:
    return wire.string(kind) + b"".join(map(wire.uint32, (sender, window, max_packet))) + payload


def confirmation(recipient: int, sender: int, window: int, max_packet: int) -> bytes:
    return b"".join(map(wire.uint32, (recipient, sender, window, max_packet)))


def open_failure(recipient: int, reason: int, sentence: str) -> bytes:
    return wire.uint32(recipient) + wire.uint32(reason) + wire.text(sentence) + wire.text("")


def data(recipient: int, content: bytes) -> bytes:
    return wire.uint32(recipient) + wire.string(content)


def extended(recipient: int, kind: int, content: bytes) -> bytes:
    return wire.uint32(recipient) + wire.uint32(kind) + wire.string(content)


def adjust(recipient: int, count: int) -> bytes:
    return wire.uint32(recipient) + wire.uint32(count)


def request(recipient: int, name: bytes, want_reply: bool = True, payload: bytes = b"") -> bytes:
    return wire.uint32(recipient) + wire.string(name) + wire.boolean(want_reply) + payload


def global_request(name: bytes, want_reply: bool = True, payload: bytes = b"") -> bytes:
    return wire.string(name) + wire.boolean(want_reply) + payload
