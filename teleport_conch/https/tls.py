"""TLS of a listener: versions and ciphers, no resumption, and a bounded number of connections."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.task import deferLater
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from teleport_conch.certs import keys
from teleport_conch.https.limits import CLOSING_S, CLOSING_STEP_S
from teleport_conch.https.peeking import PeekFactory
from teleport_conch.https.places import Places, host_of
from teleport_conch.https.site import BoundedChannel

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

    def __init__(
        self,
        tls: IOpenSSLServerConnectionCreator,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        total: int,
        per_address: int,
    ) -> None:
        super().__init__(tls, isClient=False, wrappedFactory=wrapped, clock=clock)
        self.places = Places(clock, total, per_address)

    def buildProtocol(self, addr: IAddress | None) -> BoundedTLSProtocol | None:  # type: ignore[override]  # None refuses
        if not self.places.has_room(host_of(addr)):
            return None
        protocol: BoundedTLSProtocol = super().buildProtocol(addr)  # type: ignore[assignment]  # of our class
        protocol.peer = addr
        return protocol

    def channels(self) -> list[BoundedChannel]:
        """What speaks HTTP over the connections that are open."""
        spoken = [protocol.wrappedProtocol for protocol in self.protocols]
        return [channel for channel in spoken if isinstance(channel, BoundedChannel)]

    def registerProtocol(self, p: TLSMemoryBIOProtocol) -> None:
        if p not in self.protocols:  # Twisted does this twice
            self.places.enter(_origin(p))
        super().registerProtocol(p)

    def unregisterProtocol(self, p: TLSMemoryBIOProtocol) -> None:
        super().unregisterProtocol(p)
        self.places.leave(_origin(p))


def _origin(protocol: TLSMemoryBIOProtocol) -> str:
    assert isinstance(protocol, BoundedTLSProtocol), "of another factory"
    return host_of(protocol.peer)


async def close(
    reactor: IReactorTime, listening: IListeningPort, entrance: PeekFactory, factory: BoundedTLSFactory
) -> None:
    """Take no more connections, and end those that there are: properly, or after :data:`CLOSING_S`."""
    await maybeDeferred(listening.stopListening)
    entrance.end()
    for channel in factory.channels():
        channel.end()
    waited_s = 0.0
    while factory.protocols and waited_s < CLOSING_S:
        await deferLater(reactor, CLOSING_STEP_S)
        waited_s += CLOSING_STEP_S
    for protocol in tuple(factory.protocols):
        protocol.abortConnection()
