"""The header in which a proxy tells a node, or auth, who the client is: PROXY protocol 2 with one field of our own.

Any host can write a PROXY header, so they believe only what a proxy of their cluster has signed. The field (TLV type
0xE0, in the range that the PROXY protocol leaves to applications) is versioned and holds, in the types of RFC 4251::

    byte      1                     the version of the field
    uint64    time                  POSIX seconds, when the proxy signed
    string    nonce                 16 random bytes
    string    node                  the UUID of the node that is meant, or ``teleport.cluster.local`` for auth
    string    certificate           the proxy's SSH host certificate
    string    signature             by the certified key

The signature covers ``string "teleport-conch client address 1"``, the whole address part of the header (its family byte
and its block of addresses, as one string), then time, nonce and node as above. ``docs/protocol/client-address.rst``
says what a node refuses, and why.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Collection

from attrs import define, field, frozen

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.signatures import AlgorithmRefused, BadSignature, Signature, verify
from teleport_conch.certs.trust import check_ssh_certificate
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.wire import Reader, WireError

MAGIC = b"\r\n\r\n\0\r\nQUIT\n"
FIELD_TYPE = 0xE0
FIELD_VERSION = 1
PURPOSE = "teleport-conch client address 1"
MAX_HEADER_BYTES = 12288
"""A proxy may have 32 names of 255 characters, and its certificate holds them all."""
MAX_AGE_S = 60.0
MAX_NONCES = 65536
NONCE_BYTES = 16

_FIXED_BYTES = len(MAGIC) + 4
_VERSION_AND_COMMAND = 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES = {_TCP4: 4, _TCP6: 16}

Sign = Callable[[bytes], bytes]
Address = tuple[str, int]


class HeaderRefused(AccessDenied):
    """A header that is malformed, forged, old, replayed or meant for another node."""

    code = "PROXY_HEADER_REFUSED"


@frozen
class Voucher:
    """What one header says, once believed: the client's own address, and which proxy says so (by its key id)."""

    client: Address
    proxy: str


def _signed_part(family: int, addresses: bytes, time: int, nonce: bytes, node: str) -> bytes:
    return b"".join(
        (
            wire.text(PURPOSE),
            wire.string(bytes((family,)) + addresses),
            wire.uint64(time),
            wire.string(nonce),
            wire.text(node),
        )
    )


def _address_block(client: Address, server: Address) -> tuple[int, bytes]:
    """The family byte and the addresses; mixed families are written as IPv6, with IPv4 mapped into it."""
    source, target = (ipaddress.ip_address(host.partition("%")[0]) for host, _ in (client, server))
    if isinstance(source, ipaddress.IPv4Address) and isinstance(target, ipaddress.IPv4Address):
        family, hosts = _TCP4, source.packed + target.packed
    else:
        family, hosts = _TCP6, _as_ipv6(source) + _as_ipv6(target)
    return family, hosts + client[1].to_bytes(2, "big") + server[1].to_bytes(2, "big")


def _as_ipv6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed.rjust(16, b"\0") if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def encode(
    client: Address, server: Address, node: str, certificate: SSHCertificate, sign: Sign, now: float, nonce: bytes
) -> bytes:
    """The header for a connection of ``client`` (host, port) to the ``node`` with that UUID.

    :param server: the address that the client dialled, or that the proxy dials; informative.
    :param sign: makes an SSH signature blob with the proxy's host key.
    :param nonce: 16 fresh random bytes.
    """
    family, addresses = _address_block(client, server)
    time = int(now)
    signature = sign(_signed_part(family, addresses, time, nonce, node))
    voucher = b"".join(
        (
            wire.byte(FIELD_VERSION),
            wire.uint64(time),
            wire.string(nonce),
            wire.text(node),
            wire.string(certificate.to_blob()),
            wire.string(signature),
        )
    )
    body = addresses + bytes((FIELD_TYPE,)) + len(voucher).to_bytes(2, "big") + voucher
    return MAGIC + bytes((_VERSION_AND_COMMAND, family)) + len(body).to_bytes(2, "big") + body


def header_length(start: bytes) -> int | None:
    """How long the header at the ``start`` of a stream is: 0 where none begins there, None where more bytes decide.

    :raises HeaderRefused: it is longer than any of ours.
    """
    if not MAGIC.startswith(start[: len(MAGIC)]):
        return 0
    if len(start) < _FIXED_BYTES:
        return None
    length = _FIXED_BYTES + int.from_bytes(start[_FIXED_BYTES - 2 : _FIXED_BYTES], "big")
    if length > MAX_HEADER_BYTES:
        raise HeaderRefused(f"A PROXY header of {length} bytes was sent, where {MAX_HEADER_BYTES} is the limit.")
    return length


@define
class Believer:
    """Reads headers for one server, and remembers what it has read, so that none is believed twice.

    :param node: the UUID of the node, or the name of auth servers.
    :param authorities: answers the blobs of the keys that sign host certificates now.
    """

    node: str
    authorities: Callable[[], Collection[bytes]]
    _nonces: OrderedDict[bytes, float] = field(factory=OrderedDict)

    def believe(self, header: bytes, now: float) -> Voucher:
        """What a complete header says. Raises :class:`HeaderRefused`."""
        try:
            return self._believe(header, now)
        except (WireError, AlgorithmRefused, BadSignature) as problem:
            raise HeaderRefused(f"A PROXY header was refused: {problem}.") from problem
        except HeaderRefused:
            raise
        except TeleportError as problem:
            raise HeaderRefused(f"A PROXY header was refused: {problem.sentence}") from problem

    def _believe(self, header: bytes, now: float) -> Voucher:
        family, addresses, voucher = _split(header)
        reader = Reader(voucher)
        if reader.byte() != FIELD_VERSION:
            raise WireError("its version is not known here")
        time, nonce, node = reader.uint64(), reader.string(), reader.text()
        certificate = SSHCertificate.parse(reader.string())
        signature = Signature.parse(reader.string())
        reader.end()
        if node != self.node:
            raise WireError("it is meant for another server")
        self._check_signer(certificate, now)
        signed = _signed_part(family, addresses, time, nonce, node)
        verify(public_key.parse(certificate.public_key), signature, signed)
        self._check_fresh(time, nonce, now)
        return Voucher(_client(family, addresses), certificate.key_id)

    def _check_signer(self, certificate: SSHCertificate, now: float) -> None:
        check_ssh_certificate(
            certificate,
            type=CertificateType.HOST,
            authorities=self.authorities(),
            now=now,
            principal=None,
            source_address=None,
        )
        if certificate.extension("x-teleport-role") != "Proxy":
            raise WireError("it is signed by a host that is no proxy")

    def _check_fresh(self, time: int, nonce: bytes, now: float) -> None:
        age = now - time
        if abs(age) > MAX_AGE_S:
            which = "behind" if age > 0 else "ahead of"
            raise WireError(f"its time is {abs(age):.0f} s {which} ours; compare the clocks")
        if len(nonce) != NONCE_BYTES:
            raise WireError("its nonce is not 16 bytes long")
        if nonce in self._nonces:
            raise WireError("it was used before")
        # Only what is new makes room for itself: a header that is replayed makes nothing be forgotten.
        while self._nonces and (len(self._nonces) >= MAX_NONCES or next(iter(self._nonces.values())) < now):
            self._nonces.popitem(last=False)
        self._nonces[nonce] = now + 2 * MAX_AGE_S


def _split(header: bytes) -> tuple[int, bytes, bytes]:
    """The family byte, the block of addresses and our field of a header that is complete."""
    reader = Reader(header)
    if reader.take(len(MAGIC)) != MAGIC or reader.byte() != _VERSION_AND_COMMAND:
        raise WireError("it is of another version or kind")
    family = reader.byte()
    if family not in _ADDRESS_BYTES:
        raise WireError("it is not about TCP")
    if int.from_bytes(reader.take(2), "big") != len(header) - _FIXED_BYTES:
        raise WireError("its length is wrong")
    addresses = reader.take(2 * _ADDRESS_BYTES[family] + 4)
    if reader.finished or reader.byte() != FIELD_TYPE:
        raise WireError("it is not signed")
    voucher = reader.take(int.from_bytes(reader.take(2), "big"))
    reader.end()
    return family, addresses, voucher


def _client(family: int, addresses: bytes) -> Address:
    size = _ADDRESS_BYTES[family]
    host = ipaddress.ip_address(addresses[:size])
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    return str(host), int.from_bytes(addresses[2 * size : 2 * size + 2], "big")
