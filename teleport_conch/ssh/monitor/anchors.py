"""The authorities whose certificates open accounts of this host: taken once, and not the server's to change after that.

Where servers run as another account than the monitor, the anchors are a file that only root can write, with a line
``ssh-ed25519 AAAA...`` for each authority. It is made when a server first says whom it trusts, which is after the host
has joined and before anybody can connect. From then on it changes in two ways: an administrator edits it, or somebody
shows a new list that is signed with the key of an authority which is in it (:func:`endorsed_part`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from teleport_conch import wire
from teleport_conch.certs import public_key
from teleport_conch.certs.keys import blob_of_line, public_line
from teleport_conch.certs.signatures import AlgorithmRefused, BadSignature, Signature, verify
from teleport_conch.errors import AccessDenied, BadParameter, TeleportError, UnsafePath
from teleport_conch.ssh.monitor import guarded

ANCHORS = "authorities"
MAX_ANCHORS = 16
_PURPOSE = "trust anchors of teleport-conch"


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
        text = guarded.read(self.path)
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
        guarded.write(self.path, "".join(f"{public_line(blob)}\n" for blob in blobs))
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
