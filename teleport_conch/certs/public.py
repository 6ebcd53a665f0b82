"""What everybody who trusts an authority has to know of it, and the lines that make OpenSSH trust it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen
from cryptography import x509

from teleport_conch.certs import keys, names, tls
from teleport_conch.errors import BadParameter, CertificateMalformed
from teleport_conch.resources.fields import Fields, envelope

MAX_KEYS = 16
"""Of one authority; rotation needs two."""
_PATTERN = re.compile(r"!?(?:[A-Za-z0-9_.:*?-]+|\[[A-Za-z0-9_.:*?-]+\]:[0-9]{1,5})")


def _usual_cluster_name(name: str) -> str:
    return names.cluster_name(name)


@frozen
class PublicAuthority:
    """One of a cluster's two authorities, without its secrets; the first key signs, and all are trusted.

    :ivar ssh_keys: blobs.
    :ivar tls_certificates: PEM.
    """

    kind: tls.Kind
    cluster_name: str = field(converter=_usual_cluster_name)
    ssh_keys: tuple[bytes, ...]
    tls_certificates: tuple[str, ...]

    def x509_certificates(self) -> tuple[x509.Certificate, ...]:
        """Its TLS certificates, read.

        :raises CertificateMalformed: one of the texts is not a certificate.
        """
        return tuple(map(tls.load_certificate_pem, self.tls_certificates))

    def lines(self) -> tuple[str, ...]:
        """Its SSH keys, a line each."""
        return tuple(map(keys.public_line, self.ssh_keys))

    def user_lines(self) -> tuple[str, ...]:
        """Lines for ``authorized_keys``; without ``cert-authority`` in front, also for sshd's TrustedUserCAKeys."""
        comment = f"clustername={self.cluster_name}&type=user"
        return tuple(f"cert-authority {keys.public_line(blob, comment)}" for blob in self.ssh_keys)

    def host_lines(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Lines for ``known_hosts``.

        :param patterns: which hosts the authority vouches for, as in sshd(8): ``*.example.com``, ``[proxy]:3023``.
        :raises BadParameter: there are none, or one is no such pattern.
        """
        if not patterns:
            raise BadParameter("Lines for known_hosts need at least one pattern of host names.")
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern):
                shown = pattern[:64].encode("unicode_escape").decode("ascii")
                raise BadParameter(f"'{shown}' is not a pattern of host names as known_hosts has them.")
        listed = ",".join(dict.fromkeys(patterns))
        return tuple(f"@cert-authority {listed} {keys.public_line(blob, 'type=host')}" for blob in self.ssh_keys)

    def to_json(self) -> dict[str, object]:
        """The resource ``cert_authority`` v2; keys are lines and PEM in base64, as Teleport has them."""
        pairs = [{"cert": packed(text)} for text in self.tls_certificates]
        spec = {"checking_keys": packed_all(self.lines()), "tls_key_pairs": pairs}
        return resource(self.kind, self.cluster_name, spec)

    @classmethod
    def from_json(cls, value: object) -> PublicAuthority:
        """The authority of a resource; secrets in it are passed over.

        :raises BadParameter: it is no such resource, or its TLS certificates are those of another cluster.
        """
        kind, cluster, spec = read_resource(value)
        lines = unpacked_all(spec, "checking_keys")
        certificates = tuple(unpacked(pair, "cert") for pair in spec.children("tls_key_pairs", MAX_KEYS))
        authority = cls(kind, cluster, tuple(map(keys.blob_of_line, lines)), certificates)
        try:
            named = {tls.cluster_of(each) for each in authority.x509_certificates()}
        except CertificateMalformed as reason:
            raise BadParameter(f"cert_authority.spec.tls_key_pairs: {reason.sentence}") from None
        # Whoever this certificate signs for counts as a member of the cluster that it names.
        if not named <= {authority.cluster_name}:
            raise BadParameter(
                f"cert_authority.spec.tls_key_pairs holds a certificate of another cluster than {cluster}."
            )
        return authority


def resource(kind: tls.Kind, cluster: str, spec: Mapping[str, object]) -> dict[str, object]:
    """The envelope of an authority's JSON."""
    return {
        "kind": "cert_authority",
        "sub_kind": kind,
        "version": "v2",
        "metadata": {"name": cluster, "namespace": "default"},
        "spec": {"type": kind, "cluster_name": cluster, **spec},
    }


def read_resource(value: object) -> tuple[tls.Kind, str, Fields]:
    """Kind, cluster and spec of an authority's JSON.

    :raises BadParameter: it is something else.
    """
    _, _, spec = envelope(value, "cert_authority")
    kind = spec.text("type", max_chars=16)
    cluster = spec.text("cluster_name", max_chars=255)
    if kind == "user":
        return "user", cluster, spec
    if kind == "host":
        return "host", cluster, spec
    raise BadParameter(f"{spec.where}.type has to be user or host.")


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def packed_all(texts: Iterable[str]) -> list[str]:
    return [packed(text) for text in texts]


def unpacked(fields: Fields, key: str) -> str:
    """The text whose base64 a field holds."""
    return _decoded(fields.text(key, max_chars=tls.MAX_PEM_CHARS), f"{fields.where}.{key}")


def unpacked_all(fields: Fields, key: str) -> tuple[str, ...]:
    found = fields.texts(key, MAX_KEYS, max_chars=tls.MAX_PEM_CHARS)
    return tuple(_decoded(text, f"{fields.where}.{key}") for text in found)


def _decoded(text: str, where: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:  # which is what binascii and Unicode raise, too
        raise BadParameter(f"{where} has to be base64 of a text.") from None
