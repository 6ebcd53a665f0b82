"""Backups that somebody who has the passphrase has made by hand: refused with a sentence, and nothing is left."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import closing
from pathlib import Path
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.backup import restore
from teleport_conch.auth.state.sealing import Sealer
from teleport_conch.errors import BadParameter

PASSPHRASE = "correct horse battery \udcff"


def _archive(sealer: Sealer) -> tarfile.TarFile:
    return tarfile.open(mode="w|", fileobj=cast(io.BytesIO, sealer), format=tarfile.PAX_FORMAT)


def sealed(path: Path, *members: tuple[str, bytes]) -> Path:
    """A sealed archive of these members; its passphrase is not UTF-8, as a terminal may send it."""
    with (
        path.open("wb") as target,
        closing(Sealer(target, PASSPHRASE, os.urandom)) as sealer,
        _archive(sealer) as archive,
    ):
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


class HandMadeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)

    def test_refused(self) -> None:
        """Paths, names and manifests that no backup has."""
        manifest = b'{"version": 1, "cluster_name": "example.com", "created": 1.0}'
        for members, sentence in (
            ((("manifest.json", b"[" * 100_000),), "says nothing of itself that can be read"),
            ((("manifest.json", b"\xff"),), "says nothing of itself that can be read"),
            ((("manifest.json", manifest), ("../escape", b"x")), "holds something that no backup holds"),
            ((("manifest.json", manifest), ("identities/../../x.json", b"x")), "holds something that no backup holds"),
            ((("manifest.json", manifest), ("identities/\0.json", b"x")), "holds something that no backup holds"),
            ((("manifest.json", manifest),), "the database is missing"),
        ):
            with self.subTest(members[-1][0]):
                file, target = sealed(self.folder / "backup", *members), self.folder / "restored"
                refusal = self.assertRaises(BadParameter, restore, file, PASSPHRASE, target)
                self.assertIn(sentence, refusal.sentence)
                self.assertFalse(target.exists())
