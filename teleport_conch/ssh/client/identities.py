"""What a user can log in with: keys and certificates, wherever their private parts are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from attrs import field, frozen
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from teleport_conch import wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import BadParameter
from teleport_conch.ssh.login.proof import signature_algorithm
from teleport_conch.ssh.transport.algorithms import PLAIN_SIGNATURES, SIGNATURES_BY_ALGORITHM

_CURVE_HASHES: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
_OF_RSA = {
    b"ssh-rsa": (b"rsa-sha2-512", b"rsa-sha2-256"),
    b"ssh-rsa-cert-v01@openssh.com": (b"rsa-sha2-512-cert-v01@openssh.com", b"rsa-sha2-256-cert-v01@openssh.com"),
}


class Identity(Protocol):
    """One key or certificate that a user may log in with."""

    @property
    def blob(self) -> bytes:
        """What the server is shown: the public key, or the certificate."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def asks(self) -> bool:
        """Whether signing may ask a person for something, so that the server's interest is found out first."""

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        """A signature blob with one of :func:`algorithms_of` its blob.

        :raises TeleportError: it cannot sign now; the next identity is tried.
        """


@frozen
class KeyIdentity:
    """A private key in memory, and perhaps the certificate over it."""

    private_key: keys.PrivateKey = field(repr=False)
    blob: bytes = field(repr=False)
    name: str
    asks: bool = False

    @classmethod
    def of(cls, private_key: keys.PrivateKey, certificate: SSHCertificate | None = None) -> KeyIdentity:
        """The identity of a key.

        :raises BadParameter: the certificate is over another key, or the key is of a kind that is not accepted.
        """
        plain = keys.public_blob(private_key.public_key())
        if certificate is not None and certificate.public_key != plain:
            raise BadParameter("The certificate is for another key than the private one beside it.")
        blob = plain if certificate is None else certificate.to_blob()
        return cls(private_key, blob, described(blob))

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        return sign(self.private_key, signature_algorithm(algorithm), data)


def sign(key: keys.PrivateKey, algorithm: str, data: bytes) -> bytes:
    """The signature blob of ``key`` over ``data``, with a plain algorithm of its kind."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        body = key.sign(data)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        body = b"".join(map(wire.mpint, decode_dss_signature(key.sign(data, ec.ECDSA(_CURVE_HASHES[key.key_size])))))
    else:
        body = key.sign(data, padding.PKCS1v15(), hashes.SHA512() if algorithm.endswith("512") else hashes.SHA256())
    return wire.text(algorithm) + wire.string(body)


def algorithms_of(blob: bytes) -> tuple[bytes, ...]:
    """The algorithms that a key or certificate signs with, most wanted first; none where it is not accepted.

    RSA has two, as SHA-1 is not one of them.
    """
    try:
        kind = public_key.declared_type(blob).encode()
    except wire.WireError:
        return ()
    if kind in _OF_RSA:
        return _OF_RSA[kind]
    return (kind,) if kind in SIGNATURES_BY_ALGORITHM or kind in PLAIN_SIGNATURES else ()


def choose_algorithm(blob: bytes, accepted: Collection[bytes] | None) -> bytes | None:
    """The algorithm to sign with for a server that accepts these (``server-sig-algs``, RFC 8308, section 3.1).

    Servers list plain names, certificates' names, or both. Where there is a choice it follows the list; where there is
    none, the list is not trusted to be complete, as OpenSSH's client does not trust it either.

    :param accepted: None where the server does not say, and then the strongest is tried.
    """
    possible = algorithms_of(blob)
    if accepted is None or len(possible) < 2:
        return possible[0] if possible else None
    return next((each for each in possible if {each, signature_algorithm(each).encode()} & set(accepted)), None)


def described(blob: bytes) -> str:
    """Type and fingerprint of a key; of a certificate, those of its key and whose it is."""
    kind = public_key.declared_type(blob)
    if "-cert-" not in kind:
        return f"{kind} {keys.fingerprint(blob)}"
    certificate = SSHCertificate.parse(blob)
    who = "".join(each for each in certificate.key_id[:64] if each.isprintable())
    return f"{kind} {keys.fingerprint(certificate.public_key)} of {who!r}"
