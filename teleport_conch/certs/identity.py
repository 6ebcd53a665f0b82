"""What a host or user has to prove who it is: keys, certificates, and the authorities that it believes in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from teleport_conch.certs import keys, tls
from teleport_conch.certs.certificate import BACKDATED_S, SSHCertificate
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.errors import BadParameter, CertificateRefused
from teleport_conch.resources.fields import envelope

MAX_IDENTITY_CHARS = 1 << 18
MAX_AUTHORITIES = 16


@frozen
class HostIdentity:
    """Everything that a host keeps of its membership in a cluster; holds private keys.

    :ivar role: its system role.
    :ivar ssh_key: OpenSSH's format; empty where it is kept elsewhere, and only its certificate is here.
    :ivar ssh_certificate: one line.
    :ivar tls_key: PEM, as is ``tls_certificate``.
    """

    host_uuid: str
    node_name: str
    cluster_name: str
    role: str
    ssh_key: str = field(repr=False)
    ssh_certificate: str = field(repr=False)
    tls_key: str = field(repr=False)
    tls_certificate: str = field(repr=False)
    authorities: tuple[PublicAuthority, ...] = field(repr=False)

    @property
    def host_key(self) -> bytes:
        """The blob of the public key that its SSH certificate is for."""
        return SSHCertificate.from_line(self.ssh_certificate).public_key

    @property
    def principals(self) -> tuple[str, ...]:
        """What the host may be called, by its SSH certificate."""
        return SSHCertificate.from_line(self.ssh_certificate).principals

    @property
    def not_after(self) -> float:
        """POSIX second at which the first of the two certificates ends."""
        return _window(self.ssh_certificate, self.tls_certificate)[1]

    def renew_at(self) -> float:
        """POSIX second at which half of the time for which the certificates were issued is over."""
        start, end = _window(self.ssh_certificate, self.tls_certificate)
        return (start + BACKDATED_S + end) / 2

    def to_json(self) -> dict[str, object]:
        """The resource ``identity`` v2, with its secrets: for a file that nobody else can read."""
        return {
            "kind": "identity",
            "version": "v2",
            "metadata": {"name": f"{self.host_uuid}.{self.cluster_name}", "namespace": "default"},
            "spec": {
                "host_uuid": self.host_uuid,
                "node_name": self.node_name,
                "cluster_name": self.cluster_name,
                "role": self.role,
                "ssh_key": self.ssh_key,
                "ssh_cert": self.ssh_certificate,
                "tls_key": self.tls_key,
                "tls_cert": self.tls_certificate,
                "authorities": [authority.to_json() for authority in self.authorities],
            },
        }

    @classmethod
    def from_json(cls, value: object) -> HostIdentity:
        """The identity of a resource.

        :raises BadParameter: it is no such resource, or a certificate in it is not for the key beside it.
        """
        _, _, spec = envelope(value, "identity")
        identity = cls(
            host_uuid=spec.text("host_uuid", max_chars=64),
            node_name=spec.text("node_name", max_chars=255),
            cluster_name=spec.text("cluster_name", max_chars=255),
            role=spec.text("role", max_chars=32),
            ssh_key=spec.text("ssh_key", "", max_chars=keys.MAX_PEM_CHARS),
            ssh_certificate=spec.text("ssh_cert", max_chars=tls.MAX_PEM_CHARS),
            tls_key=spec.text("tls_key", max_chars=keys.MAX_PEM_CHARS),
            tls_certificate=spec.text("tls_cert", max_chars=tls.MAX_PEM_CHARS),
            authorities=tuple(
                PublicAuthority.from_json(authority.raw())
                for authority in spec.children("authorities", MAX_AUTHORITIES)
            ),
        )
        _check_pairs(identity.ssh_key, identity.ssh_certificate, identity.tls_key, identity.tls_certificate)
        return identity


@frozen
class UserIdentity:
    """What ``tctl auth sign --user`` hands out; holds a private key, which is that of both certificates.

    :ivar key: PKCS #8 PEM, of a type that SSH and TLS have in common: P-256, as
        :func:`teleport_conch.certs.keys.generate_tls_key` makes it.
    :ivar authorities: whom to believe that a server is one of the cluster's.
    """

    name: str
    cluster_name: str
    key: str = field(repr=False)
    ssh_certificate: str = field(repr=False)
    tls_certificate: str = field(repr=False)
    authorities: tuple[PublicAuthority, ...] = field(repr=False)

    @property
    def not_after(self) -> float:
        """POSIX second at which the first of the two certificates ends."""
        return _window(self.ssh_certificate, self.tls_certificate)[1]

    def files(self, format: str) -> Mapping[str, str]:  # noqa: A002 - the name of the command's option
        """The texts to write, each under what its file's name ends with.

        :param format: ``file``, ``openssh`` or ``tls``.
        :raises BadParameter: any other.
        """
        if format == "file":
            return {"": self._identity_file()}
        if format == "openssh":
            return openssh_files(self.key, self.ssh_certificate)
        if format == "tls":
            return {".key": self.key, ".crt": self.tls_certificate, ".cas": "".join(self._tls_authorities())}
        raise BadParameter(f"The format of an identity is file, openssh or tls, and not {format[:64]!r}.")

    def _host_authorities(self) -> tuple[PublicAuthority, ...]:
        return tuple(authority for authority in self.authorities if authority.kind == "host")

    def _tls_authorities(self) -> Sequence[str]:
        return [text for authority in self._host_authorities() for text in authority.tls_certificates]

    def _identity_file(self) -> str:
        lines = [
            f"{line}\n"
            for authority in self._host_authorities()
            for line in authority.host_lines((f"*.{authority.cluster_name}",))
        ]
        parts = [self.key, f"{self.ssh_certificate.strip()}\n", self.tls_certificate, *lines, *self._tls_authorities()]
        return "".join(parts)


def openssh_files(private_pem: str, ssh_certificate: str) -> Mapping[str, str]:
    """A key and its certificate as ``ssh`` and ``sshd`` look for them: ``F`` and ``F-cert.pub``.

    :param private_pem: in either form.
    """
    key = keys.load_private_pem(private_pem)
    return {"": keys.ssh_private_pem(key), "-cert.pub": f"{ssh_certificate.strip()}\n"}


def read_identity_file(text: str) -> UserIdentity:
    """The identity of a text in the format ``file``.

    The first PEM block is the key, the next the TLS certificate, those after it are certificates of authorities.

    :raises BadParameter: it is not of that form, or a certificate in it is not for its key.
    """
    if len(text) > MAX_IDENTITY_CHARS:
        raise BadParameter(f"An identity file has at most {MAX_IDENTITY_CHARS} characters.")
    blocks, lines = _split(text)
    certificates = [line for line in lines if "-cert-v01@openssh.com " in line]
    if len(blocks) < 3 or len(certificates) != 1:
        raise BadParameter(
            "This is not an identity file: it has to hold a private key, an SSH certificate, a TLS certificate and the "
            "authorities. Make one with `tctl auth sign --format=file`."
        )
    key, tls_certificate = blocks[:2]
    _check_pairs(key, certificates[0], key, tls_certificate)
    try:
        authority = _host_authority(lines, blocks[2:])
        name = tls.read_user(tls.load_certificate_pem(tls_certificate), authority.cluster_name).name
    except CertificateRefused as reason:
        raise BadParameter(f"A certificate of this identity file is refused: {reason.sentence}") from None
    return UserIdentity(name, authority.cluster_name, key, certificates[0], tls_certificate, (authority,))


def _split(text: str) -> tuple[list[str], list[str]]:
    """The PEM blocks of a text, and the lines between them."""
    blocks, lines, block = list[str](), list[str](), list[str]()
    for line in text.splitlines():
        if block or line.startswith("-----BEGIN "):
            block.append(line)
        else:
            lines.append(line)
        if block and line.startswith("-----END "):
            blocks.append("\n".join([*block, ""]))
            block = []
    return blocks, lines


def _host_authority(lines: Sequence[str], blocks: Sequence[str]) -> PublicAuthority:
    """The host authority of the cluster that issued the identity, which comes first."""
    clusters = [tls.cluster_of(tls.load_certificate_pem(block)) for block in blocks]
    own = clusters[0]
    marked = [line.split(None, 2) for line in lines if line.startswith("@cert-authority ")]
    blobs = tuple(keys.blob_of_line(words[2]) for words in marked if words[1:2] == [f"*.{own}"] and words[2:])
    mine = tuple(block for block, cluster in zip(blocks, clusters, strict=True) if cluster == own)
    return PublicAuthority("host", own, blobs, mine)


def _window(ssh_certificate: str, tls_certificate: str) -> tuple[float, float]:
    """The time at which both certificates hold."""
    ssh, own = SSHCertificate.from_line(ssh_certificate), tls.load_certificate_pem(tls_certificate)
    start = max(float(ssh.valid_after), own.not_valid_before_utc.timestamp())
    return start, min(float(ssh.valid_before), own.not_valid_after_utc.timestamp())


def _check_pairs(ssh_key: str, ssh_certificate: str, tls_key: str, tls_certificate: str) -> None:
    try:
        ssh = SSHCertificate.from_line(ssh_certificate)
        own = tls.load_certificate_pem(tls_certificate)
    except CertificateRefused as reason:
        raise BadParameter(f"A certificate of this identity is refused: {reason.sentence}") from None
    if ssh_key and ssh.public_key != keys.public_blob(keys.load_private_pem(ssh_key).public_key()):
        raise BadParameter("The SSH certificate of this identity is not for its key.")
    if own.public_key() != keys.load_private_pem(tls_key).public_key():
        raise BadParameter("The TLS certificate of this identity is not for its key.")
