"""Private keys and their PEM, public keys as lines and fingerprints, and the pin of a certificate authority."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.public_key import split_line
from teleport_conch.errors import BadParameter, PinMalformed, PinMismatch

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

MAX_LINE_CHARS = 1 << 14
MAX_PEM_CHARS = 1 << 15
_SHA256_HEX_DIGITS = 64


def generate_ssh_key() -> ed25519.Ed25519PrivateKey:
    """A new key for an SSH certificate."""
    return ed25519.Ed25519PrivateKey.generate()


def generate_tls_key() -> ec.EllipticCurvePrivateKey:
    """A new key for a TLS certificate: ECDSA on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> str:
    """PKCS #8, without a passphrase: the form that TLS libraries read, and OpenSSH for all but Ed25519."""
    return _private_text(key, serialization.PrivateFormat.PKCS8)


def ssh_private_pem(key: PrivateKey) -> str:
    """OpenSSH's own format, without a passphrase."""
    return _private_text(key, serialization.PrivateFormat.OpenSSH)


def _private_text(key: PrivateKey, form: serialization.PrivateFormat) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode("ascii")


def sealed_pem(key: PrivateKey, passphrase: str) -> str:
    """PKCS #8 that the passphrase opens (PBES2): OpenSSH asks for it when the key is used."""
    sealing = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing).decode("ascii")


def load_private_pem(text: str) -> PrivateKey:
    """The key of a PEM in either form.

    :raises BadParameter: it is no key, has a passphrase, or is of a type that is not used here.
    """
    if len(text) > MAX_PEM_CHARS:
        raise BadParameter(f"A private key of {len(text)} characters is too long; {MAX_PEM_CHARS} is the limit.")
    data = text.encode("utf-8", "replace")
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise BadParameter("The private key has a passphrase; remove it with ssh-keygen -p.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadParameter("This is not a private key in PEM form, or it has a passphrase.") from None
    if not isinstance(key, PrivateKey):
        raise BadParameter("A private key has to be Ed25519, ECDSA or RSA.")
    return key


def public_pem(key: public_key.Material) -> str:
    """SubjectPublicKeyInfo in PEM form."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def load_public_pem(text: str) -> public_key.Material:
    """The key of a SubjectPublicKeyInfo in PEM form.

    :raises BadParameter: it is no key, or one that :mod:`teleport_conch.certs.public_key` does not accept.
    """
    if len(text) > MAX_LINE_CHARS:
        raise BadParameter(f"A public key of {len(text)} characters is too long; {MAX_LINE_CHARS} is the limit.")
    try:
        key = serialization.load_pem_public_key(text.encode("utf-8", "replace"))
        return public_key.of_material(key).material
    except wire.WireError as reason:
        raise BadParameter(f"This public key is not accepted: {reason}.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadParameter("This is not a public key in PEM form.") from None


def public_blob(key: public_key.Material) -> bytes:
    """The key as SSH writes it on the wire (RFC 4253, section 6.6).

    :raises BadParameter: it is not accepted (an RSA key of 1024 bits, say).
    """
    try:
        return public_key.of_material(key).to_blob()
    except wire.WireError as reason:
        raise BadParameter(f"This public key is not accepted: {reason}.") from None


def public_line(blob: bytes, comment: str = "") -> str:
    """One line, as in ``id_ed25519.pub``: type, base64, comment."""
    line = f"{public_key.declared_type(blob)} {base64.b64encode(blob).decode('ascii')}"
    return f"{line} {comment}" if comment else line


def blob_of_line(line: str) -> bytes:
    """The blob of a line such as ``ssh-ed25519 AAAA... comment``.

    Options before the type are not understood, so that none of them is ever passed over.

    :raises BadParameter: the line is something else, the key is not accepted, or it is a certificate.
    """
    try:
        kind, blob = split_line(line, MAX_LINE_CHARS)
        if kind not in public_key.KINDS:
            raise ValueError(f"a line that begins with {kind[:64]!r}, which is no type of key that is accepted")
        if public_key.parse(blob).kind != kind:
            raise ValueError("a line whose first word is another type than its key's")
    except ValueError as reason:  # wire.WireError is one
        raise BadParameter(f"This is not the line of a public key: {reason}.") from None
    return blob


def fingerprint(blob: bytes) -> str:
    """What ``ssh-keygen -l`` prints: ``SHA256:`` and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def ca_pin(certificate: x509.Certificate) -> str:
    """The pin of an authority: ``sha256:`` and the hexadecimal SHA-256 of its DER SubjectPublicKeyInfo (RFC 7469)."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    spki = certificate.public_key().public_bytes(serialization.Encoding.DER, form)
    return "sha256:" + hashlib.sha256(spki).hexdigest()


def check_pin(pin: str, certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    """The certificate among those that a server showed whose key is the pinned one.

    :raises PinMalformed: the pin is not of the form ``sha256:<64 hexadecimal digits>``.
    :raises PinMismatch: none of them is.
    """
    algorithm, colon, digits = pin.strip().partition(":")
    if not colon:
        raise PinMalformed("A CA pin has the form sha256:<hash>; copy it from what `tctl status` prints.")
    if algorithm != "sha256":
        raise PinMalformed(f"A CA pin has to begin with sha256, and this one begins with {algorithm[:16]!r}.")
    if len(digits) != _SHA256_HEX_DIGITS or not set(digits.lower()) <= set("0123456789abcdef"):
        raise PinMalformed("The hash of a CA pin is 64 hexadecimal digits; copy it from what `tctl status` prints.")
    wanted = f"sha256:{digits.lower()}"
    for certificate in certificates:
        if hmac.compare_digest(ca_pin(certificate), wanted):
            return certificate
    raise PinMismatch(
        "The authority of this cluster is not the one that was pinned. Either this is another server, or the authority "
        "was rotated since: compare the pin with what `tctl status` prints on the auth server."
    )
