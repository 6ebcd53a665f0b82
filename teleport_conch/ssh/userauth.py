"""User authentication (RFC 4252) with OpenSSH certificates (PROTOCOL.certkeys), and with nothing else.

One request is worked on at a time, every request counts towards one limit for the connection, and the decision is a
policy's: :class:`LoginPolicy` is asked when a certificate is offered, so that nobody is asked for a touch or for a
passphrase in vain, and again when the signature has been verified.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.conch.ssh import userauth as conch
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import (
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
)
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.options import VERIFY_REQUIRED
from teleport_conch.certs.signatures import USER_VERIFIED, AlgorithmRefused, BadSignature, Signature, verify
from teleport_conch.errors import AccessDenied, CertificateRefused, CertificateType, TeleportError
from teleport_conch.ssh.algorithms import SIGNATURES_BY_ALGORITHM
from teleport_conch.ssh.channel import ChannelOwner
from teleport_conch.ssh.connection import Connection
from teleport_conch.ssh.requests import RequestQueue
from teleport_conch.wire import Reader, WireError

MAX_REQUESTS = 20
MAX_FAILED_SIGNATURES = 6
MAX_USER_CHARS = 256


@frozen
class Claim:
    """Who says to be whom: the user name of the SSH connection, the certificate, and the client's ``host:port``."""

    user: str
    certificate: SSHCertificate
    client_address: str

    @property
    def client(self) -> tuple[str, int]:
        """The client's address in its parts."""
        host, _, port = self.client_address.rpartition(":")
        return host.strip("[]"), int(port)


class LoginPolicy(Protocol):
    """Decides who may log in to a server."""

    def check(self, claim: Claim) -> None:
        """Whether ``claim`` would be good, once signed. Raises :class:`TeleportError` where not."""

    async def login(self, claim: Claim) -> ChannelOwner:
        """The claim was proven: what its holder may do. Raises :class:`TeleportError` to refuse."""

    def refused(self, claim: Claim, error: TeleportError) -> None:
        """A claim was refused, for the audit log."""


class AuthTransport(Protocol):
    """What user authentication needs of the server's transport."""

    sessionID: bytes
    client_address: str
    login_policy: LoginPolicy

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Sends one message."""

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Ends the connection with a reason."""

    def setService(self, service: SSHService) -> None:
        """Hands the connection to another service."""

    def authenticated(self) -> None:
        """The login succeeded: the time for it is over."""


class UserAuth(SSHService):
    """The ``ssh-userauth`` service of one connection."""

    name = b"ssh-userauth"
    transport: AuthTransport  # type: ignore[assignment]  # the part of Conch's transport that is used here

    def __init__(self) -> None:
        self._queue = RequestQueue(self._failed)
        self._requests = 0
        self._failed_signatures = 0
        self._told: set[str] = set()
        self._done = False

    def serviceStopped(self) -> None:
        """The connection went away, or the login succeeded."""
        if not self._done:
            self._queue.stop()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Takes requests only; whatever else arrives before the login ends the connection (RFC 4252, section 6)."""
        if messageNum != conch.MSG_USERAUTH_REQUEST:
            self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"log in first")
            return
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            self._queue.stop()
            self._too_many()
        else:
            self._queue.put(lambda: self._request(packet))

    async def _request(self, packet: bytes) -> None:
        if self._done:
            return
        reader = Reader(packet)
        user, service, method = reader.string(), reader.string(), reader.string()
        if service != Connection.name:
            self.transport.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
        elif method == b"publickey":
            await self._publickey(user, reader)
        else:
            self._fail()

    async def _publickey(self, user: bytes, reader: Reader) -> None:
        signed, algorithm, blob = reader.boolean(), reader.string(), reader.string()
        signature = reader.string() if signed else b""
        reader.end()
        try:
            claim = Claim(_user_name(user), _certificate(algorithm, blob), self.transport.client_address)
        except CertificateType:
            self._fail()  # a plain key, as agents offer them by the dozen: no event for each
            return
        except TeleportError as refusal:
            self._log.info("{client} was refused: {why}", client=self.transport.client_address, why=refusal.sentence)
            self._fail(signed)
            return
        try:
            self.transport.login_policy.check(claim)
            if not signed:
                self.transport.sendPacket(conch.MSG_USERAUTH_PK_OK, wire.string(algorithm) + wire.string(blob))
                return
            self._verify(user, algorithm, blob, signature, claim.certificate)
            owner = await self.transport.login_policy.login(claim)
        except TeleportError as refusal:
            self._refuse(claim, refusal, signed)
        else:
            self._succeed(owner)

    def _verify(
        self, user: bytes, algorithm: bytes, blob: bytes, signature: bytes, certificate: SSHCertificate
    ) -> None:
        """The signature of RFC 4252, section 7, over this session and this request, by the certified key.

        A security key has to have been touched, unless its certificate says ``no-touch-required``, and to have verified
        its user where the certificate says ``verify-required`` (PROTOCOL.certkeys).
        """
        signed = b"".join(
            (
                wire.string(self.transport.sessionID),
                wire.byte(conch.MSG_USERAUTH_REQUEST),
                wire.string(user),
                wire.string(Connection.name),
                wire.string(b"publickey"),
                wire.boolean(True),
                wire.string(algorithm),
                wire.string(blob),
            )
        )
        untouched = any(name == "no-touch-required" for name, _ in certificate.extensions)
        try:
            given = Signature.parse(signature)
            if given.algorithm != SIGNATURES_BY_ALGORITHM[algorithm]:
                raise AlgorithmRefused(f"{given.algorithm!r} is not what {algorithm.decode()} signs with")
            verify(public_key.parse(certificate.public_key), given, signed, require_presence=not untouched)
            if certificate.critical_option(VERIFY_REQUIRED) is not None and not given.flags & USER_VERIFIED:
                raise BadSignature("the certificate demands that the security key verifies its user")
        except (AlgorithmRefused, BadSignature, WireError) as problem:
            raise AccessDenied(f"The signature of the login is not accepted: {problem}.") from problem

    def _succeed(self, owner: ChannelOwner) -> None:
        self._done = True
        self.transport.authenticated()
        self.transport.sendPacket(conch.MSG_USERAUTH_SUCCESS, b"")
        self.transport.setService(Connection(owner))

    def _refuse(self, claim: Claim, refusal: TeleportError, signed: bool) -> None:
        if refusal.sentence not in self._told:
            self._told.add(refusal.sentence)
            self._log.info(
                "{client} was refused as {user!r} with the certificate of {key_id!r}: {why}",
                client=claim.client_address,
                user=claim.user,
                key_id=claim.certificate.key_id,
                why=refusal.sentence,
            )
            self.transport.login_policy.refused(claim, refusal)
            if isinstance(refusal, CertificateRefused | AccessDenied):
                self._banner(refusal.sentence)
        self._fail(signed)

    def _banner(self, sentence: str) -> None:
        """Says why, to the person at the keyboard (RFC 4252, section 5.4)."""
        text = "".join(letter for letter in sentence if letter.isprintable())
        self.transport.sendPacket(conch.MSG_USERAUTH_BANNER, wire.text(f"{text}\r\n") + wire.text("en"))

    def _fail(self, signed: bool = False) -> None:
        self._failed_signatures += signed
        if self._failed_signatures >= MAX_FAILED_SIGNATURES:
            self._too_many()
        else:
            self.transport.sendPacket(conch.MSG_USERAUTH_FAILURE, wire.name_list(("publickey",)) + wire.boolean(False))

    def _too_many(self) -> None:
        self._done = True
        self.transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"too many authentication failures")

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if not failure.check(WireError):
            self._log.failure("authentication failed", failure=failure)
        self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"malformed authentication request")


def _user_name(user: bytes) -> str:
    """The name as text. Raises :class:`AccessDenied` for what no account and no log should ever see."""
    try:
        name = user.decode("utf-8")
    except UnicodeDecodeError:
        raise AccessDenied("A user name has to be UTF-8.") from None
    if not 0 < len(name) <= MAX_USER_CHARS or not name.isprintable():
        raise AccessDenied(f"A user name has 1 to {MAX_USER_CHARS} printable characters.")
    return name


def _certificate(algorithm: bytes, blob: bytes) -> SSHCertificate:
    """The certificate in ``blob``, if it is one that ``algorithm`` is used with (RFC 8332, section 3)."""
    if algorithm not in SIGNATURES_BY_ALGORITHM:
        raise CertificateType("Only certificates are accepted here.")
    certificate = SSHCertificate.parse(blob)
    names = {
        b"rsa-sha2-256-cert-v01@openssh.com": "ssh-rsa-cert-v01@openssh.com",
        b"rsa-sha2-512-cert-v01@openssh.com": "ssh-rsa-cert-v01@openssh.com",
    }
    if certificate.kind != names.get(algorithm, algorithm.decode("ascii")):
        raise AccessDenied(f"The certificate is not of the announced algorithm {algorithm.decode('ascii')}.")
    return certificate
