"""The method ``publickey`` (RFC 4252, section 7): certificates, and plain keys where a policy wants them.

A key may be offered without a signature first, and is answered as the policy would answer it with one: who is to be
refused is not asked for a touch or a passphrase. An offer is forgotten once it is answered; who signs is who logs in.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, CertificateRefused, TeleportError
from teleport_conch.ssh.login.policy import Answer, Attempt, Claim, KeyClaim, LoginPolicy
from teleport_conch.ssh.login.proof import HOSTBOUND, LoginProof, offered_certificate, offered_key
from teleport_conch.ssh.transport.algorithms import PLAIN_SIGNATURES, SIGNATURES_BY_ALGORITHM
from teleport_conch.wire import Reader

METHODS = (b"publickey", HOSTBOUND)
Tell = Callable[[Claim | KeyClaim | Attempt, TeleportError], None]


class NotOffered(AccessDenied):
    """A way to log in, or a kind of key, that the policy does not want: agents offer dozens, and nobody is told."""


@frozen
class KeyRequest:
    """What one request says behind the name of its method.

    :ivar signature: None in an offer.
    :ivar host_key: the server's host key, where the request is bound to it; None where it is not.
    """

    algorithm: bytes
    blob: bytes
    host_key: bytes | None
    signature: bytes | None

    @classmethod
    def read(cls, method: bytes, reader: Reader) -> KeyRequest:
        """Raises WireError."""
        signed, algorithm, blob = reader.boolean(), reader.string(), reader.string()
        host_key = reader.string() if method == HOSTBOUND else None
        signature = reader.string() if signed else None
        reader.end()
        return cls(algorithm, blob, host_key, signature)

    def claim(self, attempt: Attempt, plain_keys: bool) -> Claim | KeyClaim:
        """What the request claims. Raises TeleportError where it is nothing that could be believed."""
        if self.algorithm in SIGNATURES_BY_ALGORITHM:
            certificate = offered_certificate(self.algorithm, self.blob)
            return Claim(attempt.user, certificate, attempt.client_address)
        if not plain_keys or self.algorithm not in PLAIN_SIGNATURES:
            raise NotOffered("Only certificates are accepted here.")
        return KeyClaim(attempt.user, offered_key(self.algorithm, self.blob), attempt.client_address)


@frozen
class PublicKeyMethod:
    """The method on one connection.

    :param session_id: the identifier of the connection.
    :param host_key: the server's host key as the first key exchange had it.
    :param tell: hears why a claim was refused, or that what was shown as a certificate cannot be read.
    """

    session_id: bytes
    host_key: bytes
    tell: Tell

    async def offer(self, policy: LoginPolicy, attempt: Attempt, request: KeyRequest) -> bytes:
        """The payload of the answer to an offer that would be good once signed; empty where it would not.

        A plain key that is not the right one is the usual case, and nobody is told.
        """
        try:
            claim = self._claim(policy, attempt, request)
        except TeleportError:
            return b""
        try:
            await _check(policy, claim)
        except TeleportError as refusal:
            if isinstance(claim, Claim):
                self.tell(claim, refusal)
            return b""
        return wire.string(request.algorithm) + wire.string(request.blob)

    async def log_in(self, policy: LoginPolicy, attempt: Attempt, request: KeyRequest) -> Answer:
        """What the policy makes of a signed request, once its signature is verified. Raises TeleportError."""
        claim = self._claim(policy, attempt, request)
        try:
            await _check(policy, claim)
            return await _log_in(policy, claim, self._proof(attempt, request))
        except TeleportError as refusal:
            self.tell(claim, refusal)
            raise

    def _claim(self, policy: LoginPolicy, attempt: Attempt, request: KeyRequest) -> Claim | KeyClaim:
        if request.host_key is not None and not (request.host_key == self.host_key != b""):
            raise AccessDenied("The login is bound to the host key of another server.")
        try:
            return request.claim(attempt, policy.plain_keys)
        except CertificateRefused as unreadable:
            self.tell(attempt, unreadable)
            raise

    def _proof(self, attempt: Attempt, request: KeyRequest) -> LoginProof:
        return LoginProof(
            session_id=self.session_id,
            user=attempt.user,
            algorithm=request.algorithm,
            blob=request.blob,
            signature=request.signature or b"",
            host_key=request.host_key or b"",
        )


async def _check(policy: LoginPolicy, claim: Claim | KeyClaim) -> None:
    answer = policy.check(claim) if isinstance(claim, Claim) else policy.check_key(claim)
    if answer is not None:
        await answer


async def _log_in(policy: LoginPolicy, claim: Claim | KeyClaim, proof: LoginProof) -> Answer:
    if isinstance(claim, Claim):
        proof.verify(claim.certificate)
        return await policy.login(evolve(claim, proof=proof))
    proof.verify(claim.key)
    return await policy.login_with_key(evolve(claim, proof=proof))
