"""Random keys of the cluster's own, made at the first start and kept in the storage."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from teleport_conch.errors import AlreadyExists
from teleport_conch.storage.backend import IBackend

PREFIX = "cluster_configuration/"
_SECRET_BYTES = 32


async def open_secret(backend: IBackend, name: str, random: Callable[[int], bytes]) -> bytes:
    """The key of this name.

    :param random: so many random bytes.
    """
    with suppress(AlreadyExists):
        await backend.create(PREFIX + name, random(_SECRET_BYTES))
    return (await backend.get(PREFIX + name)).value
