"""Which algorithms we speak, most wanted first. Names are those of the wire."""

from __future__ import annotations

from teleport_conch.ssh.transport import ciphers, compression, kex

KEY_EXCHANGES = tuple(kex.METHODS)
CIPHERS = tuple(ciphers.CIPHERS)
MACS = tuple(ciphers.MACS)
COMPRESSIONS = (compression.NONE, compression.DELAYED)

SERVER_KEY_EXCHANGES = tuple(name for name in KEY_EXCHANGES if not name.startswith(b"ecdh-"))
SERVER_MACS = tuple(name for name in MACS if b"-etm@" in name)
"""What servers offer: neither the curves of NIST nor MACs over the plain text, which no present client needs.

See ``docs/decisions/algorithms-of-servers.rst``.
"""

ED25519_CERTIFICATE = b"ssh-ed25519-cert-v01@openssh.com"
ED25519 = b"ssh-ed25519"

SIGNATURES_BY_ALGORITHM = {
    b"ssh-ed25519-cert-v01@openssh.com": "ssh-ed25519",
    b"ecdsa-sha2-nistp256-cert-v01@openssh.com": "ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384-cert-v01@openssh.com": "ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521-cert-v01@openssh.com": "ecdsa-sha2-nistp521",
    b"rsa-sha2-512-cert-v01@openssh.com": "rsa-sha2-512",
    b"rsa-sha2-256-cert-v01@openssh.com": "rsa-sha2-256",
    b"sk-ssh-ed25519-cert-v01@openssh.com": "sk-ssh-ed25519@openssh.com",
    b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": "sk-ecdsa-sha2-nistp256@openssh.com",
}
"""The certificate algorithms that users may log in with, and the one signature algorithm that goes with each."""

PLAIN_SIGNATURES = tuple(dict.fromkeys(name.encode() for name in SIGNATURES_BY_ALGORITHM.values()))


def server_sig_algs() -> bytes:
    """The value of ``server-sig-algs`` (RFC 8308, section 3.1): what users may sign with.

    Clients look for plain names in it before they use an RSA certificate, so that these are listed although no plain
    key is accepted.
    """
    return b",".join((*SIGNATURES_BY_ALGORITHM, *PLAIN_SIGNATURES))
