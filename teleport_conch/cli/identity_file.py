"""Identity files, as ``tctl auth sign --format=file`` writes them: a key, its certificates and whom to believe."""

from __future__ import annotations

import os
from pathlib import Path

from teleport_conch.certs.identity import UserIdentity, read_identity_file
from teleport_conch.client.private_files import check_owner
from teleport_conch.errors import BadParameter, UnsafePath

#: Bytes of an identity file.
MAX_IDENTITY_BYTES = 1 << 18


def read_identity(path: Path, owner: int | None = None) -> UserIdentity:
    """The identity of a file.

    :param owner: the uid that it has to belong to; None for any.
    :raises BadParameter: it cannot be read, or is something else.
    :raises UnsafePath: others can read it, or it is another account's.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(MAX_IDENTITY_BYTES + 1)
    except OSError as reason:
        raise BadParameter(f"The identity file {path} cannot be read: {reason.strerror}.") from None
    if found.st_mode & 0o077:
        raise UnsafePath(f"{path} holds a private key, and others than its owner can read it. Run: chmod 600 {path}")
    check_owner(path, found, owner)
    return read_identity_file(content.decode("utf-8", "replace"))
