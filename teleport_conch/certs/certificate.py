"""OpenSSH certificates as values: read, written and their signature verified (OpenSSH's PROTOCOL.certkeys).

    string   type, such as ssh-ed25519-cert-v01@openssh.com
    string   nonce
    string   each field of the plain key (one to three)
    uint64   serial
    uint32   1 for a user, 2 for a host
    string   key id
    string   principals, each a string
    uint64   valid after      POSIX seconds, inclusive
    uint64   valid before     POSIX seconds, exclusive
    string   critical options, pairs of string name, string data
    string   extensions, likewise
    string   reserved
    string   the authority's key
    string   signature over all of the above

Whether a certificate is to be believed is decided in :mod:`teleport_conch.certs.trust`, and nowhere else.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from enum import IntEnum
from functools import cached_property

from attrs import field, frozen

from teleport_conch import errors, wire
from teleport_conch.certs import public_key, signatures
from teleport_conch.certs.public_key import split_line

MAX_CERTIFICATE_BYTES = 1 << 16
MAX_CERTIFICATE_CHARS = MAX_CERTIFICATE_BYTES * 2
BACKDATED_S = 300
"""By how much an authority of ours sets the start of a certificate back, for clocks that are slow."""
MAX_PRINCIPALS = 256
"""OpenSSH reads no certificate with more."""
FOREVER = (1 << 64) - 1
"""As ``valid_before``: no end. :mod:`teleport_conch.certs.trust` refuses it."""

Options = tuple[tuple[str, bytes], ...]


class CertificateType(IntEnum):
    """Whom a certificate speaks for."""

    USER = 1
    HOST = 2


def certificate_kind(plain: str) -> str:
    """The type of the certificates over keys of the type ``plain``."""
    return plain.removesuffix("@openssh.com") + "-cert-v01@openssh.com"


_PLAIN_KINDS = {certificate_kind(plain): plain for plain in public_key.KINDS}


@frozen(cache_hash=True)  # what is known of its holder is looked up by it, several times for each login
class SSHCertificate:
    """One certificate, believed or not.

    :ivar kind: the type of the blob; for RSA it is ``ssh-rsa-cert-v01@openssh.com``, whatever signs with the key.
    :ivar public_key: the plain key's blob.
    :ivar valid_after: first POSIX second at which it holds.
    :ivar valid_before: first POSIX second at which it no longer holds.
    :ivar critical_options: names and raw data; the data of an option with a value is itself an SSH string.
    :ivar extensions: the same.
    :ivar signature_key: the authority's blob.
    """

    kind: str
    nonce: bytes = field(repr=False)
    public_key: bytes
    serial: int
    type: CertificateType
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: Options
    extensions: Options
    reserved: bytes
    signature_key: bytes
    signature: bytes

    @classmethod
    def parse(cls, blob: bytes) -> SSHCertificate:
        """The certificate of a blob, of which :meth:`to_blob` makes exactly the same blob again.

        :raises CertificateType: a type that is not supported, or neither a user's nor a host's.
        :raises CertificateAlgorithm: the authority's key is a certificate or of an unknown type. That is told from its
            declared type, and nothing of it is read.
        :raises CertificateMalformed: anything else that is not as the format says.
        """
        if len(blob) > MAX_CERTIFICATE_BYTES:
            raise errors.CertificateMalformed(
                f"A certificate of {len(blob)} bytes is refused; {MAX_CERTIFICATE_BYTES} is the limit."
            )
        try:
            return _read(blob)
        except public_key.KeyNotSupported as reason:
            raise errors.CertificateType(f"The certificate is for a key that is not accepted: {reason}.") from None
        except wire.WireError as reason:
            raise errors.CertificateMalformed(f"This is not a certificate: {reason}.") from None

    @classmethod
    def from_line(cls, text: str) -> SSHCertificate:
        """The certificate of a line as ``ssh-keygen`` writes it: type, base64, comment."""
        try:
            kind, blob = split_line(text, MAX_CERTIFICATE_CHARS)
        except ValueError as reason:
            raise errors.CertificateMalformed(f"This is not the line of a certificate: {reason}.") from None
        certificate = cls.parse(blob)
        if certificate.kind != kind:
            raise errors.CertificateMalformed(
                f"The line says {kind[:64]!r}, and the certificate in it is {certificate.kind}."
            )
        return certificate

    def signed_part(self) -> bytes:
        """All that the signature covers."""
        fields = [
            wire.text(self.kind),
            wire.string(self.nonce),
            _after_type(self.public_key),
            wire.uint64(self.serial),
            wire.uint32(self.type),
            wire.text(self.key_id),
            wire.string(b"".join(map(wire.text, self.principals))),
            wire.uint64(self.valid_after),
            wire.uint64(self.valid_before),
            _write_options(self.critical_options),
            _write_options(self.extensions),
            wire.string(self.reserved),
            wire.string(self.signature_key),
        ]
        return b"".join(fields)

    def to_blob(self) -> bytes:
        return self._blob

    @cached_property
    def _blob(self) -> bytes:
        return self.signed_part() + wire.string(self.signature)

    @cached_property
    def _verified(self) -> bool:
        """Whether the signature is good, which is found out once; a bad one raises each time."""
        _verify(self)
        return True

    def to_line(self, comment: str = "") -> str:
        """One line, as in ``id_ed25519-cert.pub``."""
        line = f"{self.kind} {base64.b64encode(self.to_blob()).decode('ascii')}"
        return f"{line} {comment}" if comment else line

    def extension(self, name: str) -> str | None:
        """The value of an extension: None where it is absent, empty where it has none (``permit-pty``).

        :raises CertificateMalformed: its data is not one text. For the names of
            :mod:`teleport_conch.certs.options` a certificate that was checked never raises this.
        """
        return _value(self.extensions, name)

    def critical_option(self, name: str) -> str | None:
        """The value of a critical option, likewise."""
        return _value(self.critical_options, name)


def verify_signature(certificate: SSHCertificate) -> None:
    """That the key which the certificate names as its authority signed it; says nothing of whether to trust that key.

    :raises CertificateAlgorithm: signed by a kind of key, or with an algorithm, that no authority may use: SHA-1, RSA
        below 2048 bits, another certificate.
    :raises CertificateSignature: the signature is not this authority's over this certificate.
    """
    _ = certificate._verified  # which raises where it is not


def _verify(certificate: SSHCertificate) -> None:
    check_authority_type(certificate.signature_key)
    try:
        authority = public_key.parse(certificate.signature_key)
        signature = signatures.Signature.parse(certificate.signature)
        signatures.verify(authority, signature, certificate.signed_part())
    except (public_key.KeyNotSupported, signatures.AlgorithmRefused) as reason:
        raise errors.CertificateAlgorithm(f"The certificate's signature is not accepted: {reason}.") from None
    except (wire.WireError, signatures.BadSignature) as reason:
        raise errors.CertificateSignature(f"The certificate's signature is wrong: {reason}.") from None


def check_authority_type(signature_key: bytes) -> None:
    """That an authority's key says it is a plain key; no more of it is read, however deep the rest may nest.

    :raises CertificateAlgorithm: it says something else.
    """
    try:
        kind = public_key.declared_type(signature_key)
    except wire.WireError:
        kind = ""
    if kind not in public_key.KINDS:
        raise errors.CertificateAlgorithm(
            f"The certificate is signed by a key of the type {kind!r}, which no authority may have."
        )


def option(name: str, value: str = "") -> tuple[str, bytes]:
    """An option or extension as a certificate holds it; an empty value makes a flag."""
    return name, (wire.text(value) if value else b"")


def unwrap(data: bytes) -> str:
    """The text in the data of an option that has a value.

    :raises WireError: the data is not exactly one text.
    """
    reader = wire.Reader(data)
    value = _name(reader)
    reader.end()
    return value


def _read(blob: bytes) -> SSHCertificate:
    kind = public_key.declared_type(blob)
    plain = _PLAIN_KINDS.get(kind)
    if plain is None:
        raise public_key.KeyNotSupported(f"{kind!r} is not a type of certificate that is supported")
    reader = wire.Reader(blob, MAX_CERTIFICATE_BYTES)
    reader.string()
    nonce, fields = reader.string(), public_key.read_fields(plain, reader)
    serial, type_ = reader.uint64(), _read_type(reader.uint32())
    key_id, principals = _name(reader), _read_principals(reader.string())
    valid_after, valid_before = reader.uint64(), reader.uint64()
    critical_options, extensions = _read_options(reader.string()), _read_options(reader.string())
    reserved, signature_key, signature = reader.string(), reader.string(), reader.string()
    reader.end()
    check_authority_type(signature_key)
    return SSHCertificate(
        kind=kind,
        nonce=nonce,
        public_key=public_key.load(plain, fields).to_blob(),
        serial=serial,
        type=type_,
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options=critical_options,
        extensions=extensions,
        reserved=reserved,
        signature_key=signature_key,
        signature=signature,
    )


def _read_type(number: int) -> CertificateType:
    try:
        return CertificateType(number)
    except ValueError:
        raise errors.CertificateType(f"The certificate is of type {number}: neither a user's nor a host's.") from None


def _name(reader: wire.Reader) -> str:
    name = reader.text()
    if "\0" in name:
        raise wire.WireError("a name with a zero byte in it")
    return name


def _read_principals(data: bytes) -> tuple[str, ...]:
    reader, principals = wire.Reader(data), list[str]()
    while not reader.finished:
        if len(principals) == MAX_PRINCIPALS:
            raise wire.WireError(f"more than {MAX_PRINCIPALS} principals")
        principals.append(_name(reader))
    if "" in principals:
        raise wire.WireError("an empty principal")
    return tuple(principals)


def _read_options(data: bytes) -> Options:
    """The format has them sorted by name and each name once; anything else could be read in two ways."""
    reader, options = wire.Reader(data), list[tuple[str, bytes]]()
    while not reader.finished:
        name, value = _name(reader), reader.string()
        if options and name <= options[-1][0]:
            raise wire.WireError("options that are not in order, or one of them twice")
        options.append((name, value))
    return tuple(options)


def _write_options(options: Iterable[tuple[str, bytes]]) -> bytes:
    return wire.string(b"".join([wire.text(name) + wire.string(value) for name, value in options]))


def _value(options: Options, name: str) -> str | None:
    data = dict(options).get(name)
    if not data:
        return None if data is None else ""
    try:
        return unwrap(data)
    except wire.WireError as reason:
        raise errors.CertificateMalformed(f"The option {name} of the certificate is malformed: {reason}.") from None


def _after_type(key: bytes) -> bytes:
    """The fields of a key that was read before: what follows its first string."""
    return key[4 + int.from_bytes(key[:4], "big") :]
