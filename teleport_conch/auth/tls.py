"""TLS of the API's listener: asks for a client certificate without requiring one, and resumes no session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import define, field
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from teleport_conch.auth.authorities import Authorities
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import HOST_CERTIFICATE_S
from teleport_conch.certs import keys

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of TLS 1.3 are all good."""
SAY_AGAIN_S = 60.0
_SESSION_CONTEXT = b"teleport-auth"


def server_context(certificate: x509.Certificate, key: keys.PrivateKey) -> SSL.Context:
    """TLS 1.2 and 1.3, with one certificate. Any client certificate passes; the API judges it."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # a third less memory for each connection that is idle, as most are
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(_SESSION_CONTEXT)
    context.set_verify(SSL.VERIFY_PEER, _take_any)
    context.use_certificate(crypto.X509.from_cryptography(certificate))
    context.use_privatekey(crypto.PKey.from_cryptography_key(key))
    context.check_privatekey()
    return context


def _take_any(connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
    return True


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class ServerTLS:
    """Makes connections with the newest certificate of the auth server.

    :ivar names: under which clients dial it, beside ``teleport.cluster.local``.
    """

    _clocks: Clocks
    _authorities: Authorities
    _host_uuid: str
    _names: Sequence[str]
    _context: SSL.Context = field(init=False)
    _renew_at: float = field(init=False)
    _generation: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """A new key and certificate, from now on."""
        now, key = self._clocks.wall(), keys.generate_tls_key()
        certificate = self._authorities.host.sign_host_tls(
            key.public_key(),
            host_uuid=self._host_uuid,
            cluster_name=self._authorities.cluster_name,
            role="Auth",
            names=self._names,
            ttl_s=HOST_CERTIFICATE_S,
            now=now,
        )
        self._context = server_context(certificate, key)
        self._renew_at = now + HOST_CERTIFICATE_S / 2
        self._generation = self._authorities.generation

    def renew_if_due(self) -> None:
        """Renew at half-life, and when the authorities have changed."""
        if self._clocks.wall() >= self._renew_at or self._generation != self._authorities.generation:
            self.renew()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class BoundedTLSFactory(TLSMemoryBIOFactory):
    """TLS around ``wrapped``, for a bounded number of connections, in all and from one address."""

    _log = Logger()

    def __init__(
        self, tls: ServerTLS, wrapped: IProtocolFactory, clock: IReactorTime, total: int, per_address: int
    ) -> None:
        super().__init__(tls, isClient=False, wrappedFactory=wrapped, clock=clock)
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()
        self._addresses: dict[TLSMemoryBIOProtocol, str] = {}
        self._said_at = -SAY_AGAIN_S

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]  # None refuses
        address = str(getattr(addr, "host", ""))
        if len(self.protocols) >= self._total or self._open[address] >= self._per_address:
            self._say_full(address)
            return None
        protocol = super().buildProtocol(addr)
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
