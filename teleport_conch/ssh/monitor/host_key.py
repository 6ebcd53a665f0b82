"""The keys of this host, and the certificates under which clients know them."""

from __future__ import annotations

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.errors import BadParameter

MAX_HOST_KEYS = 4


@define
class HostKeys:
    """Private keys by the blobs under which clients know them."""

    _shown: dict[bytes, Ed25519PrivateKey] = field(factory=dict)

    def __contains__(self, blob: object) -> bool:
        return blob in self._shown

    def sign(self, blob: bytes, data: bytes) -> bytes:
        """A signature blob (RFC 8709, section 6)."""
        if blob not in self._shown:
            raise BadParameter("The monitor does not hold this host key.")
        return wire.text("ssh-ed25519") + wire.string(self._shown[blob].sign(data))

    def public(self) -> bytes:
        """The blob of the key that servers are to have certified; empty where they bring one."""
        raise NotImplementedError

    def hold(self, private_key: str, certificate: SSHCertificate) -> None:
        """Signs for a key and its certificate from now on. Raises TeleportError."""
        raise NotImplementedError

    def _show(self, key: Ed25519PrivateKey, certificate: SSHCertificate) -> None:
        """Forgets the oldest where there are more than :data:`MAX_HOST_KEYS` blobs."""
        plain = keys.public_blob(key.public_key())
        if certificate.type is not CertificateType.HOST or certificate.public_key != plain:
            raise BadParameter("The host certificate is for another key.")
        for blob in (plain, certificate.to_blob()):
            self._shown.pop(blob, None)
            self._shown[blob] = key
        while len(self._shown) > MAX_HOST_KEYS:
            del self._shown[next(iter(self._shown))]


class FollowedHostKeys(HostKeys):
    """Keys that a server brings, as it runs as the monitor's own account."""

    def public(self) -> bytes:
        return b""

    def hold(self, private_key: str, certificate: SSHCertificate) -> None:
        self._show(_ed25519(private_key), certificate)


def _ed25519(private_key: str) -> Ed25519PrivateKey:
    key = keys.load_private_pem(private_key)
    if not isinstance(key, Ed25519PrivateKey):
        raise BadParameter("The host key is not of the type ssh-ed25519.")
    return key
