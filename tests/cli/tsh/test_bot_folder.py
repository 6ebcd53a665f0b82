"""The folder of a robot: whole at every moment, and for one program at a time."""

from __future__ import annotations

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh.bot_folder import KEPT_GENERATIONS, BotFolder
from teleport_conch.errors import AlreadyExists
from tests.cli.tsh.logins import login
from tests.cli.tsh.test_ssh_config import read_by_ssh
from tests.client.certificates import CLUSTER


class BotFolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.folder = BotFolder(self.path)

    def keep(self, generation: int) -> None:
        with self.folder.locked():
            self.folder.keep(login("bot-ci"), generation)

    def test_nothing_yet(self) -> None:
        self.assertEqual((self.folder.generation(), self.folder.login()), (0, None))

    def test_generation(self) -> None:
        """What OpenSSH is told leads to the files of this generation, which belong together."""
        self.keep(7)
        found = self.folder.login()
        assert found is not None
        self.assertEqual((self.folder.generation(), found.profile.user), (7, "bot-ci"))
        options = read_by_ssh(self.path / "ssh_config", f"web1.{CLUSTER}")
        self.assertTrue(options["identityfile"].startswith(f"{self.path}/7/"), options["identityfile"])
        self.assertTrue(Path(options["certificatefile"]).is_file())

    def test_readers_of_the_one_before(self) -> None:
        """Who has read the file before goes on: the files that it named are there, and the same."""
        self.keep(1)
        before = read_by_ssh(self.path / "ssh_config", f"web1.{CLUSTER}")["certificatefile"]
        text = Path(before).read_text()
        self.keep(2)
        self.assertEqual(Path(before).read_text(), text)
        self.assertNotEqual(read_by_ssh(self.path / "ssh_config", f"web1.{CLUSTER}")["certificatefile"], before)

    def test_old_ones_go(self) -> None:
        for generation in range(1, 7):
            self.keep(generation)
        left = sorted(int(each.name) for each in self.path.iterdir() if each.name.isdigit())
        self.assertEqual(left, [7 - count for count in range(KEPT_GENERATIONS, 0, -1)])

    def test_key_of_a_lost_answer(self) -> None:
        """The same key is asked with until certificates for it have come."""
        with self.folder.locked():
            key = self.folder.next_key()
            self.assertEqual(self.folder.next_key(), key)
            self.folder.keep(login("bot-ci"), 1)
            self.assertNotEqual(self.folder.next_key(), key)

    def test_one_at_a_time(self) -> None:
        with self.folder.locked():
            problem = self.assertRaises(AlreadyExists, self.folder.locked().__enter__)
        self.assertEqual(problem.sentence, f"Another 'tsh bot' keeps the certificates in {self.path} fresh.")

    def test_modes(self) -> None:
        """Everything is for its owner alone, and nothing is left of the writing."""
        self.keep(1)
        for each in self.path.rglob("*"):
            self.assertEqual(stat.S_IMODE(each.stat().st_mode) & 0o077, 0, each)
            self.assertFalse(each.name.startswith("."), each)
