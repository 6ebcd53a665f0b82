"""The proof of a login with a key: what a client signs (RFC 4252, section 7), and whether that is good.

Everything here is a function of bytes, without Twisted, so that a process which starts sessions can look at a proof for
itself. The algorithm that is announced, the type of the key and the algorithm of the signature have to belong together.
"""

from __future__ import annotations

from functools import lru_cache

from attrs import field, frozen

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.options import VERIFY_REQUIRED
from teleport_conch.certs.public_key import PublicKey
from teleport_conch.certs.signatures import USER_VERIFIED, AlgorithmRefused, BadSignature, Signature, verify
from teleport_conch.errors import AccessDenied, CertificateType
from teleport_conch.ssh.transport.algorithms import PLAIN_SIGNATURES, SIGNATURES_BY_ALGORITHM
from teleport_conch.wire import WireError

PUBLICKEY = b"publickey"
HOSTBOUND = b"publickey-hostbound-v00@openssh.com"
"""The same with the server's host key in what is signed (OpenSSH's PROTOCOL, section 3.1)."""

REMEMBERED_CERTIFICATES = 64
"""How many of the last certificates are not read, nor their signatures verified, once more; each is 64 KiB at most."""

_REQUEST = 50
_SERVICE = b"ssh-connection"
_RSA_KINDS = {"rsa-sha2-256": "ssh-rsa", "rsa-sha2-512": "ssh-rsa"}
_RSA_CERTIFICATES = {
    b"rsa-sha2-256-cert-v01@openssh.com": "ssh-rsa-cert-v01@openssh.com",
    b"rsa-sha2-512-cert-v01@openssh.com": "ssh-rsa-cert-v01@openssh.com",
}


@frozen
class LoginProof:
    """What one client signed to log in.

    :ivar session_id: the identifier of the connection (RFC 4253, section 7.2), which binds the signature to it.
    :ivar user: the user name of the request.
    :ivar algorithm: the name that was announced.
    :ivar blob: the certificate, or the plain key.
    :ivar host_key: the server's host key as the key exchange had it, where the request is bound to it; else empty.
    """

    session_id: bytes = field(repr=False)
    user: str
    algorithm: bytes
    blob: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    host_key: bytes = field(default=b"", repr=False)

    def signed_part(self) -> bytes:
        """The bytes under the signature."""
        parts = [
            wire.string(self.session_id),
            wire.byte(_REQUEST),
            wire.text(self.user),
            wire.string(_SERVICE),
            wire.string(HOSTBOUND if self.host_key else PUBLICKEY),
            wire.boolean(True),
            wire.string(self.algorithm),
            wire.string(self.blob),
        ]
        if self.host_key:
            parts.append(wire.string(self.host_key))
        return b"".join(parts)

    def verify(self, offered: SSHCertificate | PublicKey) -> None:
        """That the key which was ``offered`` (and is the one in :attr:`blob`) made the signature.

        A security key has to have been touched, unless its certificate says ``no-touch-required``, and to have verified
        its user where the certificate says ``verify-required`` (PROTOCOL.certkeys).

        :raises AccessDenied: it did not.
        """
        certificate = offered if isinstance(offered, SSHCertificate) else None
        try:
            given = Signature.parse(self.signature)
            if given.algorithm != signature_algorithm(self.algorithm):
                raise AlgorithmRefused(f"{given.algorithm!r} is not what {self.algorithm.decode()} signs with")
            key = public_key.parse(offered.public_key) if isinstance(offered, SSHCertificate) else offered
            verify(key, given, self.signed_part(), require_presence=not _may_be_untouched(certificate))
            if _must_verify_user(certificate) and not given.flags & USER_VERIFIED:
                raise BadSignature("the certificate demands that the security key verifies its user")
        except (AlgorithmRefused, BadSignature, WireError) as problem:
            raise AccessDenied(f"The signature of the login is not accepted: {problem}.") from problem


def _may_be_untouched(certificate: SSHCertificate | None) -> bool:
    return certificate is not None and any(name == "no-touch-required" for name, _ in certificate.extensions)


def _must_verify_user(certificate: SSHCertificate | None) -> bool:
    return certificate is not None and certificate.critical_option(VERIFY_REQUIRED) is not None


def signature_algorithm(algorithm: bytes) -> str:
    """What ``algorithm``, that of a certificate or a plain key, is signed with. Raises AlgorithmRefused."""
    if algorithm in PLAIN_SIGNATURES:
        return algorithm.decode("ascii")
    if algorithm not in SIGNATURES_BY_ALGORITHM:
        raise AlgorithmRefused("its algorithm is not accepted here")
    return SIGNATURES_BY_ALGORITHM[algorithm]


def offered_certificate(algorithm: bytes, blob: bytes) -> SSHCertificate:
    """The certificate in ``blob``, if it is one that ``algorithm`` is used with (RFC 8332, section 3).

    :raises CertificateRefused: it cannot be read, or its key is none that is accepted.
    :raises AccessDenied: it is another certificate.
    """
    if algorithm not in SIGNATURES_BY_ALGORITHM:
        raise CertificateType("Only certificates are accepted here.")
    certificate = _read(blob)
    if certificate.kind != _RSA_CERTIFICATES.get(algorithm, algorithm.decode("ascii")):
        raise AccessDenied(f"The certificate is not of the announced algorithm {algorithm.decode('ascii')}.")
    return certificate


@lru_cache(maxsize=REMEMBERED_CERTIFICATES)
def _read(blob: bytes) -> SSHCertificate:
    """The certificate in ``blob``; one that is offered is most often signed with next, and used again tomorrow."""
    return SSHCertificate.parse(blob)


def offered_key(algorithm: bytes, blob: bytes) -> PublicKey:
    """The plain key in ``blob``, if it is one that ``algorithm`` is used with.

    :raises AccessDenied: it is not, or it is none that is accepted.
    """
    if algorithm not in PLAIN_SIGNATURES:
        raise AccessDenied("Keys of this type are not accepted here.")
    name = algorithm.decode("ascii")
    try:
        key = public_key.parse(blob)
    except WireError as problem:
        raise AccessDenied(f"The key is not accepted: {problem}.") from problem
    if key.kind != _RSA_KINDS.get(name, name):
        raise AccessDenied(f"The key is not of the announced algorithm {name}.")
    return key
