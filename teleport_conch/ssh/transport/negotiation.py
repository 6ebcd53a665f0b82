"""SSH_MSG_KEXINIT: what each side offers, and what follows from two offers (RFC 4253, section 7.1).

Two things that are no algorithms travel in the list of key exchanges: who wants RFC 8308's extension message, and who
speaks OpenSSH's strict key exchange (PROTOCOL, section 1.10). They are never agreed upon as a method.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import ClassVar, Generic, TypeVar

from attrs import evolve, frozen

from teleport_conch import wire
from teleport_conch.ssh.transport.violation import KEY_EXCHANGE_FAILED, ProtocolViolation

MSG_KEXINIT = 20
COOKIE_BYTES = 16
MAX_LIST_BYTES = 1 << 13
MAX_NAMES = 256
MAX_NAME_BYTES = 64
MAX_REMEMBERED_BYTES = 1 << 12

EXT_INFO_CLIENT = b"ext-info-c"
EXT_INFO_SERVER = b"ext-info-s"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
STRICT_SERVER = b"kex-strict-s-v00@openssh.com"
MARKERS = frozenset((EXT_INFO_CLIENT, EXT_INFO_SERVER, STRICT_CLIENT, STRICT_SERVER))

AUTHENTICATING_CIPHERS = frozenset(
    (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com", b"chacha20-poly1305@openssh.com")
)
"""Ciphers that need no MAC; none is agreed upon with them."""

_PRINTABLE = re.compile(rb"[!-~]*")

Names = tuple[bytes, ...]
_Value = TypeVar("_Value")


class NoCommonAlgorithm(ProtocolViolation):
    """The two sides have nothing in common where they need to; the message names what each offered."""

    reason: ClassVar[int] = KEY_EXCHANGE_FAILED


@frozen
class EachWay(Generic[_Value]):
    """Something that is chosen for each direction on its own."""

    client_to_server: _Value
    server_to_client: _Value


@frozen
class KexInit:
    """One side's offer, each list in order of preference."""

    cookie: bytes
    kex: Names
    host_key: Names
    ciphers: EachWay[Names]
    macs: EachWay[Names]
    compressions: EachWay[Names]
    first_kex_packet_follows: bool = False

    @classmethod
    def parse(cls, payload: bytes | memoryview) -> KexInit:
        """The offer in a whole payload, its message number included.

        :raises WireError: it is malformed, longer than its format, or beyond a bound of this module.
        """
        reader = wire.Reader(payload)
        if reader.byte() != MSG_KEXINIT:
            raise wire.WireError("not an offer of algorithms")
        cookie, offered = reader.take(COOKIE_BYTES), reader.rest()
        read = _read_often if len(offered) <= MAX_REMEMBERED_BYTES else _read
        return evolve(read(offered), cookie=cookie)

    def to_payload(self) -> bytes:
        """The whole payload, its message number included: what is sent, and what the exchange hash covers."""
        nothing: EachWay[Names] = EachWay((), ())
        parts = [wire.byte(MSG_KEXINIT), self.cookie, _listed(self.kex), _listed(self.host_key)]
        for each in (self.ciphers, self.macs, self.compressions, nothing):
            parts += [_listed(each.client_to_server), _listed(each.server_to_client)]
        parts += [wire.boolean(self.first_kex_packet_follows), wire.uint32(0)]
        return b"".join(parts)


@frozen
class Agreement:
    """What follows from two offers.

    :ivar mac: empty for a cipher that needs none.
    :ivar strict: whether both speak strict key exchange; False in any but the first exchange, which decides it.
    :ivar client_wants_ext_info: so that the server sends its extensions; likewise of the first exchange only.
    :ivar guess_was_wrong: a side that let its first message follow its offer (``first_kex_packet_follows``) guessed
        wrong, and that message is to be ignored.
    """

    kex: bytes
    host_key: bytes
    cipher: EachWay[bytes]
    mac: EachWay[bytes]
    compression: EachWay[bytes]
    strict: bool
    client_wants_ext_info: bool
    server_wants_ext_info: bool
    guess_was_wrong: bool


def agree(client: KexInit, server: KexInit, first: bool) -> Agreement:
    """The client's first wish in each list that the server has, too.

    :param first: whether this is the first exchange of the connection.
    :raises NoCommonAlgorithm: there is none.
    """
    kex = _common("key exchange", _methods(client.kex), _methods(server.kex))
    host_key = _common("type of host key", client.host_key, server.host_key)
    cipher = _common_each_way("cipher", client.ciphers, server.ciphers)
    return Agreement(
        kex,
        host_key,
        cipher,
        EachWay(
            _mac(cipher.client_to_server, client.macs.client_to_server, server.macs.client_to_server),
            _mac(cipher.server_to_client, client.macs.server_to_client, server.macs.server_to_client),
        ),
        _common_each_way("compression", client.compressions, server.compressions),
        strict=first and STRICT_CLIENT in client.kex and STRICT_SERVER in server.kex,
        client_wants_ext_info=first and EXT_INFO_CLIENT in client.kex,
        server_wants_ext_info=first and EXT_INFO_SERVER in server.kex,
        guess_was_wrong=client.kex[:1] != server.kex[:1] or client.host_key[:1] != server.host_key[:1],
    )


def _read(offered: bytes) -> KexInit:
    """An offer without its cookie."""
    reader = wire.Reader(offered, MAX_LIST_BYTES)
    kex, host_key = _names(reader), _names(reader)
    ciphers, macs, compressions, _languages = (EachWay(_names(reader), _names(reader)) for _ in range(4))
    follows = reader.boolean()
    reader.uint32()  # reserved, for an extension that nobody made
    reader.end()
    return KexInit(b"", kex, host_key, ciphers, macs, compressions, follows)


# The offers of one kind of client are all the same, and reading one costs as much as an exchange on Curve25519.
_read_often = lru_cache(64)(_read)


def _names(reader: wire.Reader) -> Names:
    listed = reader.string()
    if not listed:
        return ()
    if not _PRINTABLE.fullmatch(listed):
        raise wire.WireError("a name that is not printable ASCII")
    names = tuple(listed.split(b","))
    if len(names) > MAX_NAMES:
        raise wire.WireError(f"{len(names)} names in a list, where {MAX_NAMES} are the limit")
    if not 0 < min(map(len, names)) <= max(map(len, names)) <= MAX_NAME_BYTES:
        raise wire.WireError(f"a name that is empty or longer than {MAX_NAME_BYTES} bytes")
    return names


def _listed(names: Names) -> bytes:
    return wire.string(b",".join(names))


def _methods(names: Names) -> Names:
    return tuple(name for name in names if name not in MARKERS)


def _common(what: str, client: Names, server: Names) -> bytes:
    for name in client:
        if name in server:
            return name
    raise NoCommonAlgorithm(
        f"no common {what}: the client offers {_shown(client)}, and the server offers {_shown(server)}"
    )


def _common_each_way(what: str, client: EachWay[Names], server: EachWay[Names]) -> EachWay[bytes]:
    return EachWay(
        _common(f"{what} from client to server", client.client_to_server, server.client_to_server),
        _common(f"{what} from server to client", client.server_to_client, server.server_to_client),
    )


def _mac(cipher: bytes, client: Names, server: Names) -> bytes:
    return b"" if cipher in AUTHENTICATING_CIPHERS else _common(f"MAC beside {cipher.decode()}", client, server)


def _shown(names: Names) -> str:
    """A list for a sentence; where it is long, its beginning."""
    text = ", ".join(name.decode("ascii", "replace") for name in names[:12])
    return (text if len(names) <= 12 else f"{text} and {len(names) - 12} more") or "none"
