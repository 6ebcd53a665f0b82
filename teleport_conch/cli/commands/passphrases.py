"""Passphrases of files. They are asked for before the reactor runs, which would keep Ctrl-C to itself."""

from __future__ import annotations

import getpass
import os
from argparse import Namespace
from pathlib import Path

from teleport_conch.errors import BadParameter, UnsafePath

#: Bytes of a passphrase.
MAX_PASSPHRASE_BYTES = 1024


def choose(arguments: Namespace) -> None:
    """Asks for one that seals ``arguments.file``, twice."""
    ask(arguments)
    if arguments.passphrase_file is None and _asked("Again: ") != arguments.passphrase:
        raise BadParameter("The two passphrases differ; nothing was written.")


def ask(arguments: Namespace) -> None:
    """Asks for the one that ``arguments.file`` is sealed with."""
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
