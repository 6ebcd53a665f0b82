"""Whether a login is what a server says: the session, the certificate, the account and the signature. Pure.

The server that asks may be in somebody else's hands. What it cannot make up is a certificate of an authority that is an
anchor here, and the signature of that certificate's key over a session identifier that was signed here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from attrs import define, field

from teleport_conch import wire
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.login.proof import LoginProof, offered_certificate
from teleport_conch.ssh.monitor import orders
from teleport_conch.wire import Reader

MAX_USED = 100_000
"""Sessions that had their login and are remembered, so that no signature serves twice; each took a person's key."""

MAX_SESSION_IDS = 10_000
"""Session identifiers that are remembered for each server; a login that comes behind so many later exchanges fails."""


@define
class SignedSessions:
    """The exchange hashes that were signed for one server, each of which may be the identifier of a session."""

    _known: OrderedDict[bytes, None] = field(factory=OrderedDict)
    _used: OrderedDict[bytes, None] = field(factory=OrderedDict)

    def add(self, session_id: bytes) -> None:
        if session_id in self._used:
            return
        self._known[session_id] = None
        if len(self._known) > MAX_SESSION_IDS:
            self._known.popitem(last=False)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._known

    def use(self, session_id: bytes) -> None:
        """The session has its login: nobody else logs in with it, nor does it help to have it signed again."""
        self._known.pop(session_id, None)
        self._used[session_id] = None
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)


def verify_login(
    proof: LoginProof,
    sessions: SignedSessions,
    host_keys: Collection[bytes],
    authorities: Collection[bytes],
    now: float,
    client_host: str,
) -> SSHCertificate:
    """The certificate of somebody who may log in as ``proof.user``.

    :param host_keys: the blobs of this host's own keys and certificates, to one of which the login may be bound.
    :param authorities: the anchors, as the blobs of their keys.
    :param now: POSIX seconds.
    :param client_host: where the server says that the client is.
    :raises AccessDenied: the session is unknown here, or the signature is not the certificate's.
    :raises CertificateRefused: see :func:`teleport_conch.certs.trust.check_ssh_certificate`.
    """
    if proof.session_id not in sessions:
        raise AccessDenied("The monitor did not sign for this session; log in again.")
    if proof.host_key and proof.host_key not in host_keys:
        raise AccessDenied("The login is bound to the host key of another server.")
    certificate = offered_certificate(proof.algorithm, proof.blob)
    check_ssh_certificate(
        certificate,
        type=CertificateType.USER,
        authorities=authorities,
        now=now,
        principal=proof.user,
        source_address=client_host,
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
