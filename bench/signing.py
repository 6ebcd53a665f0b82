"""User certificates: issued over the API, against ``cryptography`` alone signing the same one in a loop.

The request asks for an SSH certificate without a TLS certificate, and the loop signs that one. All its parts are there
as objects, and what comes out is its text, as in the answer of the API.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificate,
    SSHCertificateBuilder,
    load_ssh_public_identity,
)

from bench.cluster import auth
from bench.figures import Comparison, at_least
from bench.load import Load
from teleport_conch.certs import keys

CONNECTIONS = 8
REQUESTS = 1500
"""In one turn."""
WARM_UP = 300
ROUTE = "/v1/ca/user/certs"

Sign = Callable[[], bytes]


def compare(folder: Path, rounds: int) -> Comparison:
    """Certificates in a second."""
    line = keys.public_line(keys.public_blob(keys.generate_ssh_key().public_key()))
    body = {"user": "alice", "logins": ["alice", "deploy"], "ttl": 3600, "public_ssh_key": line}
    with auth(folder / "cluster") as running_auth:
        sign = same_ssh(str(running_auth.call("POST", ROUTE, body)["cert"]))
        callers = [running_auth.caller(ROUTE, body)] * CONNECTIONS
        with Load(running_auth.port, running_auth.authority, callers) as load:
            load.run(WARM_UP)
            _rate(sign, WARM_UP)
            pairs = [(load.run(REQUESTS), _rate(sign, REQUESTS)) for _ in range(rounds)]
    issued, signed = zip(*pairs, strict=True)
    return Comparison("certificates issued (the other: signed in a loop)", "1/s", at_least(0.3), issued, signed)


def same_ssh(line: str) -> Sign:
    """What makes a certificate with all that ``line`` has, but for the authority's key."""
    template = load_ssh_public_identity(line.encode())
    assert isinstance(template, SSHCertificate)
    subject, authority = template.public_key(), Ed25519PrivateKey.generate()
    assert isinstance(subject, Ed25519PublicKey)

    def sign() -> bytes:
        builder = (
            SSHCertificateBuilder()
            .public_key(subject)
            .serial(template.serial)
            .type(template.type)
            .key_id(template.key_id)
            .valid_principals(list(template.valid_principals))
            .valid_after(template.valid_after)
            .valid_before(template.valid_before)
        )
        for name, value in template.extensions.items():
            builder = builder.add_extension(name, value)
        return builder.sign(authority).public_bytes()

    return sign


def _rate(sign: Sign, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        sign()
    return count / (time.perf_counter() - started)
