"""What a web server shows to browsers: a key and a chain of certificates, made by others or by ourselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError

from teleport_conch.certs import issuing, keys, tls
from teleport_conch.errors import BadParameter

MAX_CHAIN = 10
SELF_SIGNED_S = 10 * 365 * 86_400.0
_BACKDATED_S = 86_400.0


@frozen
class ServingPair:
    """A key and the certificates to show with it, the server's own first.

    :ivar chain: each is signed by the next.
    """

    chain: tuple[x509.Certificate, ...]
    key: keys.PrivateKey = field(repr=False)

    @property
    def self_signed(self) -> bool:
        return self.chain[0].issuer == self.chain[0].subject

    def is_valid_at(self, now: float) -> bool:
        """Whether the server's own certificate is valid at ``now`` (POSIX seconds)."""
        own = self.chain[0]
        return own.not_valid_before_utc.timestamp() <= now < own.not_valid_after_utc.timestamp()

    def names(self, host: str) -> bool:
        """Whether it is made for a host name or an address."""
        name = issuing.general_name(host)
        verify = verify_certificate_hostname if isinstance(name, x509.DNSName) else verify_certificate_ip_address
        try:
            verify(self.chain[0], host)
        except (VerificationError, CertificateError, ValueError):
            return False
        return True

    def pems(self) -> tuple[str, str]:
        """Certificates and key."""
        return "".join(map(tls.certificate_pem, self.chain)), keys.private_pem(self.key)


def read_pair(certificates: str, key: str) -> ServingPair:
    """The pair of two PEM texts.

    :raises BadParameter: one cannot be read, they do not belong together, or a certificate is not signed by the next.
    """
    private = keys.load_private_pem(key)
    try:
        chain = tuple(x509.load_pem_x509_certificates(certificates.encode("utf-8", "replace")))
    except (ValueError, x509.InvalidVersion):
        raise BadParameter("there is no certificate in PEM form in it") from None
    if len(chain) > MAX_CHAIN:
        raise BadParameter(f"it holds {len(chain)} certificates, where {MAX_CHAIN} is the limit")
    if chain[0].public_key() != private.public_key():
        raise BadParameter("its first certificate is not for the key")
    for signed, issuer in pairwise(chain):
        _check_link(signed, issuer)
    return ServingPair(chain, private)


def _check_link(signed: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        signed.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        who, by = signed.subject.rfc4514_string(), issuer.subject.rfc4514_string()
        raise BadParameter(f"the certificate of {who[:200]} is not signed by the next one, of {by[:200]}") from None


def self_signed_pair(hosts: Sequence[str], serial: int, now: float) -> ServingPair:
    """A pair that nobody vouches for, made for these names and addresses."""
    key = keys.generate_tls_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][: tls.MAX_COMMON_NAME_BYTES])])
    window = (now - _BACKDATED_S, now + SELF_SIGNED_S)
    names = [issuing.general_name(host) for host in dict.fromkeys(hosts)]
    return ServingPair((_sign(key, subject, names, serial, window),), key)


def _sign(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    serial: int,
    window: issuing.Window,
) -> x509.Certificate:
    builder = issuing.builder(subject, subject, key.public_key(), serial, window)
    for extension, critical in (
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())
