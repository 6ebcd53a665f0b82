"""Certificates that ``tctl`` does not make, signed by OpenSSH's ``ssh-keygen``."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from tests.interop.cluster import CLUSTER_NAME, LOGIN, Cluster
from tests.interop.person import Person
from tests.interop.programs import check, run
from tests.interop.requirements import require
from tests.interop.services import write_private

ED25519 = ("-t", "ed25519")


def keygen(*words: str) -> None:
    check(run(require("ssh-keygen", "openssh-client"), "-q", *words))


def authority_key(cluster: Cluster, kind: str = "user") -> Path:
    """The private key of an authority, read from the database as only somebody who owns the auth host can."""
    path = cluster.folder / f"{kind}-authority"
    if not path.exists():
        database = cluster.auth.data_dir / "backend" / "sqlite.db"
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        query = "SELECT value FROM items WHERE key = ?"
        (value,) = connection.execute(query, (f"authorities/{kind}/{CLUSTER_NAME}",)).fetchone()
        connection.close()
        pair = Authority.from_json(json.loads(value)).ssh_keys[0]
        write_private(path, keys.ssh_private_pem(pair.private_key))
    return path


def foreign_key(folder: Path) -> Path:
    """The private key of an authority that nobody trusts."""
    path = folder / "foreign-authority"
    if not path.exists():
        keygen("-t", "ed25519", "-N", "", "-f", str(path))
    return path


def signed(
    cluster: Cluster, authority: Path, name: str, *options: str, logins: str = LOGIN, kind: Sequence[str] = ED25519
) -> Person:
    """Somebody with a certificate of this authority.

    :param options: of ``ssh-keygen``, ``-V`` and ``-O`` for instance.
    :param kind: options with which ``ssh-keygen`` makes the key.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cluster.folder))
    key = folder / name
    keygen(*kind, "-N", "", "-f", str(key))
    words = options if "-V" in options else ("-V", "-5m:+1h", *options)
    keygen("-s", str(authority), "-I", name, "-n", logins, "-z", "7", *words, f"{key}.pub")
    person = Person(folder, key, logins.partition(",")[0], cluster.proxy_port)
    cluster.acquaint(person)
    return person


def signed_by_cluster(cluster: Cluster, name: str, *options: str, kind: Sequence[str] = ED25519) -> Person:
    """The same, by the cluster's own authority, with the role ``access``."""
    roles = json.dumps({"version": "v1", "roles": ["access"]})
    words = ("-O", f"extension:teleport-roles={roles}", *options)
    return signed(cluster, authority_key(cluster), name, *words, kind=kind)
