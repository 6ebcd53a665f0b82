"""Host keys as servers show them, and lines about them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.ssh.client.host_offer import HostKeyOffer, HostKeyRefused, HostName
from teleport_conch.ssh.client.known_hosts import KnownHosts
from tests.certs import samples

NOW = samples.NOW + 60
ED25519 = b"ssh-ed25519"
CERTIFIED = b"ssh-ed25519-cert-v01@openssh.com"
(CA_BLOB,) = samples.HOST_CA.public().ssh_keys
OTHER_BLOB = keys.public_blob(keys.generate_ssh_key().public_key())
ECDSA_BLOB = keys.public_blob(samples.ecdsa_key(256).public_key())


def offer(host: str = "web1", port: int = 22) -> HostKeyOffer:
    """The plain key of the samples."""
    return HostKeyOffer(HostName(host, port), ED25519, samples.SSH_BLOB)


def certified_offer(host: str = "web1", port: int = 22, certificate: SSHCertificate | None = None) -> HostKeyOffer:
    """The host certificate of the samples, or another one."""
    shown = samples.host_certificate() if certificate is None else certificate
    return HostKeyOffer(HostName(host, port), CERTIFIED, shown.to_blob())


def line(names: str, blob: bytes = samples.SSH_BLOB, marker: str = "") -> str:
    """One line of known_hosts."""
    return f"{marker} {names} {keys.public_line(blob)}\n".lstrip() if marker else f"{names} {keys.public_line(blob)}\n"


def refusal(case: SynchronousTestCase, text: str, shown: HostKeyOffer) -> str:
    """The sentence with which a file of known hosts refuses what a host shows."""
    error = case.assertRaises(HostKeyRefused, lambda: KnownHosts.parse(text).check(shown, NOW))
    assert isinstance(error, HostKeyRefused)
    return error.sentence
