"""The host key that root takes out of another account's folder: no other file is read on the way."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.handed_over import host_key_in
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.errors import UnsafePath
from tests.client import certificates

ANOTHER_UID = 65533


class HandedOverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp()).absolute()
        self.identity = certificates.host_identity()
        IdentityStore(self.data_dir, os.urandom).save(self.identity)
        self.path = self.data_dir / "identities" / f"{self.identity.role.lower()}.json"

    def found(self) -> str:
        return host_key_in(self.data_dir, self.identity.role, os.geteuid())

    def assert_refused(self, why: str) -> None:
        before = len(os.listdir("/proc/self/fd"))
        refusal = self.assertRaises(UnsafePath, self.found)
        self.assertEqual(refusal.sentence, f"{self.path} is not read as root: {why}")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_there(self) -> None:
        self.assertEqual(self.found(), self.identity.ssh_key)

    def test_root_links_to_the_folder(self) -> None:
        """A data_dir may be reached by a link, which is not the service's."""
        real = self.data_dir.with_name("real")
        self.data_dir.rename(real)
        self.data_dir.symlink_to(real)
        self.assertEqual(self.found(), self.identity.ssh_key)

    def test_none(self) -> None:
        """Where there is no identity, or none with a key, there is nothing to take over."""
        for text in ("", "[]", "{", '{"spec": 1}', '{"spec": {"ssh_key": 1}}', "[" * 100_000, "\xff"):
            self.path.write_text(text, encoding="latin-1")
            self.assertEqual(self.found(), "")
        self.path.write_text(json.dumps({"spec": {"ssh_key": ""}}))
        self.assertEqual(self.found(), "")
        self.path.unlink()
        self.assertEqual(self.found(), "")
        self.path.parent.rmdir()
        self.assertEqual(self.found(), "")

    def test_links(self) -> None:
        """A link leads anywhere, and root would read what it leads to."""
        moved = self.path.with_name("moved")
        self.path.rename(moved)
        self.path.symlink_to(moved)
        self.assert_refused("Too many levels of symbolic links. Remove it.")
        self.path.unlink()
        self.path.hardlink_to(moved)
        self.assert_refused("it has to be a file of the service's own, with mode 0600.")

    def test_link_to_the_folder(self) -> None:
        folder = self.path.parent
        folder.rename(folder.with_name("moved"))
        folder.symlink_to("moved")
        self.assert_refused("Not a directory. Remove it.")

    def test_no_file(self) -> None:
        """A pipe would be waited for without end."""
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        self.assert_refused("it has to be a file of the service's own, with mode 0600.")

    def test_open_to_others(self) -> None:
        for mode in (0o640, 0o602):
            self.path.chmod(mode)
            self.assert_refused("it has to be a file of the service's own, with mode 0600.")

    def test_another_owner(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        os.chown(self.path, ANOTHER_UID, ANOTHER_UID)
        self.assert_refused("it has to be a file of the service's own, with mode 0600.")
