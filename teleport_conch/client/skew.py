"""Whether a failure of TLS is in truth a wrong clock, and by how many seconds."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime

from teleport_conch.client.connections import Connections
from teleport_conch.client.exchange import Call, read_json, send
from teleport_conch.client.failures import NETWORK_ERRORS, within
from teleport_conch.client.tls import IClusterPolicy
from teleport_conch.errors import CertificateExpired, ClockSkew, TeleportError
from teleport_conch.resources.fields import Fields

#: Seconds that the question for the server's clock may take.
PING_TIMEOUT_S = 10.0


async def first_cause(
    reactor: IReactorTime, address: str, policy: IClusterPolicy, problem: TeleportError
) -> TeleportError:
    """What was really wrong when TLS to *address* failed with *problem*: a clock, a certificate, or just that.

    The server is asked for its time over a connection that verifies all but times. What goes wrong with this second
    connection is never shown.
    """
    untimed = policy.untimed()
    if untimed is None:
        return problem
    connections = Connections(reactor, address, untimed)
    try:
        theirs = await within(reactor, PING_TIMEOUT_S, _ask(reactor, connections.http))
    except (*NETWORK_ERRORS, TeleportError):
        return problem
    finally:
        connections.retire()
    return explanation(problem, untimed.shown, policy.certificate(), reactor.seconds(), theirs, address)


async def _ask(reactor: IReactorTime, http: HTTPClient) -> float:
    answer = await read_json(await send(reactor, http, Call("GET", "/v1/ping")))
    return Fields(answer, "answer").number("server_time")


def explanation(
    problem: TeleportError,
    shown: x509.Certificate | None,
    own: x509.Certificate | None,
    ours: float,
    theirs: float,
    address: str,
) -> TeleportError:
    """The cause, from both certificates and both clocks.

    :param shown: the server's certificate, ``own`` our own.
    :param ours: our time in POSIX seconds, ``theirs`` the server's.
    """
    certificates = [certificate for certificate in (shown, own) if certificate is not None]
    if _clock_explains(certificates, ours, theirs):
        return clock_skew(theirs - ours)
    if shown is not None and shown.not_valid_after_utc.timestamp() < theirs:
        ended = shown.not_valid_after_utc.strftime("%Y-%m-%d %H:%M:%S UTC")
        return CertificateExpired(
            f'The certificate of the auth server at "{address}" expired at {ended}. Restart that server to renew it.',
            seconds=round(theirs - shown.not_valid_after_utc.timestamp()),
        )
    return problem


def clock_skew(seconds: float) -> ClockSkew:
    """:param seconds: how far we are behind; negative where we are ahead."""
    where = "behind" if seconds >= 0 else "ahead of"
    return ClockSkew(
        f"The clock of this machine is {abs(round(seconds))} s {where} the auth server's, and certificates are good "
        "between clocks that agree. Set the clock; `timedatectl set-ntp true` keeps it right.",
        seconds=round(seconds),
    )


def _clock_explains(certificates: Iterable[x509.Certificate], ours: float, theirs: float) -> bool:
    return any(_within(certificate, theirs) and not _within(certificate, ours) for certificate in certificates)


def _within(certificate: x509.Certificate, now: float) -> bool:
    return certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp()
