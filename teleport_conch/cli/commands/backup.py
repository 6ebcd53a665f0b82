"""``tctl backup`` and ``tctl restore``: the state of the cluster in one encrypted file, and back."""

from __future__ import annotations

import getpass
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from twisted.python.reflect import namedAny

from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Local
from teleport_conch.cli.instants import moment
from teleport_conch.config.settings import Settings
from teleport_conch.errors import BadParameter, UnsafePath

#: Bytes of a passphrase.
MAX_PASSPHRASE_BYTES = 1024

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


# Passphrases are asked for before the reactor runs, which would keep Ctrl-C to itself.


def choose_passphrase(arguments: Namespace) -> None:
    ask_passphrase(arguments)
    if arguments.passphrase_file is None and _asked("Again: ") != arguments.passphrase:
        raise BadParameter("The two passphrases differ; nothing was written.")


def ask_passphrase(arguments: Namespace) -> None:
    given: Path | None = arguments.passphrase_file
    arguments.passphrase = _asked(f"Passphrase of {arguments.file}: ") if given is None else read_passphrase(given)


def _asked(prompt: str) -> str:
    try:
        with open("/dev/tty", "rb"):
            pass
    except OSError:
        raise BadParameter("There is no terminal to ask for the passphrase on; give --passphrase-file.") from None
    return getpass.getpass(prompt)


def read_passphrase(path: Path) -> str:
    """The first line of a file that only its owner reads.

    :raises UnsafePath: others can read it.
    :raises BadParameter: it cannot be read, or holds no text.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_PASSPHRASE_BYTES + 1)
        if mode & 0o077:
            raise UnsafePath(f"{path} holds a passphrase, and others can read it. Run: chmod 600 {path}")
        return content.decode().splitlines()[0]
    except OSError as reason:
        raise BadParameter(f"The passphrase file {path} cannot be read: {reason.strerror}.") from None
    except (UnicodeDecodeError, IndexError):
        raise BadParameter(f"The passphrase file {path} does not hold one line of text.") from None
