"""One call of the API to one server: the request, the bounded answer, and the errors that an answer may carry."""

from __future__ import annotations

import json
import math
from urllib.parse import urlencode

from attrs import field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from teleport_conch.certs.names import SERVER_NAME
from teleport_conch.errors import ConnectionProblem, TooLarge, from_json

#: Bytes of one answer; a larger one is refused while it arrives.
MAX_ANSWER_BYTES = 8 << 20
#: The header in which each answer tells the server's clock, in POSIX seconds.
TIME_HEADER = "x-teleport-time"


@frozen
class Call:
    """One call: ``path`` begins with ``/v1/``, ``body`` is what JSON can hold, or bytes that are sent as they are; None
    for no body.

    ``repeatable``: it does no harm twice, so it is sent again where it is not known whether it arrived. ``host``: what
    the request calls the server.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: object = field(default=None, repr=False)
    repeatable: bool = True
    host: str = SERVER_NAME

    @property
    def url(self) -> str:
        """Of whichever server the call goes to: it names the cluster's auth, and not an address."""
        return f"https://{self.host}{self.path}" + (f"?{urlencode(self.query)}" if self.query else "")


@implementer(IBodyProducer)
class WholeBody:
    """A request's body, written at once (Twisted's own producer takes the global reactor's cooperation to do it)."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class BodyReader(Protocol):
    """Takes the body of one answer. :attr:`ended` fires once there is no more; cancelling it ends the connection."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.fail(CancelledError()))
        self._over = False

    def fail(self, reason: Exception) -> None:
        """Take no more of the answer, and of the connection nothing at all."""
        self._end(Failure(reason))
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(None if reason.check(ResponseDone) else reason)

    def _end(self, reason: Failure | None) -> None:
        if self._over:
            return
        self._over = True
        if reason is None:
            self.ended.callback(None)
        else:
            self.ended.errback(reason)

    def dataReceived(self, data: bytes) -> None:
        if not self._over:
            self.take(data)

    def take(self, data: bytes) -> None:
        """The next bytes."""
        raise NotImplementedError


class _Whole(BodyReader):
    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.chunks: list[bytes] = []
        self._left = limit_bytes

    def take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.fail(
                TooLarge(f"The auth server's answer is larger than {MAX_ANSWER_BYTES >> 20} MiB and was not read.")
            )
        else:
            self.chunks.append(data)


async def send(reactor: IReactorTime, http: HTTPClient, call: Call) -> IResponse:
    """The answer to a call as soon as its headers are there. Raises what Twisted raises."""
    headers = Headers({"accept": ["application/json"]})
    data = None
    if isinstance(call.body, bytes):
        headers.setRawHeaders("content-type", ["application/octet-stream"])
        data = WholeBody(call.body)
    elif call.body is not None:
        headers.setRawHeaders("content-type", ["application/json"])
        data = WholeBody(json.dumps(call.body, separators=(",", ":")).encode())
    response: IResponse = await http.request(
        call.method,
        call.url,
        headers=headers,
        data=data,
        allow_redirects=False,
        unbuffered=True,
        reactor=reactor,  # type: ignore[arg-type]  # of which treq uses nothing where there is no timeout of its own
    )
    return response


async def read_body(response: IResponse) -> bytes:
    """The whole body.

    :raises TooLarge: it has more than :data:`MAX_ANSWER_BYTES`.
    """
    reader = _Whole(MAX_ANSWER_BYTES)
    response.deliverBody(reader)
    await reader.ended
    return b"".join(reader.chunks)


async def read_json(response: IResponse) -> object:
    """What the answer holds.

    :raises TeleportError: the error that the server answered.
    :raises ConnectionProblem: the answer is not JSON, so this is not the API.
    """
    body = await read_body(response)
    try:
        value: object = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise ConnectionProblem(
            f"The server answered {response.code} and something that is not JSON. Is this an auth server's address?"
        ) from None
    if response.code >= 300:
        raise from_json(value)
    return value


async def read_bytes(response: IResponse) -> bytes:
    """What the answer holds, where that is no JSON.

    :raises TeleportError: the error that the server answered.
    """
    if response.code >= 300:
        await read_json(response)
    return await read_body(response)


def server_time(response: IResponse) -> float | None:
    """The server's clock when it answered, in POSIX seconds."""
    found = response.headers.getRawHeaders(TIME_HEADER) or [""]
    try:
        at = float(found[0])
    except ValueError:
        return None
    return at if math.isfinite(at) else None
