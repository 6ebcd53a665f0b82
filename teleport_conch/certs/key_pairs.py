"""The pairs of keys that an authority signs with. Like :mod:`teleport_conch.certs.authority`, only for auth."""

from __future__ import annotations

from attrs import evolve, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from teleport_conch import wire
from teleport_conch.certs import keys, tls
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import BadParameter


@frozen
class SSHKeyPair:
    """A key that signs SSH certificates, and its blob."""

    private_key: ed25519.Ed25519PrivateKey = field(repr=False, eq=False)
    public_blob: bytes

    @classmethod
    def of(cls, private_key: ed25519.Ed25519PrivateKey) -> SSHKeyPair:
        return cls(private_key, keys.public_blob(private_key.public_key()))

    @classmethod
    def from_pem(cls, private_pem: str) -> SSHKeyPair:
        """The pair of a private key.

        :raises BadParameter: it is not an Ed25519 key.
        """
        private_key = keys.load_private_pem(private_pem)
        if not isinstance(private_key, ed25519.Ed25519PrivateKey):
            raise BadParameter("The SSH keys of an authority have to be Ed25519.")
        return cls.of(private_key)

    def sign(self, unsigned: SSHCertificate) -> SSHCertificate:
        """The same certificate, signed by this key."""
        is_named = unsigned.signature_key == self.public_blob
        named = unsigned if is_named else evolve(unsigned, signature_key=self.public_blob)
        signature = self.private_key.sign(named.signed_part())
        return evolve(named, signature=wire.text("ssh-ed25519") + wire.string(signature))


@frozen
class TLSKeyPair:
    """A key that signs TLS certificates, and its own, self-signed certificate."""

    private_key: ec.EllipticCurvePrivateKey = field(repr=False, eq=False)
    certificate: x509.Certificate

    @classmethod
    def from_pem(cls, private_pem: str, certificate_pem: str) -> TLSKeyPair:
        """The pair of a private key and the certificate over its public one.

        :raises BadParameter: they do not belong together, or the key is not ECDSA.
        :raises CertificateMalformed: the certificate cannot be read.
        """
        private_key = keys.load_private_pem(private_pem)
        certificate = tls.load_certificate_pem(certificate_pem)
        if not isinstance(private_key, ec.EllipticCurvePrivateKey):
            raise BadParameter("The TLS keys of an authority have to be ECDSA.")
        if private_key.public_key() != certificate.public_key():
            raise BadParameter("The TLS key of an authority is not that of its certificate.")
        return cls(private_key, certificate)
