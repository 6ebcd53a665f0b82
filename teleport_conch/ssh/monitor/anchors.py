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

from attrs import define, field

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
    _had: bool = field(init=False, default=False)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """What the file says at this moment.

        :raises UnsafePath: others could have written it; or it was there before, and is not any more.
        """
        _check_way(self.path)
        text = _read(self.path)
        if text is None and self._had:
            raise UnsafePath(f"{self.path} has been removed. Start the service again to have it made anew.")
        self._had = text is not None
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
                " (tctl auth export --type=user), or stop the service, remove the file, and start it."
            )
        _write(self.path, "".join(f"{public_line(blob)}\n" for blob in blobs))
        self._had = True
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
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")


def _check_way(path: Path) -> None:
    """Who can rename a folder on the way to a file, or lead elsewhere on it, can have another file believed.

    :raises UnsafePath: others than root can.
    """
    for folder in {*path.parents, *(path.parent.resolve() / path.name).parents}:
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            continue
        is_link = stat.S_ISLNK(found.st_mode)
        # In a sticky folder, such as /tmp, nobody renames what is not his own.
        is_safe_mode = is_link or (folder != path.parent and (found.st_mode & stat.S_ISVTX or _only_ours_write(found)))
        if found.st_uid not in (0, os.geteuid()) or not is_safe_mode:
            _check_owner(found, folder)


def _only_ours_write(found: os.stat_result) -> bool:
    return not found.st_mode & stat.S_IWOTH and (not found.st_mode & stat.S_IWGRP or found.st_gid in (0, os.getegid()))


def _check_owner(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS_WRITE:
        raise UnsafePath(
            f"{path} is not believed: others than root can write it. Make it root's, with mode 0644 or 0700."
        )


def _write(path: Path, text: str) -> None:
    """Whole or not at all, also when the power goes."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _check_way(path)
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
