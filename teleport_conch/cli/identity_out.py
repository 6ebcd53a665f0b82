"""Where a new identity is written: into one file, or into several whose names begin alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from teleport_conch.cli.answer import Answer, in_the_way
from teleport_conch.errors import BadParameter

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "file": ("",),
    "openssh": ("", "-cert.pub"),
    "tls": (".key", ".crt", ".cas"),
}


def check_free(out: Path, form: str, overwrite: bool) -> None:
    """Look before a certificate is issued that would then have nowhere to go.

    :param form: ``file``, ``openssh`` or ``tls``.
    :raises BadParameter: nothing can be written there.
    :raises AlreadyExists: something is there, and is not to be replaced.
    """
    if not out.name:
        raise _is_folder(out)
    for path in (_path(out, suffix) for suffix in _SUFFIXES[form]):
        if path.is_dir():
            raise _is_folder(path)
        if not path.parent.is_dir():
            raise BadParameter(f"--out: there is no folder {path.parent}.")
        if path.exists() and not path.is_file():  # root could put a file in the place of /dev/null
            raise BadParameter(f"--out: {path} is a device, a pipe or a socket. Name a file.")
        if not overwrite and path.exists():
            raise in_the_way(path)


def _is_folder(path: Path) -> BadParameter:
    return BadParameter(f"--out: {path} is a folder. Name a file in it.")


def written(out: Path, parts: Mapping[str, str], overwrite: bool) -> Answer:
    """What is to be written, and said of it.

    :param parts: texts, each under what its file's name ends with.
    """
    files = {_path(out, suffix): text for suffix, text in parts.items()}
    said = f"The credentials have been written to {', '.join(map(str, files))}\n"
    return Answer(lambda: said, files=files, overwrite=overwrite)


def _path(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)
