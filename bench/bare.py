"""``python -m bench.bare PORT CREDENTIALS BYTES``: what Twisted alone answers, over the TLS of the auth service.

A resource of ``twisted.web`` that answers so many bytes, with client certificates asked for and no access log, as with
auth.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from cryptography import x509
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorCore
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from bench.programs import LOOPBACK
from teleport_conch.auth.routes.tls import server_context
from teleport_conch.certs import keys


class Fixed(Resource):
    """Answers the same to whatever is posted."""

    isLeaf = True

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    def render_POST(self, request: Request) -> bytes:
        return self._answer


class SilentSite(Site):
    def log(self, request: Request) -> None:
        """Nothing: auth keeps no access log either."""


@implementer(IOpenSSLServerConnectionCreator)
class SameTLS:
    """Connections in the context that auth makes."""

    def __init__(self, credentials: str) -> None:
        self._context = server_context(
            x509.load_pem_x509_certificate(credentials.encode()), keys.load_private_pem(credentials)
        )

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


def main() -> None:
    port, credentials, size = sys.argv[1:]
    site = SilentSite(Fixed(b"x" * int(size)))
    factory = TLSMemoryBIOFactory(SameTLS(Path(credentials).read_text()), False, site)
    TCP4ServerEndpoint(reactor, int(port), interface=LOOPBACK).listen(factory)
    cast(IReactorCore, reactor).run()


if __name__ == "__main__":
    main()
