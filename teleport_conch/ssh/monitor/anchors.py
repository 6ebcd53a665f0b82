"""The authorities whose certificates open accounts of this host: taken once, and not the server's to change after that.

Where servers run as another account than the monitor, the anchors are a file that only root can write, with a line
``ssh-ed25519 AAAA...`` for each authority. It is made when a server first says whom it trusts, which is after the host
has joined and before anybody can connect. From then on it changes in two ways: an administrator edits it, or somebody
shows a new list that is signed with the key of an authority which is in it (:func:`endorsed_part`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.keys import blob_of_line, public_line
from teleport_conch.certs.signatures import AlgorithmRefused, BadSignature, Signature, verify
from teleport_conch.errors import AccessDenied, BadParameter, TeleportError, UnsafePath

MAX_ANCHORS = 16
MAX_FILE_BYTES = 64 << 10
_PURPOSE = "trust anchors of teleport-conch"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@define
class FollowedAnchors:
    """Anchors where a server could change everything anyway, as it runs as the monitor's own account."""

    blobs: tuple[bytes, ...] = ()

    def trust(self, blobs: Sequence[bytes], endorsement: bytes) -> None:
        self.blobs = tuple(blobs)


@define
class KeptAnchors:
    """Anchors in a file.

    :param path: of the file; its folder is made where it is missing.
    :param log: is told of every change in a sentence.
    """

    path: Path
    log: Callable[[str], None]

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """What the file says at this moment. Raises :class:`UnsafePath` where others could have written it."""
        text = _read(self.path)
        return () if text is None else _blobs(text)

    def trust(self, blobs: Sequence[bytes], endorsement: bytes) -> None:
        """Takes the first anchors, or others that one of the present ones vouches for.

        :raises AccessDenied: there are anchors, they are others, and nobody who is trusted vouches for the new ones.
        """
        if not blobs or len(blobs) > MAX_ANCHORS:
            raise BadParameter(f"Between 1 and {MAX_ANCHORS} authorities can be trusted here.")
        present = self.blobs
        if set(blobs) == set(present):
            return
        if present and not _endorsed(blobs, endorsement, present):
            raise AccessDenied(
                f"The cluster has other user authorities than {self.path} has. If that is right, put their lines there"
                " (tctl auth export --type=user), or remove the file and start the service again."
            )
        _write(self.path, "".join(f"{public_line(blob)}\n" for blob in blobs))
        self.log(f"The authorities in {self.path} are {'others now' if present else 'those of the first join'}.")


def endorsed_part(blobs: Sequence[bytes]) -> bytes:
    """What an authority signs to vouch for a new list: ``string purpose``, then each key as a string."""
    return wire.text(_PURPOSE) + b"".join(wire.string(blob) for blob in blobs)


def _endorsed(blobs: Sequence[bytes], endorsement: bytes, present: Sequence[bytes]) -> bool:
    for anchor in present:
        try:
            verify(public_key.parse(anchor), Signature.parse(endorsement), endorsed_part(blobs))
        except (wire.WireError, AlgorithmRefused, BadSignature):
            continue
        return True
    return False


def _blobs(text: str) -> tuple[bytes, ...]:
    lines = [line.strip() for line in text.splitlines()]
    try:
        return tuple(blob_of_line(line) for line in lines if line and not line.startswith("#"))[:MAX_ANCHORS]
    except TeleportError as problem:
        raise UnsafePath(f"A line of the trust anchors cannot be read: {problem.sentence}") from problem


def _read(path: Path) -> str | None:
    """The text of a file that only we and root can have written; None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise UnsafePath(f"The trust anchors {path} cannot be read: {problem.strerror}.") from problem
    with os.fdopen(fd, "rb") as file:
        _check_owner(os.fstat(fd), path)
        _check_owner(os.stat(path.parent), path.parent)
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")


def _check_owner(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS_WRITE:
        raise UnsafePath(
            f"{path} is not believed: others than root can write it. Make it root's, with mode 0644 or 0700."
        )


def _write(path: Path, text: str) -> None:
    """Whole or not at all, also when the power goes."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _check_owner(os.stat(path.parent), path.parent)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
