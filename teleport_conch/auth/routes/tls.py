"""TLS of the API's listener: asks for a client certificate without requiring one, and resumes no session."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.limits import HOST_CERTIFICATE_S
from teleport_conch.auth.state.authorities import Authorities
from teleport_conch.certs import keys
from teleport_conch.https import tls

_SESSION_CONTEXT = b"teleport-auth"


def server_context(certificate: x509.Certificate, key: keys.PrivateKey) -> SSL.Context:
    """TLS with one certificate. Any client certificate passes; the API judges it."""
    context = tls.server_context((certificate,), key)
    context.set_session_id(_SESSION_CONTEXT)
    context.set_verify(SSL.VERIFY_PEER, _take_any)
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
