"""The proxy's HTTPS port: who goes on with a connection is decided by the server name that its client asks for.

``docs/protocol/web-port.rst`` says what each name is for.
"""

from __future__ import annotations

from attrs import define, field, frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from teleport_conch.certs import keys, tls
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.names import PROXY_SERVER_NAME, SERVER_NAME
from teleport_conch.https.client_hello import read_hello
from teleport_conch.https.peeking import Chosen
from teleport_conch.https.tls import BoundedTLSFactory, BoundedTLSProtocol, server_context
from teleport_conch.proxy.passage import Passage
from teleport_conch.proxy.web_certificate import WebCertificate

MAX_CONNECTIONS = 20_000
"""That the proxy serves itself, and as many that it passes on to auth."""

MAX_CONNECTIONS_PER_ADDRESS = 1000
"""Of those that it serves itself, where ``connection_limits.max_connections`` allows more."""

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ")
_SPEAK_HTTPS = b"This port speaks HTTPS. Begin the address with https://\n"


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class WebTLS:
    """Makes TLS connections: with the web certificate, or with the host's own for who asks for the proxy as such."""

    _web: WebCertificate
    _host: SSL.Context | None = field(init=False, default=None)

    def use_identity(self, identity: HostIdentity) -> None:
        """Show this one's certificate from now on."""
        certificate = tls.load_certificate_pem(identity.tls_certificate)
        self._host = server_context((certificate,), keys.load_private_pem(identity.tls_key))

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        assert isinstance(tlsProtocol, BoundedTLSProtocol), "of another factory"
        own = self._host if tlsProtocol.server_name == PROXY_SERVER_NAME else None
        return SSL.Connection(own or self._web.context, None)


@frozen
class WebPort:
    """Chooses who goes on with a connection."""

    _tls: BoundedTLSFactory
    _passage: Passage

    def choose(self, start: bytes, peer: IAddress) -> Chosen | None:
        """See :data:`teleport_conch.https.peeking.Choose`. Raises :class:`HelloRefused`."""
        hello = read_hello(start)
        if hello is None:
            return None
        if hello.server_name == SERVER_NAME:
            return self._passage.begin(peer), start
        protocol = self._tls.buildProtocol(peer)
        if protocol is not None:
            protocol.server_name = hello.server_name
        return protocol, start


def farewell(start: bytes) -> bytes:
    """What is answered to a connection that is no TLS: a hint for who speaks HTTP, and nothing else."""
    if not start.startswith(_METHODS):
        return b""
    head = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(_SPEAK_HTTPS) + _SPEAK_HTTPS
