"""What all commands about recordings have in common: how one is named, what is said of its end, and its file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from teleport_conch.audit.tape import PIECE_BYTES, Fetch, Tape
from teleport_conch.cli.table import inert
from teleport_conch.errors import AlreadyExists, BadParameter
from teleport_conch.resources.recording import Recording, RecordingState

FILE_END = ".rec"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def session_id(text: str) -> str:
    """The id of a session as it is written down.

    :raises BadParameter: it is none.
    """
    found = text.strip().lower()
    if not _ID.fullmatch(found):
        raise BadParameter(f"'{inert(text[:64])}' is not a valid session ID (must be GUID).")
    return found


def is_file(text: str) -> bool:
    """Whether a file is meant, and not a session of the cluster."""
    return "/" in text or text.endswith(FILE_END)


def from_file(clock: IReactorTime, file: BinaryIO) -> Fetch:
    """Reads a recording from a file, and lets keys and signals have their turn before each piece."""

    async def fetch(offset: int) -> bytes:
        await deferLater(clock, 0.0)
        file.seek(offset)
        return file.read(PIECE_BYTES)

    return fetch


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that was not there before, for its owner alone.

    :raises AlreadyExists: it was.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExists(f"{path} exists already. Give another name, or remove it first.") from None
    with os.fdopen(descriptor, "wb") as file:
        yield file


def check_head(recording: Recording, head: str) -> None:
    """Compares what was read of a recording with what auth had noted when it was complete.

    :param head: the digest of the last slice, as 64 hexadecimal digits.
    :raises BadParameter: they differ.
    """
    if recording.complete and recording.head != head:
        raise BadParameter(
            f"The recording ends with the digest {head}, and auth had noted {inert(recording.head)}: its end was"
            " changed, or is missing."
        )


def missing(tape: Tape, recording: Recording | None) -> str:
    """What a recording lacks that has been read to its end, as a sentence; empty for one that is whole.

    :param recording: what auth knows of it; None for one in a file.
    """
    end = tape.end
    if end is not None:
        return "" if end.get("complete") is True else _incomplete(str(end.get("reason") or ""))
    if recording is not None and recording.state is RecordingState.RECORDING:
        return "The session is still being recorded; this is what there is so far."
    return _incomplete((recording.reason if recording is not None else "") or "its end is missing")


def size_text(size: int) -> str:
    """``714 B``, ``12 KiB``, ``3.4 MiB``."""
    if size < 1 << 10:
        return f"{size} B"
    return f"{size >> 10} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"


def _incomplete(reason: str) -> str:
    return f"The recording is incomplete: {inert(reason).rstrip('.') or 'nobody knows why'}."
