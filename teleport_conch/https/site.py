"""HTTP with every limit enforced before a path is looked at.

A request arrives whole within :data:`~teleport_conch.https.limits.ARRIVAL_S`, with a bounded head and a bounded body,
or its connection is closed with a sentence. Nothing that could hold a token or a password is logged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from typing import cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from teleport_conch.errors import BadParameter, ConnectionProblem, TeleportError, TooLarge
from teleport_conch.https import limits

MAX_HEAD_LINES = limits.MAX_HEADERS + 2
"""The request line and the empty one at the end are lines, too."""


class BoundedRequest(Request):
    """A request whose body is held in memory, bounded.

    :ivar media_type: of the body, in lower case.
    """

    channel: BoundedChannel
    media_type = b""
    _body: BytesIO
    _left = 0

    def gotLength(self, length: int | None) -> None:
        self.content = self._body = BytesIO()
        self._left = self.channel.body_limit()
        if length is not None and length > self._left:
            self._too_large()

    def handleContentChunk(self, data: bytes) -> None:
        if self.channel.refused:
            return
        self._left -= len(data)
        if self._left < 0:
            self._too_large()
        else:
            self._body.write(data)

    def _too_large(self) -> None:
        self.requestHeaders.removeHeader(b"expect")
        limit = self.channel.body_limit()
        self.channel.refuse(TooLarge(f"The body of the request is larger than {limit} bytes.", limit=limit))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.channel.refused:
            return
        try:
            unquote_to_bytes(path).decode("utf-8")
        except UnicodeDecodeError:
            self.channel.refuse(BadParameter("The address of the request is not text in UTF-8."))
            return
        self.media_type = (self.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
        self.requestHeaders.removeHeader(b"content-type")  # or Twisted would take some bodies for forms
        super().requestReceived(command, path, version)


@implementer(IHandshakeListener)
class BoundedChannel(HTTPChannel):
    """One connection."""

    requestFactory = BoundedRequest
    site: BoundedSite
    totalHeadersSize = limits.MAX_HEADER_BYTES + 1024  # ours are met first, and answer with a sentence
    maxHeaders = limits.MAX_HEADERS + 1
    abortTimeout = int(limits.DISCARDING_S)

    refused = False
    _deadline: IDelayedCall | None = None
    _arriving = False
    answering = False
    _head_bytes = 0
    _head_lines = 0
    _discarded = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        if ISSLTransport.providedBy(self.transport):
            self._deadline = self.callLater(limits.HANDSHAKE_S, self._wire.abortConnection)

    def handshakeCompleted(self) -> None:
        self._stop_deadline()

    def getHost(self) -> IAddress:
        return self._own_address

    @cached_property
    def _own_address(self) -> IAddress:
        """Every request asks for it, and the system would have to be asked each time."""
        address: IAddress = super().getHost()
        return address

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted calls it so
        self._stop_deadline()
        super().connectionLost(reason)

    @property
    def _wire(self) -> ITCPTransport:
        return cast(ITCPTransport, self.transport)

    def body_limit(self) -> int:
        """How many bytes the body of a request may have."""
        return self.site.max_body_bytes

    # The arrival of a request.

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            self._discard(len(data))
            return
        if not self.answering:
            self._arriving = True
        super().dataReceived(data)
        self._expect_the_rest()

    def lineReceived(self, line: bytes) -> None:
        if self.refused:
            return
        self._arriving = True  # also one that was sent before the last one was answered
        self._head_bytes += len(line) + 2
        self._head_lines += 1
        if self._head_bytes > limits.MAX_HEADER_BYTES or self._head_lines > MAX_HEAD_LINES:
            self._refuse_head()
            return
        try:
            super().lineReceived(line)
        except ValueError:  # of a length with thousands of digits
            self._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's goes on reading behind its answer, and fails over lines that have no request before them.
        self.refuse(BadParameter("The request cannot be read as HTTP."))

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_head()

    def _refuse_head(self) -> None:
        self.refuse(
            TooLarge(
                f"The head of a request has at most {limits.MAX_HEADER_BYTES} bytes in {limits.MAX_HEADERS} headers."
            )
        )

    def allContentReceived(self) -> None:
        self._stop_deadline()
        self._head_bytes = self._head_lines = 0
        self._arriving, self.answering = False, True
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self.answering = False
        super().requestDone(request)  # which reads on, if more was sent meanwhile
        self._expect_the_rest()

    def _expect_the_rest(self) -> None:
        """Set the time for a request of which a part is still to come. Most come in one piece, and need no timer."""
        if self._arriving and self._deadline is None:
            self._deadline = self.callLater(limits.ARRIVAL_S, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _too_slow(self) -> None:
        self.refuse(ConnectionProblem(f"The request did not arrive within {limits.ARRIVAL_S:g} seconds."))

    def end(self) -> None:
        """The service stops: close the connection now."""
        self.loseConnection()

    # The end of a connection that asks for too much.

    def refuse(self, reason: TeleportError) -> None:
        """Answer once, take nothing more, and close the connection."""
        if self.refused:
            return
        self.refused, self._arriving = True, False
        self._stop_deadline()
        body = json.dumps(reason.to_json()).encode()
        phrase = HTTPStatus(reason.http_status).phrase
        own = "".join(f"{name}: {value}\r\n" for name, value in self.site.headers().items())
        head = (
            f"HTTP/1.1 {reason.http_status} {phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{own}\r\n"
        )
        self._wire.writeSequence([head.encode("ascii"), body])
        self._deadline = self.callLater(limits.DISCARDING_S, self._wire.abortConnection)
        self.loseConnection()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > limits.DISCARDED_BYTES:
            self._wire.abortConnection()


class BoundedSite(Site):
    """The factory of connections.

    :param max_body_bytes: of a request.
    """

    protocol = BoundedChannel  # type: ignore[assignment]  # Twisted's chooses between HTTP/1.1 and HTTP/2
    requestFactory = BoundedRequest
    displayTracebacks = False
    noisy = False

    def __init__(self, timers: IReactorTime, resource: IResource, max_body_bytes: int) -> None:
        super().__init__(resource, timeout=limits.IDLE_S, reactor=timers)
        self.max_body_bytes = max_body_bytes

    def headers(self) -> Mapping[str, str]:
        """The headers of every answer that is given before a path is looked at."""
        return {}

    def startFactory(self) -> None:
        """Open no access log: the address of a request may hold a token."""

    def stopFactory(self) -> None:
        """There is nothing to close."""

    def log(self, request: http.Request) -> None:
        """Nothing, likewise."""

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]
