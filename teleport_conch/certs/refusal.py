"""Which check refused a certificate, with what it looked at, for administrators; the person reads one sentence.

The checks are those of :func:`teleport_conch.certs.trust.check_ssh_certificate`, in its order: what is listed before
the last one was good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from attrs import frozen

from teleport_conch import errors
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import FOREVER, CertificateType, SSHCertificate
from teleport_conch.certs.words import instant, listed, shown, span
from teleport_conch.errors import CertificateRefused

_ANOTHER = "ask for another certificate: tsh login, or tctl auth sign"


@frozen
class Asked:
    """What a certificate was looked at for.

    :ivar principal: the login that was asked for; empty where any would do.
    :ivar address: of the client.
    :ivar authorities: the blobs of the keys that are trusted here.
    :ivar now: POSIX seconds.
    """

    principal: str
    address: str
    authorities: Collection[bytes]
    now: float


@frozen
class _Check:
    """:ivar refuses: the errors by which it does. ``change`` is what would have to be done about it."""

    part: str
    says: str
    refuses: tuple[type[CertificateRefused], ...]
    change: str = _ANOTHER


def refusal_lines(certificate: SSHCertificate, refusal: CertificateRefused, asked: Asked) -> tuple[str, ...]:
    """The trace of a refusal: one line for each check that was made, and what to do about the last one."""
    lines = [f"certificate of {shown(certificate.key_id) or 'nobody'}, serial {certificate.serial}: refused"]
    for check in _checks(certificate, asked):
        if isinstance(refusal, check.refuses):
            lines += [f"{check.part}: {check.says}: refused, {refusal.code}", f"to allow it: {check.change}"]
            return tuple(lines)
        lines.append(f"{check.part}: {check.says}: good")
    return (lines[0], f"certificate: {refusal.sentence}")


def _checks(certificate: SSHCertificate, asked: Asked) -> Iterator[_Check]:
    of_host = certificate.type is CertificateType.HOST
    kind = "of a host" if of_host else "of a person"
    yield _Check("kind", kind, (errors.CertificateType,), "show the certificate of a person")
    yield from _of_authority(certificate, asked)
    yield _of_time(certificate, asked.now)
    logins = listed(certificate.principals) or "none"
    wanted = f", asked for {shown(asked.principal)}" if asked.principal else ""
    another = f"ask for a certificate with the login {shown(asked.principal)}" if asked.principal else _ANOTHER
    yield _Check("principal", f"{logins}{wanted}", (errors.CertificatePrincipal,), another)
    options = listed(name for name, _ in certificate.critical_options) or "none"
    malformed = (errors.CertificateCriticalOption, errors.CertificateMalformed)
    yield _Check("critical options", options, malformed)
    yield _Check("emergency", "auth can be reached", (errors.EmergencyOnly,), "log in: tsh login")
    address = shown(asked.address) or "not known"
    come = "come from an address for which the certificate is good, or log in again from this one"
    yield _Check("address", address, (errors.CertificateSourceAddress,), come)


def _of_authority(certificate: SSHCertificate, asked: Asked) -> Iterator[_Check]:
    signed = f"signed by {keys.fingerprint(certificate.signature_key)}"
    trusted = listed(map(keys.fingerprint, asked.authorities)) or "none"
    known = f"{signed}, trusted here: {trusted}"
    refuses = (errors.CertificateAlgorithm, errors.CertificateAuthorityUnknown)
    change = "log in to this cluster, or see whether this host has the right authorities"
    yield _Check("authority", known, refuses, change)
    yield _Check("signature", "over all that it says", (errors.CertificateSignature,))


def _of_time(certificate: SSHCertificate, now: float) -> _Check:
    start, end = certificate.valid_after, certificate.valid_before
    if end == FOREVER:
        return _Check("time", f"from {instant(start)}, without end", (errors.CertificateMalformed,))
    says = f"from {instant(start)} to {instant(end)}, here it is {instant(now)}"
    if now < start:
        change = f"compare the clocks, which may differ by {span(start - now)}, or wait"
        return _Check("time", says, (errors.CertificateNotYetValid,), change)
    change = "log in again; if the end was meant to be later, compare the clocks"
    return _Check("time", says, (errors.CertificateExpired,), change)
