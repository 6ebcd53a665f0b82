"""Secrets in a wrapper that no log line, traceback or repr opens by accident, and the files that hold them."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from attrs import field, frozen

from teleport_conch.errors import ConfigError, UnsafePath

#: The longest token that is read, in bytes; ours have 32 or 48 characters.
MAX_TOKEN_BYTES = 1024
#: A token shorter than this, in characters, can be guessed; one that never expires should not be that short.
SHORT_TOKEN = 16

_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@frozen
class Secret:
    """A text that is not to be shown. ``reveal()`` is the only way to it."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        return self._text

    def matches(self, candidate: str) -> bool:
        """Whether ``candidate`` is this secret, found in a time that does not depend on where they differ."""
        return hmac.compare_digest(self._text.encode(), candidate.encode())

    def path(self) -> Path | None:
        """The file that holds the secret, if this is not the secret itself but an absolute path."""
        return Path(self._text) if self._text.startswith("/") else None


def parse_token(text: str) -> Secret:
    """A join token, or the absolute path of the file that holds it.

    :raises ValueError: with a sentence that does not repeat the token.
    """
    if not text:
        raise ValueError("the token is empty")
    if len(text.encode()) > MAX_TOKEN_BYTES:
        raise ValueError(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    if not text.startswith("/") and not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a token is made of printable ASCII characters without spaces")
    if "\0" in text:
        raise ValueError("a path has no NUL characters")
    return Secret(text)


def read_token(value: Secret) -> Secret:
    """The token itself: ``value``, or what the file that ``value`` names holds, without white space around it.

    :raises UnsafePath: group or others may read or write the file.
    :raises ConfigError: the file cannot be read, or holds no token.
    """
    path = value.path()
    if path is None:
        return value
    try:
        with path.open("rb") as file:
            check_secret_file(path, os.fstat(file.fileno()))
            content = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"The token file {path} cannot be read: {error.strerror}.") from None
    try:
        token = parse_token(content.decode("ascii").strip())
    except UnicodeDecodeError:
        raise ConfigError(f"The token file {path} holds something else than one token.") from None
    except ValueError as error:
        raise ConfigError(f"The token file {path} does not hold a token: {error}.") from None
    if token.path() is not None:
        raise ConfigError(f"The token file {path} holds a path, not a token.")
    return token


def check_secret_file(path: Path, facts: os.stat_result) -> None:
    """Refuse a file with a secret that somebody beside its owner may read or change.

    :raises UnsafePath: with the command that mends it.
    """
    if facts.st_mode & (_OTHERS_READ | _OTHERS_WRITE):
        raise UnsafePath(
            f"{path} holds a token, and others than its owner can read or change it (mode"
            f" {stat.S_IMODE(facts.st_mode):04o}). Run: chmod 600 {path}"
        )
