"""What ``tsh`` keeps in ``~/.tsh``: who is logged in where, with which certificates, and whom to believe.

=================================  ===================================================================
``current-profile``                the host of the proxy that was used last
``<proxy host>.yaml``              addresses of the proxy, user and cluster
``known_hosts``                    the host authorities of all clusters, for OpenSSH
``keys/<proxy host>/<user>``       the private key; ``.pub``, ``-cert.pub`` and ``-x509.pem`` beside it
``keys/<proxy host>/certs.pem``    the host authority's TLS certificates: by these a proxy is known again
``keys/<proxy host>/<cluster>.*``  ``known_hosts`` and ``ssh_config`` for this cluster
=================================  ===================================================================

Folders are for their owner only, and so are files, from the moment in which they are made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from attrs import field, frozen

from teleport_conch.certs import names
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.client import private_files
from teleport_conch.errors import BadParameter, CertificateRefused, NotFound
from teleport_conch.resources.fields import Fields

if TYPE_CHECKING:  # what reads keys and TLS certificates is imported where it is needed: tsh status reads none
    from teleport_conch.certs.identity import UserIdentity
    from teleport_conch.certs.public import PublicAuthority

CURRENT = "current-profile"
KNOWN_HOSTS = "known_hosts"
AUTHORITIES = "certs.pem"
MAX_PROFILES = 256
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@frozen
class Profile:
    """One proxy, and who is logged in there.

    :ivar proxy_host: its name, which names the files.
    :ivar web_proxy_addr: ``host:port`` of HTTPS. ``ssh_proxy_addr`` likewise of SSH.
    """

    proxy_host: str
    web_proxy_addr: str
    ssh_proxy_addr: str
    user: str
    cluster: str
    auth_type: str = "local"

    def to_yaml(self) -> str:
        """The text of the file."""
        value = {
            "web_proxy_addr": self.web_proxy_addr,
            "ssh_proxy_addr": self.ssh_proxy_addr,
            "user": self.user,
            "auth_type": self.auth_type,
            "cluster": self.cluster,
        }
        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))

    @classmethod
    def from_yaml(cls, proxy_host: str, text: str) -> Profile:
        """:raises BadParameter: the text is not that of such a file."""
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not isinstance(value, Mapping):
            raise BadParameter(f"The profile of {proxy_host} cannot be read; log in again with 'tsh login'.")
        fields = Fields({str(key): found for key, found in value.items()}, "profile")
        return cls(
            proxy_host,
            fields.text("web_proxy_addr", max_chars=300),
            fields.text("ssh_proxy_addr", max_chars=300),
            file_name(fields.text("user", max_chars=255), "user name"),
            names.cluster_name(fields.text("cluster", max_chars=255)),
            fields.text("auth_type", default="local", max_chars=32),
        )


def file_name(text: str, what: str) -> str:
    """``text``, once it can be the name of a file.

    :raises BadParameter: it could be another file than is meant.
    """
    if not text or text.startswith((".", "-")) or "/" in text or not text.isprintable() or len(text) > 200:
        raise BadParameter(f"{text[:64]!a} cannot be used as a {what} here.")
    return text


def host_name(text: str) -> str:
    """The name or address of a proxy's host.

    :raises BadParameter: it is none.
    """
    if len(text) > names.MAX_HOST_NAME_CHARS or not _HOST.fullmatch(text):
        raise BadParameter(f"{text[:64]!a} is not the name of a host.")
    return text.lower()


@frozen
class Login:
    """A profile with its certificates.

    :ivar identity: the key and both certificates, and the host authority.
    """

    profile: Profile
    identity: UserIdentity = field(repr=False)

    @property
    def certificate(self) -> SSHCertificate:
        """The SSH certificate, read."""
        return SSHCertificate.from_line(self.identity.ssh_certificate)

    def known_hosts(self) -> str:
        """Lines by which the hosts of the cluster are believed, its proxy among them, and no others."""
        host = next(each for each in self.identity.authorities if each.kind == "host")
        return "".join(f"{line}\n" for line in host.host_lines(patterns(self.profile)))

    def expired_at(self, now: float) -> bool:
        """Whether one of the certificates has ended, by a clock in POSIX seconds."""
        return self.identity.not_after <= now


@frozen
class Home:
    """The folder, ``~/.tsh`` unless something else was said."""

    folder: Path

    def check(self) -> None:
        """Makes sure that nobody else decides what is in the folder; root, too, is somebody else.

        :raises UnsafePath: it is another account's, or others may write to it.
        """
        for folder in (self.folder, self.folder / "keys"):
            private_files.check_folder(folder, os.geteuid())

    def _read(self, path: Path) -> str | None:
        return private_files.read(path, os.geteuid())

    # Where things are.

    def keys(self, proxy_host: str) -> Path:
        """The folder of everything that belongs to one proxy."""
        return self.folder / "keys" / host_name(proxy_host)

    def key(self, profile: Profile) -> Path:
        """The private key; what is beside it begins with its name."""
        return self.keys(profile.proxy_host) / file_name(profile.user, "user name")

    def certificate(self, profile: Profile) -> Path:
        """The SSH certificate, where OpenSSH looks for it."""
        return beside(self.key(profile), "-cert.pub")

    def known_hosts(self, profile: Profile) -> Path:
        """The host authority of the profile's cluster, and of no other."""
        return self.keys(profile.proxy_host) / f"{profile.cluster}.{KNOWN_HOSTS}"

    def ssh_config(self, profile: Profile) -> Path:
        """What ``tsh ssh`` gives to OpenSSH."""
        return self.keys(profile.proxy_host) / f"{profile.cluster}.ssh_config"

    # What is there.

    def current(self) -> str:
        """The host of the proxy that was used last; empty where nobody is logged in."""
        return (self._read(self.folder / CURRENT) or "").strip()

    def profile(self, proxy_host: str = "") -> Profile:
        """The profile of a proxy, or the current one.

        :raises NotFound: there is none.
        """
        host = host_name(proxy_host) if proxy_host else self.current()
        text = self._read(self.folder / f"{host_name(host)}.yaml") if host else None
        if text is None:
            where = f" at {host}" if host else ""
            raise NotFound(f"Not logged in{where}. Log in with: tsh login --proxy={host or 'proxy.example.com'}")
        return Profile.from_yaml(host, text)

    def profiles(self) -> Iterator[Profile]:
        """All of them, the current one first."""
        current = self.current()
        hosts = sorted((path.stem for path in self.folder.glob("*.yaml")), key=lambda host: (host != current, host))
        for host in hosts[:MAX_PROFILES]:
            with suppress(NotFound, BadParameter):
                yield self.profile(host)

    def login(self, profile: Profile) -> Login:
        """The certificates of a profile.

        :raises NotFound: they were removed.
        :raises BadParameter: they do not belong together.
        """
        from teleport_conch.certs import keys
        from teleport_conch.certs.identity import UserIdentity

        key = self.key(profile)
        paths = (key, self.certificate(profile), beside(key, "-x509.pem"))
        texts = [self._read(path) for path in paths]
        private, ssh, tls = (text or "" for text in texts)
        if not (private and ssh and tls):
            raise NotFound(f"{profile.user} is not logged in at {profile.proxy_host}. Log in with: tsh login")
        pem = keys.private_pem(keys.load_private_pem(private))  # TLS does not read OpenSSH's form
        identity = UserIdentity(profile.user, profile.cluster, pem, ssh.strip(), tls, (self.authority(profile),))
        return Login(profile, identity)

    def shown(self, profile: Profile) -> SSHCertificate:
        """The SSH certificate alone, for who only wants to see it.

        :raises NotFound: it was removed.
        """
        text = self._read(self.certificate(profile))
        if not text:
            raise NotFound(f"{profile.user} is not logged in at {profile.proxy_host}. Log in with: tsh login")
        return SSHCertificate.from_line(text.strip())

    def authority(self, profile: Profile) -> PublicAuthority:
        """The host authority of the cluster, as the last login was told it."""
        from teleport_conch.certs import keys
        from teleport_conch.certs.public import PublicAuthority

        lines = (self._read(self.known_hosts(profile)) or "").splitlines()
        blobs = tuple(keys.blob_of_line(line.split(None, 2)[2]) for line in lines if line.startswith("@cert-authority"))
        return PublicAuthority("host", profile.cluster, blobs, self.trusted(profile.proxy_host, profile.cluster))

    def trusted(self, proxy_host: str, cluster: str = "") -> tuple[str, ...]:
        """PEMs of the authorities that were verified at a proxy before; none for one that is new.

        :param cluster: only those of this one.
        """
        pems = tuple(_PEM.findall(self._read(self.keys(proxy_host) / AUTHORITIES) or ""))
        return tuple(pem for pem in pems if not cluster or _is_of(pem, cluster))

    # What is written.

    def save(self, login: Login, ssh_config: str) -> None:
        """Keeps a login and makes it the current one. The private key is written first, and the profile last."""
        from teleport_conch.certs import keys

        profile, identity = login.profile, login.identity
        for folder in (self.folder, self.folder / "keys", self.keys(profile.proxy_host)):
            private_files.make_folder(folder)
        key = self.key(profile)
        private = keys.load_private_pem(identity.key)
        host = next(each for each in identity.authorities if each.kind == "host")
        files = {
            key: keys.ssh_private_pem(private),
            beside(key, ".pub"): keys.public_line(keys.public_blob(private.public_key()), comment(profile)) + "\n",
            beside(key, "-cert.pub"): f"{identity.ssh_certificate.strip()} {comment(profile)}\n",
            beside(key, "-x509.pem"): identity.tls_certificate,
            self.keys(profile.proxy_host) / AUTHORITIES: "".join(host.tls_certificates),
            self.known_hosts(profile): login.known_hosts(),
            self.ssh_config(profile): ssh_config,
            self.folder / f"{profile.proxy_host}.yaml": profile.to_yaml(),
            self.folder / CURRENT: f"{profile.proxy_host}\n",
        }
        for path, text in files.items():
            private_files.write(path, text)
        self._gather_known_hosts()

    def go_to(self, profile: Profile) -> None:
        """Makes a profile the current one."""
        if self.current() != profile.proxy_host:
            private_files.write(self.folder / CURRENT, f"{profile.proxy_host}\n")

    def forget(self, profile: Profile) -> None:
        """Removes the key and the certificates of a profile, and the profile."""
        key = self.key(profile)
        for path in (key, *(beside(key, end) for end in (".pub", "-cert.pub", "-x509.pem"))):
            private_files.remove(path)
        for path in (self.known_hosts(profile), self.ssh_config(profile)):
            private_files.remove(path)
        private_files.remove(self.folder / f"{profile.proxy_host}.yaml")
        if self.current() == profile.proxy_host:
            private_files.remove(self.folder / CURRENT)
        self._gather_known_hosts()

    def _gather_known_hosts(self) -> None:
        texts = (self._read(self.known_hosts(profile)) or "" for profile in self.profiles())
        private_files.write(self.folder / KNOWN_HOSTS, "".join(texts))


def beside(path: Path, end: str) -> Path:
    """The file whose name is that of ``path`` with something behind it."""
    return path.with_name(path.name + end)


def comment(profile: Profile) -> str:
    """How an agent calls the key."""
    return f"teleport:{profile.user}"


def patterns(profile: Profile) -> tuple[str, ...]:
    """The hosts that the cluster's authority vouches for: all of the cluster, and the proxy by its own name."""
    host, _, port = profile.ssh_proxy_addr.rpartition(":")
    host = host.strip("[]")
    return (f"*.{profile.cluster}", host, f"[{host}]:{port}")


def _is_of(pem: str, cluster: str) -> bool:
    from teleport_conch.certs.tls import cluster_of, load_certificate_pem

    try:
        return cluster_of(load_certificate_pem(pem)) == cluster
    except (CertificateRefused, BadParameter):
        return False
