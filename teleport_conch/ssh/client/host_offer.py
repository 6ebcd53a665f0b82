"""The key or certificate that a server shows, and the proof that it holds it. Whether to trust it is decided elsewhere.

RFC 4253, section 8: the host key signs the exchange hash. RFC 8332, section 3.3: an RSA key signs with the algorithm
that was agreed upon. OpenSSH's PROTOCOL.certkeys: the certified key signs, and its certificate is what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import frozen

from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import SSHCertificate, certificate_kind
from teleport_conch.certs.signatures import AlgorithmRefused, BadSignature, Signature, verify
from teleport_conch.errors import TeleportError
from teleport_conch.wire import WireError

DEFAULT_PORT = 22


class HostKeyRefused(TeleportError):
    """The server is not, or not provably, the one that was meant."""

    code = "HOST_KEY_REFUSED"
    http_status = 403


@frozen
class HostName:
    """What a person calls a server: the name whose keys are stored, and that a host certificate has to hold."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def marked(self) -> str:
        """As ``known_hosts`` writes it: ``host``, or ``[host]:port`` where the port is another than 22."""
        host = self.host.lower()
        return host if self.port == DEFAULT_PORT else f"[{host}]:{self.port}"

    def __str__(self) -> str:
        return self.marked


@frozen
class HostKeyOffer:
    """What a server shows.

    :ivar algorithm: the one that was agreed upon; ``rsa-sha2-512-cert-v01@openssh.com``, say.
    :ivar blob: the key, or the certificate.
    """

    name: HostName
    algorithm: bytes
    blob: bytes

    @property
    def certified(self) -> bool:
        return self.algorithm in CERTIFICATE_ALGORITHMS

    def certificate(self) -> SSHCertificate:
        """The certificate. Raises :class:`~teleport_conch.errors.CertificateRefused` where it is none."""
        return SSHCertificate.parse(self.blob)

    def key(self) -> bytes:
        """The blob of the plain key, which a certificate holds."""
        return self.certificate().public_key if self.certified else self.blob

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it; a certificate's is that of its key."""
        return keys.fingerprint(self.key())


class HostVerifier(Protocol):
    """Decides whether a server is the one that was meant; known_hosts is one, a person may be another."""

    def algorithms(self, name: HostName) -> tuple[bytes, ...]:
        """The algorithms that the server may use, most wanted first."""

    async def verify(self, offer: HostKeyOffer) -> None:
        """Takes the offer, whose signature was verified before, or raises :class:`HostKeyRefused`; perhaps later."""


def _signed_with() -> Mapping[bytes, tuple[str, str]]:
    """Algorithm -> type of the plain key, algorithm of the signature; most wanted first."""
    plain = {
        "ssh-ed25519": "ssh-ed25519",
        "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384": "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521": "ecdsa-sha2-nistp521",
        "rsa-sha2-512": "ssh-rsa",
        "rsa-sha2-256": "ssh-rsa",
    }
    certified = {certificate_kind(name).encode(): (kind, name) for name, kind in plain.items()}
    return {**certified, **{name.encode(): (kind, name) for name, kind in plain.items()}}


_SIGNED_WITH = _signed_with()
CERTIFICATE_ALGORITHMS = tuple(name for name in _SIGNED_WITH if b"-cert-" in name)
PLAIN_ALGORITHMS = tuple(name for name in _SIGNED_WITH if b"-cert-" not in name)


def algorithms_of(kind: str) -> tuple[bytes, ...]:
    """The algorithms that a plain host key of a type is shown under: two for RSA."""
    return tuple(name for name in PLAIN_ALGORITHMS if _SIGNED_WITH[name][0] == kind)


def check_signature(offer: HostKeyOffer, signature: bytes, exchange_hash: bytes) -> None:
    """That the server holds the key which it shows, and that key and signature are of the agreed algorithm.

    :raises HostKeyRefused: it does not, or they are not.
    """
    kind, signature_algorithm = _SIGNED_WITH[offer.algorithm]
    try:
        key = public_key.parse(offer.key())
        declared = public_key.declared_type(offer.blob)
        if declared != (certificate_kind(kind) if offer.certified else kind):
            raise AlgorithmRefused(f"a key of the type {declared!r}, where {offer.algorithm.decode()} was agreed upon")
        given = Signature.parse(signature)
        if given.algorithm != signature_algorithm:
            raise AlgorithmRefused(f"it signs with {given.algorithm!r}, where {signature_algorithm} was agreed upon")
        verify(key, given, exchange_hash)
    except TeleportError as refusal:  # a certificate that cannot be read
        raise HostKeyRefused(f"The host certificate of {offer.name} is refused: {refusal.sentence}") from None
    except (WireError, AlgorithmRefused, BadSignature) as reason:
        raise HostKeyRefused(f"{offer.name} does not prove that the host key is its own: {reason}.") from None
