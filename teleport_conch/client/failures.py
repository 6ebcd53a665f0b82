"""Why a call got no answer: the many exceptions of Twisted and OpenSSL as one error of ours, with a sentence."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

from attrs import frozen
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss

from teleport_conch.errors import (
    CertificateAuthorityUnknown,
    CertificatePrincipal,
    ConnectionProblem,
    TeleportError,
)

#: What an attempt at one address may raise besides our own errors; anything else is a mistake of ours.
NETWORK_ERRORS = (
    error.ConnectError,
    error.ConnectionClosed,
    error.DNSLookupError,
    defer.TimeoutError,
    PotentialDataLoss,
    RequestTransmissionFailed,
    ResponseFailed,
    SSL.Error,
    VerificationError,
)


_Answer = TypeVar("_Answer")


@frozen
class Called:
    """What was called, in the words of a sentence, and the port at which it usually is.

    :ivar silent: what it means when the connection is ended without a word; empty for no more than that.
    :ivar instead: what is said of every failure to whoever is not to hear addresses and reasons; empty for these.
    """

    name: str
    port: int
    silent: str = ""
    instead: str = ""


AUTH = Called("auth server", 3025)
PROXY = Called("proxy", 3080)
AUTH_BEHIND_PROXY = Called("proxy", 3080, silent="The proxy cannot reach the auth server of its cluster at the moment.")
"""Auth, for people: the proxy passes connections on, and ends those for which there is no auth server."""
AUTH_OF_STRANGERS = Called(
    *("auth server", 3025),
    instead="The auth server of this cluster cannot be reached at the moment; try again in a minute.",
)
"""Auth, for what a proxy answers to anybody at all."""


@frozen
class Unanswered:
    """A call that got no answer.

    ``delivered``: the server may have acted upon it. ``lost``: the connection ended without a word, as one does that
    was kept open for too long. ``tls``: it ended in TLS, so a wrong clock may be behind it.
    """

    error: TeleportError
    delivered: bool = False
    lost: bool = False
    tls: bool = False


async def within(clock: IReactorTime, seconds: float, call: Coroutine[Deferred[Any], Any, _Answer]) -> _Answer:
    """What *call* answers. Twisted's HTTP client reports a cancellation as a lost answer; here it is one again.

    :raises TimeoutError: Twisted's, when the time is over.
    :raises CancelledError: the wait was cancelled.
    """
    try:
        return await Deferred.fromCoroutine(call).addTimeout(seconds, clock, _time_is_over)
    except (error.ConnectingCancelledError, *NETWORK_ERRORS) as reason:
        if any(isinstance(cause, defer.CancelledError | error.ConnectingCancelledError) for cause in _causes(reason)):
            raise defer.CancelledError from None
        raise


def _time_is_over(_: object, seconds: float) -> NoReturn:
    raise defer.TimeoutError(f"There was no answer within {seconds:g} s.")


def unanswered(reason: BaseException, address: str, called: Called = AUTH) -> Unanswered:
    """What *reason*, one of :data:`NETWORK_ERRORS`, means for a call to ``host:port``."""
    causes = list(_causes(reason))
    for cause in causes:
        if isinstance(cause, VerificationError):
            return Unanswered(_wrong_name(address, called), tls=True)
        if isinstance(cause, SSL.Error):
            return Unanswered(_tls(cause, address, called), tls=True)
    return _without_tls(reason, causes[0], address, called)


def _without_tls(reason: BaseException, cause: BaseException, address: str, called: Called) -> Unanswered:
    if isinstance(reason, error.DNSLookupError | error.ConnectError):
        return Unanswered(_unconnected(reason, address, called))
    if isinstance(reason, defer.TimeoutError):
        return Unanswered(ConnectionProblem(f'The {called.name} "{address}" did not answer in time.'), delivered=True)
    silent = isinstance(reason, RequestTransmissionFailed | ResponseNeverReceived)
    if silent and isinstance(cause, error.ConnectionClosed):
        closed = f'The {called.name} "{address}" closed the connection without an answer.'
        return Unanswered(ConnectionProblem(called.silent or closed), delivered=True, lost=True)
    problem = ConnectionProblem(
        f'The {called.name} "{address}" stopped in the middle of an answer, or does not speak HTTP.'
    )
    return Unanswered(problem, delivered=True)


def _causes(reason: BaseException) -> Iterator[BaseException]:
    """The exceptions that Twisted has wrapped, innermost first."""
    for failure in getattr(reason, "reasons", ()):
        yield from _causes(failure.value)
    yield reason


def _unconnected(reason: error.DNSLookupError | error.ConnectError, address: str, called: Called) -> ConnectionProblem:
    why = f"Cannot connect to the {called.name}:"
    if isinstance(reason, error.ConnectionRefusedError):
        return ConnectionProblem(f'{why} connection refused. Is the {called.name} running on "{address}"?')
    if isinstance(reason, error.DNSLookupError | error.UnknownHostError):
        return ConnectionProblem(f'{why} the name in "{address}" is not known to this machine. Is it spelt right?')
    if isinstance(reason, error.TimeoutError):
        return ConnectionProblem(f'{why} nothing answers. Is "{address}" right, and does a firewall let it through?')
    detail = reason.osError.strerror if isinstance(reason.osError, OSError) else None
    return ConnectionProblem(f'{why} {detail or "no way there"}. Is "{address}" the right address?')


def _wrong_name(address: str, called: Called) -> CertificatePrincipal:
    if called is PROXY:
        return CertificatePrincipal(
            f'The server at "{address}" is trusted and is not this proxy: its certificate is for another name. Is the '
            "address right?"
        )
    return CertificatePrincipal(
        f'The server at "{address}" belongs to the cluster and is not an auth server: '
        "its certificate is not for teleport.cluster.local. Is the address right?"
    )


def _tls(reason: SSL.Error, address: str, called: Called) -> TeleportError:
    why = tls_reason(reason)
    if why == "certificate verify failed":
        return CertificateAuthorityUnknown(
            f'The server at "{address}" is not {_a(called)} of this cluster: its certificate is not signed by the '
            "host authority that this machine trusts. Is the address right, or was the authority rotated?"
        )
    if "alert" in why:
        return ConnectionProblem(f'The server at "{address}" ended the TLS connection: {why}.')
    return ConnectionProblem(
        f'The server at "{address}" does not speak TLS ({why}). The API of the {called.name} is on port {called.port}.'
    )


def _a(called: Called) -> str:
    return f"an {called.name}" if called is AUTH else f"a {called.name}"


def tls_reason(reason: SSL.Error) -> str:
    """OpenSSL's own words, such as ``certificate verify failed``."""
    queue = reason.args[0] if reason.args else ()
    words = [entry[-1] for entry in queue if isinstance(entry, tuple) and entry] if isinstance(queue, list) else []
    return str(words[0]) if words else "the connection was closed during the handshake"
