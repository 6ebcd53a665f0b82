"""Servers on loopback that misbehave in ways that the real API never would, and reactors whose time is the test's."""

from __future__ import annotations

import json
from collections.abc import Callable

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from teleport_conch.auth.routes.tls import server_context
from tests.client import certificates

Answer = Callable[[Request], bytes | int]


def the_reactor() -> IReactorTime:
    """The one that trial runs."""
    from twisted.internet import reactor

    return reactor


def pause() -> Deferred[None]:
    """Let the reactor do what there is to do."""
    return deferLater(the_reactor(), 0.001)


class HandClock(Clock):
    """The reactor that trial runs, with a clock of the test's. Waits of less than a second are over at once.

    Those are Twisted's own, between two attempts to connect to one name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        """How long others wanted to wait."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002
        if delay < 1.0:
            return the_reactor().callLater(0.0, callable, *args, **kw)
        self.waits.append(delay)
        return super().callLater(delay, callable, *args, **kw)

    def __getattr__(self, name: str) -> object:
        return getattr(the_reactor(), name)


@implementer(IOpenSSLServerConnectionCreator)
class _TLS:
    def __init__(self, certificate: x509.Certificate) -> None:
        self._context = server_context(certificate, certificates.TLS_KEY)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class _Page(Resource):
    isLeaf = True

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: Request) -> bytes | int:
        return self._answer(request)


class _Counting(TLSMemoryBIOFactory):
    built = 0

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol:
        self.built += 1
        return super().buildProtocol(addr)


class Server:
    """An HTTPS server.

    :param answer: answers a request, as ``Resource.render`` does; or a factory of something else to speak over TLS.
    """

    def __init__(
        self,
        test: TestCase,
        answer: Answer | Factory[Protocol],
        certificate: x509.Certificate | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        site = answer if isinstance(answer, Factory) else Site(_Page(answer))
        self.tls = _Counting(_TLS(certificate or certificates.server_certificate()), False, site)
        self.address = listen(test, self.tls, host)
        test.addCleanup(self.cut)

    @property
    def connections(self) -> int:
        """How many there were."""
        return self.tls.built

    def cut(self) -> None:
        """End every connection, without a word."""
        for protocol in list(self.tls.protocols):
            protocol.abortConnection()


def listen(test: TestCase, factory: IProtocolFactory, host: str = "127.0.0.1") -> str:
    """The address of a server that the test stops."""
    port = the_reactor().listenTCP(0, factory, interface=host)  # type: ignore[attr-defined]
    test.addCleanup(port.stopListening)
    return f"{f'[{host}]' if ':' in host else host}:{port.getHost().port}"


async def unused_address() -> str:
    """Where nobody listens."""
    port = the_reactor().listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")  # type: ignore[attr-defined]
    address = f"127.0.0.1:{port.getHost().port}"
    await port.stopListening()
    return address


def as_json(value: object) -> Answer:
    """Answers every request with *value*."""
    return lambda request: json.dumps(value).encode()


def never(request: Request) -> int:
    """Takes the request, and says nothing."""
    return NOT_DONE_YET


def peer_name(request: Request) -> str:
    """Whom the client's certificate names, empty for none."""
    transport = request.transport
    shown = transport.getPeerCertificate() if ISSLTransport.providedBy(transport) else None
    return shown.get_subject().CN or "" if isinstance(shown, X509) else ""
