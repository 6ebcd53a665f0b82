"""Telling clients of a server's other host keys, and proving that it has them (OpenSSH, PROTOCOL, section 2.5).

A client that keeps the keys of hosts (``UpdateHostKeys``) learns so of a new key before the old one goes. Only plain
keys are announced: who trusts a certificate trusts its authority, and needs no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from teleport_conch import wire
from teleport_conch.errors import AccessDenied
from teleport_conch.wire import Reader

ANNOUNCED = b"hostkeys-00@openssh.com"
MAX_PROOFS = 16
"""How many keys one request may ask about: each costs a signature."""
MAX_REQUESTS = 2
"""How often one connection may ask."""

_CERTIFIED = b"-cert-v01@openssh.com"


class ProvenKey(Protocol):
    """A host key, as far as its possession is proven."""

    @property
    def blob(self) -> bytes:
        """The public key as it is announced."""

    async def prove(self, session_id: bytes) -> bytes:
        """See :class:`~teleport_conch.ssh.transport.hostkeys.HostKey`."""


class HostKeyProof:
    """The proofs of one connection.

    :param session_id: what the proofs are good for.
    :param keys: all host keys by the name of their algorithm.
    """

    __slots__ = ("_keys", "_left", "_session_id")

    def __init__(self, session_id: bytes, keys: Mapping[bytes, ProvenKey]) -> None:
        self._session_id = session_id
        self._left = MAX_REQUESTS
        self._keys = keys

    @property
    def keys(self) -> dict[bytes, ProvenKey]:
        """The plain keys, each once by its blob, though RSA has several algorithms."""
        return {key.blob: key for name, key in self._keys.items() if not name.endswith(_CERTIFIED)}

    def announcement(self) -> bytes:
        """The payload of ``hostkeys-00@openssh.com``: every key."""
        return b"".join(map(wire.string, self.keys))

    async def prove(self, payload: bytes) -> bytes:
        """The answer to ``hostkeys-prove-00@openssh.com``: one signature for each key that was asked about.

        :raises AccessDenied: one of them is not ours, or too much is asked.
        :raises WireError: that is no list of keys.
        """
        asked, keys = _blobs(payload), self.keys
        if self._left == 0 or not 0 < len(asked) <= MAX_PROOFS or any(blob not in keys for blob in asked):
            raise AccessDenied("That is not proven.")
        self._left -= 1
        return b"".join([wire.string(await keys[blob].prove(self._session_id)) for blob in asked])


def _blobs(payload: bytes) -> list[bytes]:
    reader = Reader(payload)
    blobs = []
    while not reader.finished:
        blobs.append(reader.string())
    return blobs
