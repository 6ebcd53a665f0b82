"""Public keys as SSH writes them: which types there are, and what makes one of them good.

RFC 4253 section 6.6 (RSA), RFC 5656 section 3.1 (ECDSA), RFC 8709 section 4 (Ed25519) and OpenSSH's PROTOCOL.u2f (keys
that live in a security key, ``sk-``). A blob is ``string type``, then the fields of that type, each of them a string.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import lru_cache, partial

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from teleport_conch import wire

Material = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384
MAX_RSA_EXPONENT_BITS = 64
MAX_BLOB_BYTES = 1 << 13
REMEMBERED_KEYS = 64

_CURVES: dict[str, ec.EllipticCurve] = {
    "nistp256": ec.SECP256R1(),
    "nistp384": ec.SECP384R1(),
    "nistp521": ec.SECP521R1(),
}
_CURVE_NAMES = {curve.name: name for name, curve in _CURVES.items()}


class KeyNotSupported(wire.WireError):
    """A type of key that is not accepted, or an RSA key that is too short or too long."""


@frozen
class PublicKey:
    """A public key that was read from its wire form and found good.

    :ivar kind: the name of its type, such as ``ssh-ed25519``.
    :ivar fields: the strings that follow the type on the wire.
    :ivar material: the same key, for arithmetic.
    """

    kind: str
    fields: tuple[bytes, ...]
    material: Material = field(eq=False, repr=False)

    @property
    def application(self) -> bytes:
        """What a security key bound the key to (``ssh:``); empty for keys of other types."""
        return self.fields[-1] if self.kind.startswith("sk-") else b""

    def to_blob(self) -> bytes:
        return to_blob(self.kind, self.fields)


def _ed25519(fields: tuple[bytes, ...]) -> Material:
    if len(fields[0]) != 32:
        raise wire.WireError(f"an Ed25519 key of {len(fields[0])} bytes, where 32 are due")
    return ed25519.Ed25519PublicKey.from_public_bytes(fields[0])


def _ecdsa(name: str, fields: tuple[bytes, ...]) -> Material:
    curve = _CURVES[name]
    if fields[0] != name.encode():
        raise wire.WireError(f"an ECDSA key whose type says {name} and whose curve is another one")
    point_bytes = 1 + 2 * ((curve.key_size + 7) // 8)
    if len(fields[1]) != point_bytes or fields[1][0] != 4:
        raise wire.WireError(f"an ECDSA key that is not an uncompressed point of {name}")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, fields[1])
    except ValueError:
        raise wire.WireError(f"an ECDSA key that is not a point of {name}") from None


def _rsa(fields: tuple[bytes, ...]) -> Material:
    if len(fields[1]) > MAX_RSA_BITS // 8 + 1 or len(fields[0]) > MAX_RSA_EXPONENT_BITS // 8 + 1:
        raise KeyNotSupported(f"an RSA key of more than {MAX_RSA_BITS} bits, or with an exponent as long")
    exponent, modulus = (wire.Reader(wire.string(digits)).mpint() for digits in fields)
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise KeyNotSupported(
            f"an RSA key of {modulus.bit_length()} bits, where {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted"
        )
    if modulus < 0 or modulus % 2 == 0 or exponent < 3 or exponent % 2 == 0:
        raise wire.WireError("numbers that are not an RSA key")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


# Type -> how many strings follow it, and what makes a key of them.
_TYPES: dict[str, tuple[int, Callable[[tuple[bytes, ...]], Material]]] = {
    "ssh-ed25519": (1, _ed25519),
    "ecdsa-sha2-nistp256": (2, partial(_ecdsa, "nistp256")),
    "ecdsa-sha2-nistp384": (2, partial(_ecdsa, "nistp384")),
    "ecdsa-sha2-nistp521": (2, partial(_ecdsa, "nistp521")),
    "ssh-rsa": (2, _rsa),
    "sk-ssh-ed25519@openssh.com": (2, _ed25519),
    "sk-ecdsa-sha2-nistp256@openssh.com": (3, partial(_ecdsa, "nistp256")),
}

KINDS = frozenset(_TYPES)


def declared_type(blob: bytes) -> str:
    """The type that a key or certificate says it is of, without a look at the rest.

    :raises WireError: there is no such name.
    """
    return wire.Reader(blob, max_string=64).text()


def read_fields(kind: str, reader: wire.Reader) -> tuple[bytes, ...]:
    """The strings of a key of type ``kind``, which the reader is about to come to; they are not looked into."""
    return tuple(reader.string() for _ in range(_TYPES[kind][0]))


def load(kind: str, fields: tuple[bytes, ...]) -> PublicKey:
    """A key of its fields.

    :raises WireError: they are no such key: a point beside its curve, say.
    :raises KeyNotSupported: they are one that is not accepted.
    """
    return PublicKey(kind, fields, _TYPES[kind][1](fields))


def to_blob(kind: str, fields: tuple[bytes, ...]) -> bytes:
    return b"".join([wire.text(kind), *map(wire.string, fields)])


@lru_cache(maxsize=REMEMBERED_KEYS)
def parse(blob: bytes) -> PublicKey:
    """The key of a blob. The last few are remembered: an authority's is asked for with each certificate.

    :raises KeyNotSupported: its type is unknown or that of a certificate, which is told before anything else is read.
    :raises WireError: it is malformed, or followed by more bytes.
    """
    if len(blob) > MAX_BLOB_BYTES:
        raise wire.WireError(f"a key of {len(blob)} bytes, where {MAX_BLOB_BYTES} is the limit")
    kind = declared_type(blob)
    if kind not in _TYPES:
        raise KeyNotSupported(f"a key of the type {kind!r}, which is not accepted")
    reader = wire.Reader(blob)
    reader.string()
    fields = read_fields(kind, reader)
    reader.end()
    return load(kind, fields)


def _uncompressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """The point as SEC 1, section 2.3.3 writes it. (The module that has this ready takes 5 ms to import.)"""
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    return b"\x04" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")


def _split(key: Material) -> tuple[str, tuple[bytes, ...]]:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ssh-ed25519", (key.public_bytes_raw(),)
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = _CURVE_NAMES.get(key.curve.name)
        if name is None:
            raise KeyNotSupported(f"an ECDSA key on the curve {key.curve.name}")
        return f"ecdsa-sha2-{name}", (name.encode(), _uncompressed(key))
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return "ssh-rsa", (wire.mpint(numbers.e)[4:], wire.mpint(numbers.n)[4:])
    raise KeyNotSupported("a key that is neither Ed25519, nor ECDSA, nor RSA")


def of_material(key: object) -> PublicKey:
    """The same key in the form of SSH; every bound of :func:`load` holds.

    :raises KeyNotSupported: SSH has no such key, or it is not accepted.
    """
    if not isinstance(key, Material):
        raise KeyNotSupported("a key that is neither Ed25519, nor ECDSA, nor RSA")
    kind, fields = _split(key)
    return load(kind, fields)


def split_line(line: str, max_chars: int) -> tuple[str, bytes]:
    """The type and the blob that one line of text holds; what follows them is a comment.

    :raises ValueError: it is not one line of that form; the message says what it is instead.
    """
    if len(line) > max_chars:
        raise ValueError(f"a line of {len(line)} characters, where {max_chars} is the limit")
    text = line.strip()
    words = text.split(None, 2)
    if len(words) < 2 or len(text.splitlines()) != 1:
        raise ValueError("not one line with a type and a key")
    try:
        blob = binascii.a2b_base64(words[1].encode("ascii"), strict_mode=True)
    except ValueError:
        raise ValueError("a line whose second word is not base64") from None
    return words[0], blob
