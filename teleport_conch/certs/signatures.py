"""Signatures as SSH writes them, verified with a public key.

A blob is ``string algorithm, string signature``; those of security keys go on with ``byte flags, uint32 counter``. RFC
4253 section 6.6, RFC 5656 section 3.1.2, RFC 8332 (RSA with SHA-2), RFC 8709 section 6, OpenSSH's PROTOCOL.u2f.
"""

from __future__ import annotations

import hashlib

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from teleport_conch import wire
from teleport_conch.certs.public_key import PublicKey

USER_PRESENT = 0x01
USER_VERIFIED = 0x04
MAX_SIGNATURE_BYTES = 1 << 12

_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
_CURVE_HASHES: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


class BadSignature(ValueError):
    """Not a signature of these bytes by this key."""


class AlgorithmRefused(ValueError):
    """Signed with an algorithm that does not belong to the key's type, or with SHA-1."""


@frozen
class Signature:
    """A signature blob in its parts; ``flags`` and ``counter`` are those of a security key, else 0."""

    algorithm: str
    body: bytes
    flags: int = 0
    counter: int = 0

    @classmethod
    def parse(cls, blob: bytes) -> Signature:
        """The parts of a blob.

        :raises WireError: it is malformed, or followed by more bytes.
        """
        reader = wire.Reader(blob, MAX_SIGNATURE_BYTES)
        algorithm, body = reader.text(), reader.string()
        flags = counter = 0
        if algorithm.startswith("sk-"):
            flags, counter = reader.byte(), reader.uint32()
        reader.end()
        return cls(algorithm, body, flags, counter)


def algorithms_of(kind: str) -> frozenset[str]:
    """The algorithms that a key of type ``kind`` may sign with. ``ssh-rsa`` (SHA-1) is never one of them."""
    return frozenset(_RSA_HASHES) if kind == "ssh-rsa" else frozenset((kind,))


def verify(key: PublicKey, signature: Signature, message: bytes, require_presence: bool = True) -> None:
    """Whether ``key`` signed ``message``.

    :param require_presence: whether a security key must have been touched for this signature.
    :raises AlgorithmRefused: the algorithm is not one of the key's.
    :raises BadSignature: anything else.
    """
    if signature.algorithm not in algorithms_of(key.kind):
        raise AlgorithmRefused(f"{signature.algorithm!r} is not accepted from a key of the type {key.kind}")
    if key.kind.startswith("sk-"):
        if require_presence and not signature.flags & USER_PRESENT:
            raise BadSignature("the security key was not touched")
        message = _security_key_message(key, signature, message)
    try:
        _verify_material(key, signature, message)
    except (InvalidSignature, ValueError):  # wire.WireError is a ValueError
        raise BadSignature("it does not fit the key") from None


def _security_key_message(key: PublicKey, signature: Signature, message: bytes) -> bytes:
    parts = [
        hashlib.sha256(key.application).digest(),
        wire.byte(signature.flags),
        wire.uint32(signature.counter),
        hashlib.sha256(message).digest(),
    ]
    return b"".join(parts)


def _verify_material(key: PublicKey, signature: Signature, message: bytes) -> None:
    material = key.material
    if isinstance(material, ed25519.Ed25519PublicKey):
        material.verify(signature.body, message)
    elif isinstance(material, ec.EllipticCurvePublicKey):
        algorithm = ec.ECDSA(_CURVE_HASHES[material.curve.key_size])
        material.verify(_dss_signature(signature.body), message, algorithm)
    elif isinstance(material, rsa.RSAPublicKey):
        # Some signers drop leading zero bytes, and OpenSSH puts them back likewise.
        body = signature.body.rjust((material.key_size + 7) // 8, b"\0")
        material.verify(body, message, padding.PKCS1v15(), _RSA_HASHES[signature.algorithm])


def _dss_signature(body: bytes) -> bytes:
    reader = wire.Reader(body)
    r, s = reader.mpint(), reader.mpint()
    reader.end()
    if r < 1 or s < 1:
        raise BadSignature("its numbers are not positive")
    return encode_dss_signature(r, s)
