"""``tctl backup`` and ``tctl restore``: the state of the cluster in one encrypted file, and back."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from twisted.python.reflect import namedAny

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Local
from teleport_conch.cli.instants import moment
from teleport_conch.config.settings import Settings
from teleport_conch.errors import BadParameter

_BACKUP = "teleport_conch.auth.backup.backup"
_RESTORE = "teleport_conch.auth.backup.restore"


class _RestoredFrom(Protocol):
    cluster_name: str
    created_at: float


async def backup(local: Local, arguments: Namespace) -> Answer:
    write: Callable[[object, Settings, Path, str], Awaitable[None]] = namedAny(_BACKUP)
    await write(local.reactor, local.settings, arguments.file, arguments.passphrase)
    return said(f"The backup has been written to {arguments.file}. Nothing opens it without the passphrase.")


async def restore(local: Local, arguments: Namespace) -> Answer:
    teleport = local.settings.teleport
    if teleport.storage.path != teleport.data_dir / "backend":
        raise BadParameter(
            f"A backup is restored into data_dir, and the configuration keeps the state in {teleport.storage.path}."
            " Leave teleport.storage.path out, restore, and move the folder 'backend' afterwards."
        )
    unpack: Callable[[Path, str, Path], _RestoredFrom] = namedAny(_RESTORE)
    found = unpack(arguments.file, arguments.passphrase, teleport.data_dir)
    return said(
        f"The cluster {found.cluster_name}, as of {moment(found.created_at)}, has been restored to"
        f" {teleport.data_dir}. Start the auth service now, and never again the one that the backup was made on."
    )
