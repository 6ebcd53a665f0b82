"""The one place that decides whether a certificate is believed. Everything here raises, or it is believed.

Time is an argument, and so is who is trusted. OpenSSH's PROTOCOL.certkeys and RFC 5280 say what has to be checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from teleport_conch import errors
from teleport_conch.certs import options, tls
from teleport_conch.certs.certificate import (
    FOREVER,
    CertificateType,
    SSHCertificate,
    check_authority_type,
    verify_signature,
)
from teleport_conch.certs.public import PublicAuthority

_CRITICAL_IN_TLS = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    )
)
_Value = TypeVar("_Value", bound=x509.ExtensionType)


def check_ssh_certificate(
    certificate: SSHCertificate,
    *,
    type: CertificateType,  # noqa: A002 - the format's own word, and only ever given by name
    authorities: Collection[bytes],
    now: float,
    principal: str | None,
    source_address: str | None,
    emergency: bool = False,
) -> None:
    """Believes a certificate, or raises exactly one reason not to.

    :param type: whom it has to speak for.
    :param authorities: the blobs of the keys that may sign certificates of this type.
    :param now: POSIX seconds.
    :param principal: the login or host name asked for, compared literally (a host name in lower case); None takes any,
        as a proxy does, but even then a certificate without principals is refused.
    :param source_address: the address of the client itself, behind whatever proxies; None where it is not known, and
        then a certificate that is limited to addresses is refused.
    :param emergency: whether certificates count that were made in advance for the time when auth cannot be reached.
    :raises CertificateType: it speaks for the other kind.
    :raises CertificateAlgorithm: it is signed in a way that is not accepted from any authority.
    :raises CertificateAuthorityUnknown: it is signed by nobody in ``authorities``.
    :raises CertificateSignature: it was altered.
    :raises CertificateNotYetValid: fact ``seconds``: how long until it is valid.
    :raises CertificateExpired: fact ``seconds``: how long ago it ended.
    :raises CertificatePrincipal: it has no principals, or others.
    :raises CertificateCriticalOption: it has a critical option that is unknown, or known and malformed.
    :raises CertificateSourceAddress: it may not be used from ``source_address``.
    :raises EmergencyOnly: it counts in an emergency, and this is none.
    :raises CertificateMalformed: it has no end, or a known extension whose form is wrong.
    """
    if certificate.type is not type:
        raise errors.CertificateType(
            f"A {type.name.lower()} certificate is due, and this is a {certificate.type.name.lower()} certificate."
        )
    check_authority_type(certificate.signature_key)
    if certificate.signature_key not in authorities:
        raise errors.CertificateAuthorityUnknown(
            f"The certificate of {_shown(certificate.key_id)} is signed by an authority that is not trusted here."
        )
    verify_signature(certificate)
    if certificate.valid_before == FOREVER:
        raise errors.CertificateMalformed("The certificate never ends; one that expires is due.")
    _check_window(certificate.valid_after, certificate.valid_before, now)
    _check_principals(certificate, principal)
    options.check_options(certificate)
    options.check_emergency(certificate, emergency)
    options.check_source_address(certificate, source_address)


def _shown(text: str) -> str:
    """Text of a peer, which may hold anything, short and harmless."""
    return f"'{text[:64].encode('unicode_escape').decode('ascii')}'"


def _check_window(start: float, end: float, now: float) -> None:
    # Written so that a time which is not a number is refused.
    if not now >= start:
        seconds = start - now
        raise errors.CertificateNotYetValid(
            f"The certificate becomes valid in {seconds:.0f} seconds; compare the clocks.", seconds=seconds
        )
    if not now < end:
        seconds = now - end
        raise errors.CertificateExpired(
            f"The certificate expired {seconds:.0f} seconds ago; get a new one, or compare the clocks.", seconds=seconds
        )


def _check_principals(certificate: SSHCertificate, principal: str | None) -> None:
    if not certificate.principals:
        raise errors.CertificatePrincipal("The certificate has no principals, so that it is good for nobody.")
    if principal is None:
        return
    # Host names are the same in any case; what is not ASCII is no host name, and stays what it is.
    wanted = principal.lower() if certificate.type is CertificateType.HOST and principal.isascii() else principal
    if not wanted or wanted not in certificate.principals:
        raise errors.CertificatePrincipal(f"The certificate is not for {_shown(principal)}.")


@frozen
class TLSAuthorities:
    """The certificates of the authorities whose users and hosts are believed, of one cluster or of several."""

    user: tuple[x509.Certificate, ...]
    host: tuple[x509.Certificate, ...]

    @classmethod
    def of(cls, authorities: Iterable[PublicAuthority]) -> TLSAuthorities:
        """Those of the given authorities, each under its own kind."""
        known = tuple(authorities)
        return cls(
            user=tuple(each for one in known if one.kind == "user" for each in one.x509_certificates()),
            host=tuple(each for one in known if one.kind == "host" for each in one.x509_certificates()),
        )


def check_tls_certificate(certificate: x509.Certificate, authorities: TLSAuthorities, now: float) -> tls.TLSIdentity:
    """Whom a TLS client's certificate speaks for, or exactly one reason not to believe it.

    The possession of its private key is what TLS itself has proved.

    :param now: POSIX seconds.
    :raises CertificateAuthorityUnknown: none of the authorities issued it.
    :raises CertificateSignature: it says that one of them did, and was altered.
    :raises CertificateAlgorithm: it is signed with SHA-1 or worse.
    :raises CertificateType: it is an authority's own, or not for clients.
    :raises CertificateCriticalOption: something critical in it is not known here.
    :raises CertificateNotYetValid: fact ``seconds``, as in :func:`check_ssh_certificate`.
    :raises CertificateExpired: likewise.
    :raises CertificateMalformed: it cannot be read, or is not for a user or host in our form.
    """
    try:
        return _believed(certificate, authorities, now)
    except UnsupportedAlgorithm:
        raise errors.CertificateAlgorithm(
            "The certificate is signed with an algorithm that is not known here."
        ) from None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise errors.CertificateMalformed("The certificate cannot be read.") from None


def _believed(certificate: x509.Certificate, authorities: TLSAuthorities, now: float) -> tls.TLSIdentity:
    _check_form(certificate)
    kind, issuer = _issuer(certificate, authorities)
    _check_use(certificate)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # X.509 counts its last second in (RFC 5280, section 4.1.2.5), where SSH does not.
    _check_window(start.timestamp(), end.timestamp() + 1, now)
    cluster = tls.cluster_of(issuer)
    return tls.read_user(certificate, cluster) if kind == "user" else tls.read_host(certificate, cluster)


def _check_form(certificate: x509.Certificate) -> None:
    """A signature is whole bytes (RFC 5480); a bit string that says otherwise would be a second form of the same."""
    unused_bits = certificate.public_bytes(Encoding.DER)[-len(certificate.signature) - 1]
    if unused_bits:
        raise errors.CertificateMalformed("The certificate cannot be read.")


def _issuer(certificate: x509.Certificate, authorities: TLSAuthorities) -> tuple[tls.Kind, x509.Certificate]:
    """The authority that issued it, and its kind; nothing else of the certificate has been believed by then."""
    listed: list[tuple[tls.Kind, x509.Certificate]] = [("user", each) for each in authorities.user]
    listed += [("host", each) for each in authorities.host]
    named = [(kind, each) for kind, each in listed if _names_issuer(certificate, each)]
    if not named:
        raise errors.CertificateAuthorityUnknown("The certificate is signed by an authority that is not trusted here.")
    if not isinstance(certificate.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise errors.CertificateAlgorithm("The certificate is signed with an algorithm that no authority may use.")
    for kind, each in named:
        if _issued(certificate, each):
            return kind, each
    raise errors.CertificateSignature("The certificate's signature is wrong.")


def _names_issuer(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether it says that this authority issued it.

    Both authorities of a cluster have the same subject, and their key identifiers tell them apart.
    """
    try:
        issuer = certificate.issuer
    except (ValueError, KeyError) as reason:  # the latter of texts of a kind that there is not, before cryptography 44
        raise errors.CertificateMalformed("The certificate cannot be read.") from reason
    if issuer != authority.subject:
        return False
    said = _extension(certificate, x509.AuthorityKeyIdentifier)
    own = _extension(authority, x509.SubjectKeyIdentifier)
    return said is None or own is None or said.key_identifier == own.digest


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _check_use(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or constraints.ca:
        raise errors.CertificateType("The certificate is that of an authority, not of a user or host.")
    use = _extension(certificate, x509.ExtendedKeyUsage)
    if use is None or ExtendedKeyUsageOID.CLIENT_AUTH not in use:
        raise errors.CertificateType("The certificate is not one for TLS clients.")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _CRITICAL_IN_TLS:
            raise errors.CertificateCriticalOption(
                f"The certificate has the critical extension {extension.oid.dotted_string}, which is not known here."
            )


def _extension(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
