"""Keys, authorities and certificates that the tests of this folder share: made once, since making them takes time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

from attrs import evolve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.key_pairs import SSHKeyPair

NOW = 1_790_000_000.0
CLUSTER = "demo.example"
HOST_UUID = "6b1f7ad0-4a7c-4c5e-9c51-0d1f5f0f8a11"

SSH_KEY = keys.generate_ssh_key()
SSH_BLOB = keys.public_blob(SSH_KEY.public_key())
TLS_KEY = keys.generate_tls_key()

USER_CA = Authority.generate("user", CLUSTER, NOW)
HOST_CA = Authority.generate("host", CLUSTER, NOW)
OTHER_USER_CA = Authority.generate("user", "other.example", NOW)

_CURVES = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ecdsa_key(bits: int) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(_CURVES[bits])


# mypy knows the type of each field that evolve() is given by name, and of none that comes in a dictionary.
changed: Callable[..., SSHCertificate] = evolve


def user_certificate(**changes: object) -> SSHCertificate:
    """Alice's, who may log in as root or alice for an hour; ``changes`` are signed by the same authority."""
    certificate = USER_CA.sign_user_ssh(
        SSH_BLOB, name="alice", logins=["root", "alice"], roles=["access"], traits={}, ttl_s=3600, now=NOW
    )
    return resigned(certificate, **changes)


def host_certificate(**changes: object) -> SSHCertificate:
    """That of the node web1, for an hour."""
    certificate = HOST_CA.sign_host_ssh(
        SSH_BLOB,
        host_uuid=HOST_UUID,
        node_name="web1",
        cluster_name=CLUSTER,
        principals=["10.0.0.5"],
        role="Node",
        ttl_s=3600,
        now=NOW,
    )
    return resigned(certificate, **changes)


def resigned(certificate: SSHCertificate, **changes: object) -> SSHCertificate:
    """The certificate with other fields, signed by the authority that signed it first, which would never do so."""
    if not changes:
        return certificate
    pairs = [pair for authority in (USER_CA, HOST_CA, OTHER_USER_CA) for pair in authority.ssh_keys]
    signer = next(pair for pair in pairs if pair.public_blob == certificate.signature_key)
    return signer.sign(changed(certificate, **changes))


def ed25519_signature(certificate: SSHCertificate) -> SSHCertificate:
    return SSHKeyPair.of(ed25519.Ed25519PrivateKey.generate()).sign(certificate)


def ecdsa_signature(certificate: SSHCertificate, bits: int) -> tuple[SSHCertificate, int, int]:
    """The certificate signed by an ECDSA authority, and the two numbers of the signature."""
    key = ecdsa_key(bits)
    named = evolve(certificate, signature_key=keys.public_blob(key.public_key()))
    r, s = decode_dss_signature(key.sign(named.signed_part(), ec.ECDSA(_HASHES[bits])))
    return evolve(named, signature=ecdsa_blob(bits, r, s)), r, s


def ecdsa_blob(bits: int, r: int, s: int) -> bytes:
    return wire.text(f"ecdsa-sha2-nistp{bits}") + wire.string(wire.mpint(r) + wire.mpint(s))


def rsa_signature(
    certificate: SSHCertificate, algorithm: str, hash_: hashes.HashAlgorithm, bits: int = 2048
) -> SSHCertificate:
    """The certificate signed by an RSA authority, with whatever algorithm is asked for."""
    key = rsa_key(bits)
    named = evolve(certificate, signature_key=rsa_blob(key))
    body = key.sign(named.signed_part(), padding.PKCS1v15(), hash_)
    return evolve(named, signature=wire.text(algorithm) + wire.string(body))


def rsa_blob(key: rsa.RSAPrivateKey) -> bytes:
    """The wire form of an RSA key of any length."""
    numbers = key.public_key().public_numbers()
    return wire.text("ssh-rsa") + wire.mpint(numbers.e) + wire.mpint(numbers.n)


def security_key_signature(certificate: SSHCertificate, kind: str, flags: int) -> SSHCertificate:
    """The certificate signed as a security key would, with these flags and the counter 7."""
    plain = SSH_BLOB if "ed25519" in kind else keys.public_blob(ecdsa_key(256).public_key())
    reader = wire.Reader(plain)
    reader.string()
    named = evolve(certificate, signature_key=wire.text(kind) + reader.rest() + wire.string(b"ssh:"))
    message = b"".join(
        [
            hashlib.sha256(b"ssh:").digest(),
            wire.byte(flags),
            wire.uint32(7),
            hashlib.sha256(named.signed_part()).digest(),
        ]
    )
    if "ed25519" in kind:
        body = SSH_KEY.sign(message)
    else:
        r, s = decode_dss_signature(ecdsa_key(256).sign(message, ec.ECDSA(hashes.SHA256())))
        body = wire.mpint(r) + wire.mpint(s)
    return evolve(named, signature=wire.text(kind) + wire.string(body) + wire.byte(flags) + wire.uint32(7))
