"""Key exchange, the arithmetic of both roles: shared secret, exchange hash, and the keys that follow from them.

The order of messages, signatures and host keys are the transport's business. Every method here goes by two messages,
``string client_public`` (30) and ``string host_key, string server_public, string signature`` (31), whatever RFC calls
them: RFC 5656 (ECDH), RFC 8731 (Curve25519), draft-ietf-sshm-mlkem-hybrid-kex (ML-KEM with X25519). Finite-field
Diffie-Hellman, group exchange and SHA-1 are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Protocol

from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from teleport_conch import wire
from teleport_conch.ssh.transport.violation import KEY_EXCHANGE_FAILED, ProtocolViolation

try:
    from cryptography.hazmat.primitives.asymmetric import mlkem

    mlkem.MLKEM768PrivateKey.generate()
except (ImportError, UnsupportedAlgorithm):  # an older cryptography, or an older OpenSSL below it
    HAS_MLKEM = False
else:
    HAS_MLKEM = True

X25519_BYTES = 32
MLKEM768_PUBLIC_BYTES = 1184
MLKEM768_CIPHERTEXT_BYTES = 1088


class KexRefused(ProtocolViolation):
    """A public value that no honest peer sends: of the wrong length, off its curve, or one that makes no secret."""

    reason: ClassVar[int] = KEY_EXCHANGE_FAILED


class Half(Protocol):
    """What a client holds between its message and the server's."""

    @property
    def public(self) -> bytes:
        """The content of the string in message 30."""

    def finish(self, peer_public: bytes) -> bytes:
        """The secret that is shared with who sent ``peer_public``, encoded as it enters the hashes.

        :raises KexRefused: it is no public value of this method.
        """


@frozen
class Method:
    """One way to exchange keys.

    :ivar name: that of the wire.
    :ivar digest: the method's hash, which the keys are derived with, too.
    :ivar start: the client's half of a new exchange.
    :ivar respond: takes the client's public value and answers ``(server_public, secret)``, the secret encoded as it
        enters the hashes; raises :class:`KexRefused`.
    """

    name: bytes
    digest: Callable[[bytes], bytes]
    start: Callable[[], Half]
    respond: Callable[[bytes], tuple[bytes, bytes]]


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha384(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def _sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def _number(secret: bytes) -> bytes:
    return wire.mpint(int.from_bytes(secret, "big"))


def _check_length(value: bytes, due: int, what: str) -> None:
    if len(value) != due:
        raise KexRefused(f"{what} of {len(value)} bytes, where {due} are due")


@frozen
class X25519Half:
    """An X25519 key (RFC 7748) for one exchange."""

    private: X25519PrivateKey

    @classmethod
    def new(cls) -> X25519Half:
        return cls(X25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        """The 32 bytes of the shared secret; all of them zero is refused (RFC 8731, section 3)."""
        _check_length(peer_public, X25519_BYTES, "an X25519 value")
        try:
            return self.private.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError:
            raise KexRefused("an X25519 value of small order") from None

    def finish(self, peer_public: bytes) -> bytes:
        return _number(self.agree(peer_public))


@frozen
class CurveHalf:
    """A key on one of NIST's curves for one exchange (RFC 5656, section 4)."""

    private: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def finish(self, peer_public: bytes) -> bytes:
        curve = self.private.curve
        _check_length(peer_public, 1 + 2 * ((curve.key_size + 7) // 8), f"a point of {curve.name}")
        try:
            # Only the uncompressed form, 4, has this length; the point is checked to lie on the curve.
            point = ec.EllipticCurvePublicKey.from_encoded_point(curve, peer_public)
            return _number(self.private.exchange(ec.ECDH(), point))
        except ValueError:
            raise KexRefused(f"a point that is not on {curve.name}") from None


@frozen
class HybridHalf:
    """The client's half of ML-KEM-768 with X25519: a secret as strong as the stronger of the two."""

    lattice: mlkem.MLKEM768PrivateKey
    curve: X25519Half

    @classmethod
    def new(cls) -> HybridHalf:
        return cls(mlkem.MLKEM768PrivateKey.generate(), X25519Half.new())

    @property
    def public(self) -> bytes:
        return self.lattice.public_key().public_bytes_raw() + self.curve.public

    def finish(self, peer_public: bytes) -> bytes:
        _check_length(peer_public, MLKEM768_CIPHERTEXT_BYTES + X25519_BYTES, "a reply")
        ciphertext, point = peer_public[:MLKEM768_CIPHERTEXT_BYTES], peer_public[MLKEM768_CIPHERTEXT_BYTES:]
        # A ciphertext that was tampered with decapsulates to another secret, and the signature does not fit.
        return wire.string(_sha256(self.lattice.decapsulate(ciphertext) + self.curve.agree(point)))


def _respond_hybrid(client_public: bytes) -> tuple[bytes, bytes]:
    _check_length(client_public, MLKEM768_PUBLIC_BYTES + X25519_BYTES, "a request")
    try:
        key = mlkem.MLKEM768PublicKey.from_public_bytes(client_public[:MLKEM768_PUBLIC_BYTES])
    except ValueError:
        raise KexRefused("an ML-KEM key whose numbers are out of range") from None
    curve = X25519Half.new()
    agreed = curve.agree(client_public[MLKEM768_PUBLIC_BYTES:])
    secret, ciphertext = key.encapsulate()
    return ciphertext + curve.public, wire.string(_sha256(secret + agreed))


def _symmetric(name: bytes, digest: Callable[[bytes], bytes], start: Callable[[], Half]) -> Method:
    """A method in which both sides do the same."""

    def respond(client_public: bytes) -> tuple[bytes, bytes]:
        half = start()
        return half.public, half.finish(client_public)

    return Method(name, digest, start, respond)


def _on(curve: ec.EllipticCurve) -> Callable[[], Half]:
    return lambda: CurveHalf(ec.generate_private_key(curve))


def _methods() -> Iterator[Method]:
    if HAS_MLKEM:
        yield Method(b"mlkem768x25519-sha256", _sha256, HybridHalf.new, _respond_hybrid)
    yield _symmetric(b"curve25519-sha256", _sha256, X25519Half.new)
    yield _symmetric(b"curve25519-sha256@libssh.org", _sha256, X25519Half.new)
    yield _symmetric(b"ecdh-sha2-nistp256", _sha256, _on(ec.SECP256R1()))
    yield _symmetric(b"ecdh-sha2-nistp384", _sha384, _on(ec.SECP384R1()))
    yield _symmetric(b"ecdh-sha2-nistp521", _sha512, _on(ec.SECP521R1()))


METHODS: Mapping[bytes, Method] = MappingProxyType({method.name: method for method in _methods()})
"""Every method of ours by name, most wanted first. ML-KEM is missing where the installed OpenSSL lacks it."""


@frozen
class Transcript:
    """What one exchange consists of; its hash is what the host key signs (RFC 5656, section 4).

    :ivar method: the name of the method.
    :ivar client_version: the version line without its end.
    :ivar client_kexinit: the whole payload of the message, its number included.
    :ivar host_key: the host key or host certificate, as the server sends it.
    :ivar secret: encoded, as :class:`Method` answers it.
    """

    method: bytes
    client_version: bytes
    server_version: bytes
    client_kexinit: bytes = field(repr=False)
    server_kexinit: bytes = field(repr=False)
    host_key: bytes = field(repr=False)
    client_public: bytes = field(repr=False)
    server_public: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    @cached_property
    def digest(self) -> bytes:
        """The exchange hash."""
        said = (
            self.client_version,
            self.server_version,
            self.client_kexinit,
            self.server_kexinit,
            self.host_key,
            self.client_public,
            self.server_public,
        )
        return METHODS[self.method].digest(b"".join(map(wire.string, said)) + self.secret)


def derive(method: Method, secret: bytes, hashed: bytes, session_id: bytes, letter: bytes, size: int) -> bytes:
    """``size`` bytes of the key or initial vector that RFC 4253, section 7.2, calls ``letter`` (A to F).

    :param secret: encoded, as :class:`Method` answers it.
    :param hashed: the exchange hash of this exchange; ``session_id`` is that of the first one.
    """
    key = method.digest(secret + hashed + letter + session_id)
    while len(key) < size:
        key += method.digest(secret + hashed + key)
    return key[:size]
