"""Authorities and what they sign, for the tests of this folder. OpenSSL has the real clock, so these begin now."""

from __future__ import annotations

import time
from uuid import uuid4

from cryptography import x509

from teleport_conch.certs import keys, tls
from teleport_conch.certs.authority import Authority
from teleport_conch.certs.identity import HostIdentity

NOW = time.time()
HOUR = 3600.0
CLUSTER = "example.com"
UUID = str(uuid4())

USER_CA = Authority.generate("user", CLUSTER, NOW)
HOST_CA = Authority.generate("host", CLUSTER, NOW)
OTHER_CA = Authority.generate("host", CLUSTER, NOW)
"""A cluster of the same name that is another one."""

TRUSTED = HOST_CA.public().tls_certificates
TLS_KEY = keys.generate_tls_key()
SSH_KEY = keys.generate_ssh_key()


def server_certificate(
    authority: Authority = HOST_CA, now: float = NOW, ttl_s: float = HOUR, role: str = "Auth"
) -> x509.Certificate:
    """That of an auth server, for :data:`TLS_KEY`."""
    return authority.sign_host_tls(
        TLS_KEY.public_key(), host_uuid=UUID, cluster_name=CLUSTER, role=role, names=(), ttl_s=ttl_s, now=now
    )


def host_identity(
    now: float = NOW, ttl_s: float = HOUR, host_uuid: str = UUID, role: str = "Node", node_name: str = "web1"
) -> HostIdentity:
    """A node's."""
    ssh = HOST_CA.sign_host_ssh(
        keys.public_blob(SSH_KEY.public_key()),
        host_uuid=host_uuid,
        node_name=node_name,
        cluster_name=CLUSTER,
        principals=(),
        role=role,
        ttl_s=ttl_s,
        now=now,
    )
    own = HOST_CA.sign_host_tls(
        TLS_KEY.public_key(), host_uuid=host_uuid, cluster_name=CLUSTER, role=role, names=(), ttl_s=ttl_s, now=now
    )
    return HostIdentity(
        host_uuid=host_uuid,
        node_name=node_name,
        cluster_name=CLUSTER,
        role=role,
        ssh_key=keys.ssh_private_pem(SSH_KEY),
        ssh_certificate=ssh.to_line(),
        tls_key=keys.private_pem(TLS_KEY),
        tls_certificate=tls.certificate_pem(own),
        authorities=(USER_CA.public(), HOST_CA.public()),
    )
