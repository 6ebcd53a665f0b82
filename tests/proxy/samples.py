"""A proxy of the sample cluster, and the headers with which it vouches for its clients."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.conch.ssh.keys import Key

from teleport_conch import proxy_protocol, wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.proxy.dialing import HostKey
from teleport_conch.proxy_protocol import Address, Sign
from tests.certs import samples

PROXY_UUID = "0d1e2f30-1111-4222-8333-444455556666"
NODE = samples.HOST_UUID
CLIENT = ("192.0.2.7", 50000)
SERVER = ("10.0.0.5", 3022)
NONCE = bytes(range(16))


def host_certificate(role: str, uuid: str = PROXY_UUID, **changes: object) -> SSHCertificate:
    """That of a host with a system role, over the key of the samples."""
    certificate = samples.HOST_CA.sign_host_ssh(
        samples.SSH_BLOB,
        host_uuid=uuid,
        node_name="proxy1",
        cluster_name=samples.CLUSTER,
        principals=[],
        role=role,
        ttl_s=3600,
        now=samples.NOW,
    )
    return samples.resigned(certificate, **changes)


@cache
def proxy_certificate() -> SSHCertificate:
    return host_certificate("Proxy")


@cache
def proxy_host_key() -> HostKey:
    """What a proxy dials with."""
    return HostKey(Key.fromString(keys.ssh_private_pem(samples.SSH_KEY).encode()), proxy_certificate())


def host_authorities() -> tuple[bytes, ...]:
    return samples.HOST_CA.public().ssh_keys


def sign_with(key: ed25519.Ed25519PrivateKey) -> Sign:
    """Makes signature blobs with ``key``."""
    return lambda data: wire.text("ssh-ed25519") + wire.string(key.sign(data))


def header(
    client: Address = CLIENT,
    server: Address = SERVER,
    node: str = NODE,
    certificate: SSHCertificate | None = None,
    sign: Sign | None = None,
    now: float = samples.NOW,
    nonce: bytes = NONCE,
) -> bytes:
    """A header that a node believes, or one that differs in what is given."""
    return proxy_protocol.encode(
        client, server, node, certificate or proxy_certificate(), sign or sign_with(samples.SSH_KEY), now, nonce
    )
