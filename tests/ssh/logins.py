"""Clients that log in with certificates of every kind of key, and the transport and policy that they meet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

from attrs import define, evolve, field, frozen
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from twisted.conch.ssh import userauth as conch
from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import CertificateType, SSHCertificate, option
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.login.admission import Admission, Bounds, Visit
from teleport_conch.ssh.login.policy import Answer, Attempt, Claim, LoginPolicy
from teleport_conch.ssh.transport.hostkeys import HostKeys
from tests.certs import samples
from tests.ssh.recording import RecordingOwner

HOSTBOUND = b"publickey-hostbound-v00@openssh.com"
SESSION_ID = b"session of this test, 32 bytes.."
ECDSA_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
TOUCHED, VERIFIED = 0x01, 0x04

Sign = Callable[[bytes], bytes]


@frozen
class Client:
    """Somebody with a certificate and the key for it.

    ``algorithm`` is the one that is announced, ``sign`` makes a signature blob, and ``plain`` is a key that is shown in
    place of the certificate.
    """

    certificate: SSHCertificate
    algorithm: bytes
    sign: Sign
    plain: bytes = b""

    def request(
        self,
        user: bytes = b"root",
        signed: bool = True,
        session_id: bytes = SESSION_ID,
        signed_user: bytes | None = None,
        service: bytes = b"ssh-connection",
        host_key: bytes | None = None,
    ) -> bytes:
        """The payload of an authentication request (RFC 4252, section 7), which a ``host_key`` may bind to a server."""

        def head(name: bytes) -> bytes:
            return b"".join(
                (
                    wire.string(name),
                    wire.string(service),
                    wire.string(b"publickey" if host_key is None else HOSTBOUND),
                    wire.boolean(signed),
                    wire.string(self.algorithm),
                    wire.string(self.plain or self.certificate.to_blob()),
                    b"" if host_key is None else wire.string(host_key),
                )
            )

        if not signed:
            return head(user)
        named = user if signed_user is None else signed_user
        signature = self.sign(wire.string(session_id) + wire.byte(conch.MSG_USERAUTH_REQUEST) + head(named))
        return head(user) + wire.string(signature)


def certify(blob: bytes, extensions: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> SSHCertificate:
    """Alice's certificate for this public key."""
    certificate = samples.USER_CA.sign_user_ssh(
        blob, name="alice", logins=["root", "alice"], roles=["access"], traits={}, ttl_s=3600, now=samples.NOW
    )
    if not extensions and not options:
        return certificate
    return samples.resigned(
        certificate,
        extensions=tuple(sorted((*certificate.extensions, *map(option, extensions)))),
        critical_options=tuple(sorted(map(option, options))),
    )


def ed25519_client(certificate: SSHCertificate | None = None) -> Client:
    def sign(data: bytes) -> bytes:
        return wire.text("ssh-ed25519") + wire.string(samples.SSH_KEY.sign(data))

    certificate = samples.user_certificate() if certificate is None else certificate
    return Client(certificate, b"ssh-ed25519-cert-v01@openssh.com", sign)


def ecdsa_client(bits: int) -> Client:
    key = samples.ecdsa_key(bits)

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(ECDSA_HASHES[bits])))
        return samples.ecdsa_blob(bits, r, s)

    certificate = certify(keys.public_blob(key.public_key()))
    return Client(certificate, f"ecdsa-sha2-nistp{bits}-cert-v01@openssh.com".encode(), sign)


@cache
def rsa_certificate() -> SSHCertificate:
    return certify(samples.rsa_blob(samples.rsa_key()))


def rsa_client(announced: str, signed: str, hash_: hashes.HashAlgorithm) -> Client:
    """One that announces one algorithm of RSA, and names and uses another."""

    def sign(data: bytes) -> bytes:
        return wire.text(signed) + wire.string(samples.rsa_key().sign(data, padding.PKCS1v15(), hash_))

    return Client(rsa_certificate(), f"{announced}-cert-v01@openssh.com".encode(), sign)


def security_key_client(
    kind: str, flags: int, extensions: tuple[str, ...] = (), options: tuple[str, ...] = ()
) -> Client:
    """A security key (``sk-ssh-ed25519`` or ``sk-ecdsa-sha2-nistp256``) that says this of its user (PROTOCOL.u2f)."""
    plain = samples.SSH_BLOB if "ed25519" in kind else keys.public_blob(samples.ecdsa_key(256).public_key())
    reader = wire.Reader(plain)
    reader.string()
    blob = wire.text(f"{kind}@openssh.com") + reader.rest() + wire.string(b"ssh:")

    def sign(data: bytes) -> bytes:
        said = wire.byte(flags) + wire.uint32(9)
        message = hashlib.sha256(b"ssh:").digest() + said + hashlib.sha256(data).digest()
        if "ed25519" in kind:
            body = samples.SSH_KEY.sign(message)
        else:
            r, s = decode_dss_signature(samples.ecdsa_key(256).sign(message, ec.ECDSA(hashes.SHA256())))
            body = wire.mpint(r) + wire.mpint(s)
        return wire.text(f"{kind}@openssh.com") + wire.string(body) + said

    return Client(certify(blob, extensions, options), f"{kind}-cert-v01@openssh.com".encode(), sign)


def plain(client: Client) -> Client:
    """The same key without its certificate."""
    algorithm = client.algorithm.removesuffix(b"-cert-v01@openssh.com")
    if algorithm.startswith(b"sk-"):
        algorithm += b"@openssh.com"
    return evolve(client, plain=client.certificate.public_key, algorithm=algorithm)


def signed_by(client: Client, other: Client) -> Client:
    """``client``, with signatures of somebody else."""
    return evolve(client, sign=other.sign)


@define
class SamplePolicy(LoginPolicy):
    """Trusts the user authority of the samples; whoever passes may open what ``owner`` opens."""

    owner: RecordingOwner = field(factory=RecordingOwner)
    wait: Deferred[None] | None = None
    """What a login waits for."""

    problem: Exception | None = None
    checked: list[Claim] = field(factory=list)
    logged_in: list[Claim] = field(factory=list)
    refusals: list[tuple[Claim | Attempt, str]] = field(factory=list)

    def check(self, claim: Claim) -> None:
        self.checked.append(claim)
        if self.problem is not None:
            raise self.problem
        check_ssh_certificate(
            claim.certificate,
            type=CertificateType.USER,
            authorities=[pair.public_blob for pair in samples.USER_CA.ssh_keys],
            now=samples.NOW,
            principal=claim.user,
            source_address=claim.client[0],
        )

    async def login(self, claim: Claim) -> Answer:
        if self.wait is not None:
            await self.wait
        self.logged_in.append(claim)
        return self.owner

    def refused(self, claim: Claim | Attempt, error: TeleportError) -> None:
        self.refusals.append((claim, error.sentence))


@define
class AuthRecorder:
    """What user authentication needs of a transport; it takes down what it is told."""

    login_policy: LoginPolicy
    sessionID: bytes = SESSION_ID
    host_key_blob: bytes = b"the host key of this test"
    host_keys: HostKeys = field(factory=dict)
    client_address: str = "192.0.2.7:50000"
    sent: list[tuple[int, bytes]] = field(factory=list)
    visit: Visit = field(factory=lambda: Admission(Clock(), lambda: 1.0, Bounds()).visit("192.0.2.7"))
    disconnects: list[tuple[int, bytes]] = field(factory=list)
    services: list[SSHService] = field(factory=list)
    successes: int = 0

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        self.sent.append((messageType, payload))

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        self.disconnects.append((reason, desc))

    def setService(self, service: SSHService) -> None:
        self.services.append(service)

    def authenticated(self) -> None:
        self.successes += 1
