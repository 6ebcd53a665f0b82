"""The key of this host, and the certificates under which clients know it.

Where servers run as another account than the monitor, the key is the monitor's own: it makes it, in a file that only
root can read, and servers learn the public half. Their certificates over it all have the name of the first one: who has
the identity of another host could have this key certified in its name, and bring the people who log in there to here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import CertificateType, SSHCertificate
from teleport_conch.certs.extensions import HOST_ROLE
from teleport_conch.errors import AccessDenied, BadParameter, UnsafePath
from teleport_conch.ssh.monitor import guarded

MAX_HOST_KEYS = 4
PRIVATE, PUBLIC, NAME = "host_key", "host_key.pub", "host_name"


@define
class HostKeys:
    """Private keys by the blobs under which clients know them."""

    _shown: dict[bytes, Ed25519PrivateKey] = field(factory=dict)

    def __contains__(self, blob: object) -> bool:
        return blob in self._shown

    def sign(self, blob: bytes, data: bytes) -> bytes:
        """A signature blob (RFC 8709, section 6)."""
        if blob not in self._shown:
            raise BadParameter("The monitor does not hold this host key.")
        return wire.text("ssh-ed25519") + wire.string(self._shown[blob].sign(data))

    def public(self) -> bytes:
        """The blob of the key that servers are to have certified; empty where they bring one."""
        raise NotImplementedError

    def hold(self, private_key: str, certificate: SSHCertificate) -> None:
        """Signs for a key and its certificate from now on. Raises TeleportError."""
        raise NotImplementedError

    def _show(self, key: Ed25519PrivateKey, certificate: SSHCertificate) -> None:
        """Forgets the oldest where there are more than :data:`MAX_HOST_KEYS` blobs."""
        for blob in (certificate.public_key, certificate.to_blob()):
            self._shown.pop(blob, None)
            self._shown[blob] = key
        while len(self._shown) > MAX_HOST_KEYS:
            del self._shown[next(iter(self._shown))]


class FollowedHostKeys(HostKeys):
    """Keys that a server brings, as it runs as the monitor's own account."""

    def public(self) -> bytes:
        return b""

    def hold(self, private_key: str, certificate: SSHCertificate) -> None:
        key = _ed25519(private_key)
        _check_certificate(certificate, keys.public_blob(key.public_key()))
        self._show(key, certificate)


@define
class KeptHostKeys(HostKeys):
    """The one key in a folder of root's.

    :param log: is told in a sentence when the key is made.
    """

    folder: Path = field(kw_only=True)
    log: Callable[[str], None] = field(kw_only=True)
    _own: Ed25519PrivateKey | None = field(init=False, default=None)

    def public(self) -> bytes:
        """Raises UnsafePath where others could have read or written it."""
        return keys.public_blob(self._key().public_key())

    def hold(self, private_key: str, certificate: SSHCertificate) -> None:
        if private_key:
            raise AccessDenied("The host key of this host is the monitor's own, and no other is taken.")
        _check_certificate(certificate, self.public())
        self._check_name(certificate)
        self._show(self._key(), certificate)

    def _key(self) -> Ed25519PrivateKey:
        if self._own is None:
            if guarded.read(self.folder / PRIVATE, secret=True) is None:
                keep(self.folder, keys.ssh_private_pem(keys.generate_ssh_key()))
                self.log(f"The host key in {self.folder / PRIVATE} was made.")
            self._own = _load(self.folder / PRIVATE)
        return self._own

    def _check_name(self, certificate: SSHCertificate) -> None:
        path, name = self.folder / NAME, _name(certificate)
        guarded.create(path, f"{name}\n", 0o644)
        first = (guarded.read(path) or "").strip()
        if first != name:
            raise AccessDenied(
                f"The host certificate is for {name}, and this host was {first} before."
                f" If that is right, stop the service, remove {path}, and start it."
            )


def _name(certificate: SSHCertificate) -> str:
    """The key id, and the role where there is one: other services of this host have other certificates."""
    role = certificate.extension(HOST_ROLE)
    return f"{certificate.key_id} ({role})" if role else certificate.key_id


def _check_certificate(certificate: SSHCertificate, blob: bytes) -> None:
    if certificate.type is not CertificateType.HOST or certificate.public_key != blob:
        raise BadParameter("The host certificate is for another key.")


def is_new(folder: Path) -> bool:
    """Whether there is no host key, and never was one.

    :raises UnsafePath: others could have written what is there.
    """
    return all(guarded.read(folder / name) is None for name in (PRIVATE, PUBLIC))


def keep(folder: Path, private_key: str) -> None:
    """Makes a key the host's, unless there is one.

    :raises TeleportError: it is none that a host can have.
    """
    line = keys.public_line(keys.public_blob(_ed25519(private_key).public_key()))
    if guarded.create(folder / PRIVATE, private_key, 0o600):
        guarded.write(folder / PUBLIC, f"{line}\n")


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        return _ed25519(guarded.read(path, secret=True) or "")
    except BadParameter as problem:
        raise UnsafePath(f"{path} holds no host key: {problem.sentence}") from problem


def _ed25519(private_key: str) -> Ed25519PrivateKey:
    key = keys.load_private_pem(private_key)
    if not isinstance(key, Ed25519PrivateKey):
        raise BadParameter("The host key is not of the type ssh-ed25519.")
    return key
