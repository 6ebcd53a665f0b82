"""HTTP of the API: the limits of :mod:`teleport_conch.https.site`, and who calls, by a connection's certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from cryptography import x509
from OpenSSL.crypto import X509
from twisted.internet.interfaces import ISSLTransport
from twisted.web.resource import IResource
from twisted.web.server import Request

from teleport_conch.auth import limits
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.rules.callers import Judge, Peer, Verdict
from teleport_conch.errors import CertificateMalformed
from teleport_conch.https.site import BoundedChannel, BoundedRequest, BoundedSite


class APIRequest(BoundedRequest):
    """A request of the API."""

    channel: APIChannel

    def peer(self) -> Peer | None:
        """Who is calling; None without a certificate.

        :raises CertificateRefused: the certificate is not believed.
        """
        verdict = self.channel.verdict()
        if verdict.refusal is not None:
            raise verdict.refusal
        return verdict.peer


class APIChannel(BoundedChannel):
    """One connection. Callers without a certificate that counts may send less."""

    requestFactory = APIRequest
    site: APISite
    _verdict: Verdict | None = None

    def verdict(self) -> Verdict:
        """What is thought of the certificate that the client showed, now."""
        try:
            self._verdict = self.site.judge.judge(self._certificate, self._verdict)
        except CertificateMalformed as reason:
            self._verdict = Verdict(None, reason, (), float("inf"))
        return self._verdict

    @cached_property
    def _certificate(self) -> x509.Certificate | None:
        """What the client showed in the handshake; it shows nothing after it.

        :raises CertificateMalformed: OpenSSL takes it, and it cannot be read.
        """
        if not ISSLTransport.providedBy(self.transport):
            return None
        shown = self.transport.getPeerCertificate()
        try:
            return shown.to_cryptography() if isinstance(shown, X509) else None
        except (ValueError, TypeError, x509.InvalidVersion):
            raise CertificateMalformed("The certificate cannot be read.") from None

    def body_limit(self) -> int:
        """How many bytes a body may have, by who sends it."""
        return limits.MAX_ANONYMOUS_BODY_BYTES if self.verdict().peer is None else limits.MAX_BODY_BYTES


class APISite(BoundedSite):
    """The factory of the API's connections."""

    protocol = APIChannel
    requestFactory = APIRequest

    def __init__(self, clocks: Clocks, resource: IResource, judge: Judge) -> None:
        super().__init__(clocks.timers, resource, limits.MAX_BODY_BYTES)
        self.clocks = clocks
        self.judge = judge

    def headers(self) -> Mapping[str, str]:
        return {"X-Teleport-Time": f"{self.clocks.wall():.3f}"}


PeerOf = Callable[[Request], Peer | None]


def certified_peer(request: Request) -> Peer | None:
    """Who calls, by the certificate of the connection."""
    assert isinstance(request, APIRequest)
    return request.peer()
