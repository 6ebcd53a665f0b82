"""TLS of a listener: versions and ciphers, no resumption, and a bounded number of connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.http import HTTPChannel

from teleport_conch.certs import keys
from teleport_conch.https.limits import SAY_AGAIN_S

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of TLS 1.3 are all good."""
_HTTP_1 = b"http/1.1"


def server_context(chain: Sequence[x509.Certificate], key: keys.PrivateKey) -> SSL.Context:
    """TLS 1.2 and 1.3 that resumes no session.

    :param chain: the server's certificate, and those of the authorities between it and one that clients know.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # a third less memory for each connection that is idle, as most are
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_speak_http_1)
    context.use_certificate(crypto.X509.from_cryptography(chain[0]))
    for authority in chain[1:]:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(authority))
    context.use_privatekey(crypto.PKey.from_cryptography_key(key))
    context.check_privatekey()
    return context


def _speak_http_1(connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    return _HTTP_1 if _HTTP_1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class BoundedTLSProtocol(BufferingTLSTransport):
    """One connection.

    :ivar peer: where it comes from, which may be known from somebody who is believed and not from the transport.
    :ivar server_name: what the client asked for, where that is known before TLS begins.
    """

    peer: IAddress | None = None
    server_name = ""

    def getPeer(self) -> IAddress:
        if self.peer is not None:
            return self.peer
        assert self.transport is not None, "there is none before it is connected"
        return self.transport.getPeer()


class BoundedTLSFactory(TLSMemoryBIOFactory):
    """TLS around ``wrapped``, for a bounded number of connections, in all and from one address."""

    protocol = BoundedTLSProtocol
    _log = Logger()

    def __init__(
        self,
        tls: IOpenSSLServerConnectionCreator,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        total: int,
        per_address: int,
    ) -> None:
        super().__init__(tls, isClient=False, wrappedFactory=wrapped, clock=clock)
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()
        self._addresses: dict[TLSMemoryBIOProtocol, str] = {}
        self._said_at = -SAY_AGAIN_S

    def buildProtocol(self, addr: IAddress | None) -> BoundedTLSProtocol | None:  # type: ignore[override]  # None refuses
        address = str(getattr(addr, "host", ""))
        if len(self.protocols) >= self._total or self._open[address] >= self._per_address:
            self._say_full(address)
            return None
        protocol: BoundedTLSProtocol = super().buildProtocol(addr)  # type: ignore[assignment]  # of our class
        protocol.peer = addr
        self._addresses[protocol] = address
        return protocol

    def _say_full(self, address: str) -> None:
        """Once a minute; who opens too many connections does not fill the log as well."""
        if self._clock.seconds() >= self._said_at + SAY_AGAIN_S:
            self._said_at = self._clock.seconds()
            self._log.warn("There are too many connections; one from {address} was refused.", address=address)

    def channels(self) -> list[HTTPChannel]:
        """What speaks HTTP over the connections that are open."""
        spoken = [protocol.wrappedProtocol for protocol in self.protocols]
        return [channel for channel in spoken if isinstance(channel, HTTPChannel)]

    def registerProtocol(self, p: TLSMemoryBIOProtocol) -> None:
        if p not in self.protocols:  # Twisted does this twice
            self._open[self._addresses[p]] += 1
        super().registerProtocol(p)

    def unregisterProtocol(self, p: TLSMemoryBIOProtocol) -> None:
        super().unregisterProtocol(p)
        address = self._addresses.pop(p)
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
