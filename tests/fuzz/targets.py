"""What is fuzzed: each target takes any bytes at all, and raises only what its callers expect."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

from attrs import frozen
from twisted.internet.task import Clock

from teleport_conch import wire
from teleport_conch.certs import keys, public_key
from teleport_conch.certs.certificate import SSHCertificate, verify_signature
from teleport_conch.certs.signatures import AlgorithmRefused, BadSignature, Signature
from teleport_conch.errors import CertificateRefused, TeleportError
from teleport_conch.https.client_hello import HelloRefused, read_hello
from teleport_conch.proxy_protocol import HeaderRefused, header_length
from teleport_conch.ssh.client.host_offer import HostKeyOffer, HostName
from teleport_conch.ssh.client.known_hosts import KnownHosts
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.factory import ServerFactory
from teleport_conch.ssh.login.policy import Claim
from teleport_conch.ssh.session.owners import OpensSessions
from teleport_conch.ssh.sftp import codec
from teleport_conch.ssh.transport.negotiation import KexInit
from teleport_conch.ssh.transport.packets import PacketReader
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import WireError
from tests.certs import samples
from tests.https.hellos import hello, made, server_name
from tests.ssh.in_memory import Pair, plain_packet, sample_host_keys
from tests.ssh.logins import SamplePolicy, ed25519_client


@frozen
class Target:
    """One reader of strangers' bytes.

    :ivar read: takes any bytes; an exception is a finding.
    :ivar seeds: what it should get, to begin with.
    """

    read: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


# Packets before there are keys.


def _packets(data: bytes) -> None:
    reader = PacketReader()
    half = len(data) // 2
    with suppress(ProtocolViolation):
        for part in (data[:half], data[half:]):
            reader.feed(part)
            while reader.next() is not None:
                pass


def _packet_seeds() -> Sequence[bytes]:
    return [plain_packet(2, b"ignored"), plain_packet(20, bytes(200)), plain_packet(30, wire.string(bytes(32)))]


def _kexinit(data: bytes) -> None:
    with suppress(ProtocolViolation, WireError):
        KexInit.parse(data)


@cache
def _kexinit_seeds() -> Sequence[bytes]:
    pair = Pair()
    reader = PacketReader()
    greeting, _, packets = bytes(pair.server_tcp.written).partition(b"\r\n")
    reader.feed(packets)
    message = reader.next()
    assert greeting.startswith(b"SSH-2.0-") and message is not None
    return [message[1], b"\x14" + message[1]]


# A whole server: everything that a stranger sends before the login, and everything that a guest sends after it.


def _stranger(data: bytes) -> None:
    pair = Pair()
    pair.server.dataReceived(b"SSH-2.0-fuzz\r\n" if data[:1] < b"\xf0" else b"")
    pair.server.dataReceived(data)
    pair.lose()


def _stranger_seeds() -> Sequence[bytes]:
    (kexinit, *_) = _kexinit_seeds()
    return [
        *_packet_seeds(),
        plain_packet(20, kexinit),
        plain_packet(20, kexinit) + plain_packet(30, wire.string(bytes(31) + b"\x09")),
        plain_packet(1, wire.uint32(11) + wire.string(b"bye") + wire.string(b"")),
        plain_packet(5, wire.string(b"ssh-userauth")),
    ]


def _login(data: bytes) -> None:
    """Messages to user authentication: each a length of two bytes, a number and a payload."""
    pair = Pair()
    pair.begin_authentication()
    _say(pair, data)


def _login_seeds() -> Sequence[bytes]:
    requests = [ed25519_client().request(signed=signed) for signed in (True, False)]
    none = wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(b"none")
    return [b"".join(_framed(50, each) for each in requests), _framed(50, none), _framed(61, wire.uint32(0))]


class _Policy(SamplePolicy):
    async def login(self, claim: Claim) -> ChannelOwner:
        return OpensSessions()


def _guest(data: bytes) -> None:
    """Messages to a connection after the login, framed likewise."""
    pair = Pair(factory=ServerFactory(Clock(), _Policy(), sample_host_keys()))
    pair.log_in()
    _say(pair, data)


def _guest_seeds() -> Sequence[bytes]:
    opening = wire.string(b"session") + wire.uint32(0) + wire.uint32(1 << 20) + wire.uint32(1 << 15)
    request = wire.uint32(0) + wire.string(b"exec") + wire.boolean(True) + wire.string(b"true")
    forward = wire.string(b"tcpip-forward") + wire.boolean(True) + wire.string(b"localhost") + wire.uint32(0)
    data = wire.uint32(0) + wire.string(b"data")
    opened = _framed(90, opening)
    return [
        opened + _framed(98, request) + _framed(94, data) + _framed(96, wire.uint32(0)) + _framed(97, wire.uint32(0)),
        opened + _framed(93, wire.uint32(0) + wire.uint32(1000)) + _framed(95, wire.uint32(0) + data),
        _framed(80, forward),
        _framed(81) + _framed(82) + _framed(99, wire.uint32(0)) + _framed(192, wire.string(b"ping")),
    ]


def _framed(number: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HB", len(payload), number) + payload


def _say(pair: Pair, data: bytes) -> None:
    at = 0
    while at + 3 <= len(data) and not pair.server_tcp.losing:
        size, number = struct.unpack_from(">HB", data, at)
        pair.client.sendPacket(number, data[at + 3 : at + 3 + size])
        at += 3 + size
        with suppress(Exception):  # what the client thinks of it is not what is looked at
            pair.client.dataReceived(pair.server_tcp.take())
        pair.server.dataReceived(pair.client_tcp.take())
    pair.lose()


# Values.


def _certificate(data: bytes) -> None:
    try:
        certificate = SSHCertificate.parse(data)
        verify_signature(certificate)
    except CertificateRefused:
        return
    assert certificate.to_blob() == data


def _certificate_seeds() -> Sequence[bytes]:
    return [samples.user_certificate().to_blob(), samples.host_certificate().to_blob()]


def _public_key(data: bytes) -> None:
    with suppress(AlgorithmRefused, WireError, ValueError):
        public_key.parse(data)
    with suppress(BadSignature, AlgorithmRefused, WireError):
        Signature.parse(data)


def _public_key_seeds() -> Sequence[bytes]:
    ecdsa = keys.public_blob(samples.ecdsa_key(256).public_key())
    return [samples.SSH_BLOB, samples.rsa_blob(samples.rsa_key()), ecdsa]


def _known_hosts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    name = HostName("web1", 22)
    with suppress(TeleportError):
        known = KnownHosts.parse(text)
        known.algorithms(name)
        known.check(HostKeyOffer(name, b"ssh-ed25519", samples.SSH_BLOB), samples.NOW)


def _known_hosts_seeds() -> Sequence[bytes]:
    line = keys.public_line(samples.SSH_BLOB)
    lines = [
        f"web1,!web2 {line}\n",
        f"@cert-authority *.example,web? {line}\n",
        f"@revoked * {line}\n",
        f"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {line}\n",
        f"[web1]:2222 {line} comment\n# a comment\n",
    ]
    return [each.encode() for each in lines] + ["".join(lines).encode()]


def _sftp(data: bytes) -> None:
    with suppress(codec.MalformedError):
        codec.parse(memoryview(data))


def _sftp_seeds() -> Sequence[bytes]:
    from teleport_conch.ssh.sftp import messages

    attributes = codec.Attributes(1, 2, 3, 0o644, 5, 6)
    frames = [
        codec.message(messages.INIT, None, 3, {}),
        codec.message(messages.OPEN, 7, b"/etc/motd", 1, attributes),
        codec.message(messages.WRITE, 8, b"\0\0\0\1", 9, b"data"),
        codec.message(messages.SETSTAT, 9, b"/tmp/x", attributes),
    ]
    return [frame[4:] for frame in frames]


def _proxy_header(data: bytes) -> None:
    with suppress(HeaderRefused):
        header_length(data)


def _proxy_header_seeds() -> Sequence[bytes]:
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    return [signature + b"\x21\x11" + struct.pack(">H", 12) + bytes(12), b"SSH-2.0-OpenSSH_9.2\r\n"]


def _client_hello(data: bytes) -> None:
    with suppress(HelloRefused):
        read_hello(data)


def _client_hello_seeds() -> Sequence[bytes]:
    return [hello(), hello(""), made(server_name(b"proxy.example.com"))]


TARGETS = {
    "packets": Target(_packets, _packet_seeds),
    "kexinit": Target(_kexinit, _kexinit_seeds),
    "stranger": Target(_stranger, _stranger_seeds),
    "login": Target(_login, _login_seeds),
    "guest": Target(_guest, _guest_seeds),
    "certificate": Target(_certificate, _certificate_seeds),
    "public-key": Target(_public_key, _public_key_seeds),
    "known-hosts": Target(_known_hosts, _known_hosts_seeds),
    "sftp": Target(_sftp, _sftp_seeds),
    "client-hello": Target(_client_hello, _client_hello_seeds),
    "proxy-header": Target(_proxy_header, _proxy_header_seeds),
}
