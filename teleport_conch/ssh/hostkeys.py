"""A server's key and the certificate for it, in the form in which Conch asks for host keys."""

from __future__ import annotations

from twisted.conch.ssh.keys import Key

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.ssh.algorithms import ED25519, ED25519_CERTIFICATE


class CertifiedKey(Key):
    """A private Ed25519 key that presents a certificate where its public key is due.

    The exchange hash covers the certificate, and the signature over it is the plain key's (PROTOCOL.certkeys).
    """

    certificate: SSHCertificate

    @classmethod
    def of(cls, key: Key, certificate: SSHCertificate) -> CertifiedKey:
        """``key`` with ``certificate``. Raises :class:`ValueError` where they do not belong together."""
        if certificate.public_key != key.blob():
            raise ValueError("the certificate is for another key")
        certified = cls(key._keyObject)
        certified.certificate = certificate
        return certified

    def sshType(self) -> bytes:
        return ED25519_CERTIFICATE

    def blob(self) -> bytes:
        return self.certificate.to_blob()

    def sign(self, data: bytes, signatureType: bytes | None = None) -> bytes:
        signature: bytes = Key(self._keyObject).sign(data, ED25519)
        return signature


HostKeys = dict[bytes, Key]
"""Private host keys by the name of their algorithm, most wanted first."""


def host_keys(private_key: str, certificate: SSHCertificate) -> HostKeys:
    """The host keys of a server by algorithm, the certified one first; the plain one is for clients without a CA."""
    key = Key.fromString(private_key.encode())
    return {ED25519_CERTIFICATE: CertifiedKey.of(key, certificate), ED25519: key}
