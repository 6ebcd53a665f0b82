"""What a host keeps of its membership in ``data_dir``.

- ``host_uuid`` (0400): the host's name in the cluster, made once;
- ``identities/<role>.json`` (0600): keys, certificates and authorities of one service; the host key is not in it where
  a monitor keeps that;
- ``identities/<role>.labels.json`` (0600): the labels that its token bound, which count while auth is away, too;
- ``ca.cert`` (0600): the host authority's certificates, by which auth is known when there is no pin.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen
from twisted.logger import Logger

from teleport_conch.certs.identity import HostIdentity
from teleport_conch.client import private_files
from teleport_conch.errors import TeleportError, UnsafePath
from teleport_conch.resources.fields import Fields

_END_OF_PEM = "-----END CERTIFICATE-----"
_log = Logger()


def path_of(data_dir: Path, role: str) -> Path:
    """Where the identity of a service is."""
    return data_dir / "identities" / f"{role.lower()}.json"


@frozen
class IdentityStore:
    """:param random: answers so many random bytes."""

    data_dir: Path
    random: Callable[[int], bytes]

    def host_uuid(self) -> str:
        """The name of this host, the same for all its services; made at the first call.

        :raises UnsafePath: the file holds no UUID, or others may write where it lies.
        """
        path = self.data_dir / "host_uuid"
        private_files.make_folder(self.data_dir)
        text = private_files.read(path)
        if text is None:  # of two services that see this at once, one is the first
            private_files.create(path, f"{uuid.UUID(bytes=self.random(16), version=4)}\n", 0o400)
            text = private_files.read(path) or ""
        try:
            return str(uuid.UUID(text.strip()))
        except ValueError:
            raise UnsafePath(
                f"{path} holds no UUID. Put the host's UUID back, or remove the file and join again."
            ) from None

    def load(self, role: str) -> HostIdentity | None:
        """The identity of one service, expired or not; None where there is none, or none that can be read.

        :raises UnsafePath: others can read it.
        """
        path = self._path(role)
        text = private_files.read(path)
        if text is None:
            return None
        try:
            return HostIdentity.from_json(json.loads(text))
        except (ValueError, RecursionError, TeleportError) as reason:
            _log.error("{path} holds no identity that can be used: {reason}", path=str(path), reason=str(reason))
            return None

    def save(self, identity: HostIdentity) -> None:
        """Keep an identity, and the authority that it trusts for the time when it is lost."""
        self._write(self._path(identity.role), identity.to_json())
        pems = [pem for each in identity.authorities if each.kind == "host" for pem in each.tls_certificates]
        private_files.write(self.ca_path, "".join(f"{pem.strip()}\n" for pem in pems))

    def drop(self, role: str) -> None:
        """Forget an identity that auth does not accept any more."""
        private_files.remove(self._path(role))

    def authorities(self) -> tuple[str, ...]:
        """PEMs of the host authority's certificates, as known from the last identity; empty before the first."""
        text = private_files.read(self.ca_path) or ""
        return tuple(f"{part.strip()}\n{_END_OF_PEM}\n" for part in text.split(_END_OF_PEM) if part.strip())

    def labels(self, role: str) -> Mapping[str, str]:
        """The labels that the token of a service bound, as far as they are known."""
        text = private_files.read(self._labels_path(role))
        try:
            return Fields(json.loads(text), "file").text_map("labels") if text else {}
        except (ValueError, RecursionError, TeleportError):
            raise UnsafePath(f"{self._labels_path(role)} holds no labels. Remove it; auth sends them again.") from None

    def save_labels(self, role: str, labels: Mapping[str, str]) -> None:
        self._write(self._labels_path(role), {"labels": dict(labels)})

    def _write(self, path: Path, value: Mapping[str, object]) -> None:
        private_files.make_folder(path.parent)
        private_files.write(path, json.dumps(value, indent=2) + "\n")

    @property
    def ca_path(self) -> Path:
        return self.data_dir / "ca.cert"

    def _path(self, role: str) -> Path:
        return path_of(self.data_dir, role)

    def _labels_path(self, role: str) -> Path:
        return self.data_dir / "identities" / f"{role.lower()}.labels.json"
