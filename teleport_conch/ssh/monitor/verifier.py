"""Whether a login is what a server says: the session, the certificate, the account and the signature. Pure.

The server that asks may be in somebody else's hands. What it cannot make up is a certificate of an authority that is an
anchor here, and the signature of that certificate's key over a session identifier that was computed here.
"""

from __future__ import annotations

from collections.abc import Collection

from teleport_conch import wire
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.login.proof import LoginProof, offered_certificate
from teleport_conch.ssh.monitor import orders
from teleport_conch.wire import Reader


def verify_login(
    proof: LoginProof,
    shown: bytes | None,
    authorities: Collection[bytes],
    now: float,
    client_host: str,
) -> SSHCertificate:
    """The certificate of somebody who may log in as ``proof.user``.

    :param shown: the host key or certificate that the exchange of the session showed, to which the login may be bound;
        None for a session that was not signed for, or that had its login.
    :param authorities: the anchors, as the blobs of their keys.
    :param now: POSIX seconds.
    :param client_host: where the server says that the client is.
    :raises AccessDenied: the session is unknown here, or the signature is not the certificate's.
    :raises CertificateRefused: see :func:`teleport_conch.certs.trust.check_ssh_certificate`.
    """
    if shown is None:
        raise AccessDenied("The monitor did not sign for this session; log in again.")
    if proof.host_key and proof.host_key != shown:
        raise AccessDenied("The login is bound to the host key of another server.")
    certificate = offered_certificate(proof.algorithm, proof.blob)
    check_ssh_certificate(
        certificate,
        type=CertificateType.USER,
        authorities=authorities,
        now=now,
        principal=proof.user,
        source_address=client_host,
        emergency=True,  # whether this is one, only the server can know
    )
    proof.verify(certificate)
    return certificate


def pack_proof(proof: LoginProof, client_host: str) -> bytes:
    """The body of a LOGIN."""
    parts = (proof.session_id, proof.user.encode(), proof.algorithm, proof.blob, proof.signature, proof.host_key)
    return b"".join(map(wire.string, parts)) + orders.text(client_host)


def read_proof(body: bytes) -> tuple[LoginProof, str]:
    """What :func:`pack_proof` packed. Raises WireError."""
    reader = Reader(body)
    session_id, user = reader.string(), reader.text()
    algorithm, blob, signature, host_key = (reader.string() for _ in range(4))
    client_host = orders.read_text(reader)
    reader.end()
    return LoginProof(session_id, user, algorithm, blob, signature, host_key), client_host
