"""Files through the proxy: scp, sftp, rsync and git, each as it comes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.interop.accounts import guest_account, is_root, may_sudo
from tests.interop.case import InteropTests
from tests.interop.programs import check, run
from tests.interop.requirements import require
from tests.interop.shared import alice

BIG_BYTES = 20_000_000


class JumpTests(InteropTests):
    """By ProxyJump."""

    big_bytes = BIG_BYTES

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.there = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.there.mkdir()

    def config(self) -> Path:
        return alice().jump_config

    def make(self, folder: Path, name: str, size: int) -> bytes:
        data = os.urandom(size)
        (folder / name).write_bytes(data)
        return data

    def scp(self, *words: str) -> None:
        check(run(require("scp", "openssh-client"), "-q", "-F", str(self.config()), *words))

    def check_scp(self, *flags: str) -> None:
        sent = self.make(self.here, "a file", self.big_bytes)
        (self.here / "a file").chmod(0o640)
        self.scp(*flags, "-p", str(self.here / "a file"), f"web1:{self.there}/copy")
        self.assertEqual((self.there / "copy").read_bytes(), sent)
        self.assertEqual((self.there / "copy").stat().st_mode & 0o777, 0o640)
        self.scp(*flags, "-r", f"web1:{self.there}", str(self.here / "back"))
        self.assertEqual((self.here / "back" / "copy").read_bytes(), sent)

    def test_scp(self) -> None:
        """There and back, by SFTP as today's ``scp`` does it."""
        self.check_scp()

    def test_scp_of_old(self) -> None:
        """There and back, by the protocol of ``scp`` itself."""
        self.check_scp("-O")

    def test_sftp(self) -> None:
        """A batch of commands: put, list, get, and a failure that is one."""
        sent = self.make(self.here, "big", self.big_bytes)
        batch = f"put {self.here}/big {self.there}/big\nls -1 {self.there}\nget {self.there}/big {self.here}/back\n"
        sftp = require("sftp", "openssh-client")
        done = check(run(sftp, "-q", "-F", str(self.config()), "-b", "-", "web1", stdin=batch.encode()))
        self.assertIn(f"{self.there}/big", done.text)
        self.assertEqual((self.there / "big").read_bytes(), sent)
        self.assertEqual((self.here / "back").read_bytes(), sent)
        lacks = run(sftp, "-q", "-F", str(self.config()), "-b", "-", "web1", stdin=b"get /no/such/file\n")
        self.assertEqual(lacks.code, 1, lacks)

    def test_rsync(self) -> None:
        """There and back, and then again with what has changed."""
        rsync = (require("rsync", "rsync"), "-a", "--delete", "-e", alice().shell_command(self.config()))
        for number in range(50):
            self.make(self.here, f"file {number}", 1000)
        big = self.make(self.here, "big", self.big_bytes)
        check(run(*rsync, f"{self.here}/", f"web1:{self.there}/copy/"))
        self.assertEqual(len(list((self.there / "copy").iterdir())), 51)
        self.assertEqual((self.there / "copy" / "big").read_bytes(), big)
        (self.here / "file 0").unlink()
        self.make(self.here, "file 1", 2000)
        check(run(*rsync, f"{self.here}/", f"web1:{self.there}/copy/"))
        check(run(*rsync, f"web1:{self.there}/copy/", f"{self.here}/back/"))
        found = {path.name: path.stat().st_size for path in (self.here / "back").iterdir()}
        self.assertEqual((len(found), found["file 1"], found["big"]), (50, 2000, self.big_bytes))

    def test_rsync_by_sudo(self) -> None:
        """As an account that becomes root for it: ``--rsync-path='sudo rsync'``."""
        if not is_root():
            self.skipTest("only root can make an account that may become root")
        may_sudo()
        self.make(self.here, "big", self.big_bytes)
        os.chown(self.here / "big", 1234, 5678)
        words = (require("rsync", "rsync"), "-a", "--rsync-path=sudo rsync", "-e", alice().shell_command(self.config()))
        there = f"{guest_account().pw_name}@web1:{self.there}"
        check(run(*words, f"{self.here}/big", f"{there}/copy"))
        found = (self.there / "copy").stat()
        self.assertEqual((found.st_uid, found.st_gid, found.st_size), (1234, 5678, self.big_bytes))
        check(run(*words, f"{there}/copy", f"{self.here}/back"))
        self.assertEqual((self.here / "back").read_bytes(), (self.here / "big").read_bytes())

    def test_git(self) -> None:
        """Clone, commit and push over ssh."""
        git = (require("git", "git"), "-c", "user.name=Alice", "-c", "user.email=alice@example.com")
        env = alice().environment(self.config())
        check(run(*git, "init", "--quiet", "--bare", "--initial-branch=main", str(self.there / "origin.git"), env=env))
        clone = self.here / "clone"
        check(run(*git, "clone", "--quiet", f"web1:{self.there}/origin.git", str(clone), env=env))
        self.make(clone, "big", self.big_bytes)
        check(run(*git, "add", "big", cwd=clone, env=env))
        check(run(*git, "commit", "--quiet", "--message=A file", cwd=clone, env=env))
        check(run(*git, "push", "--quiet", "origin", "HEAD:main", cwd=clone, env=env))
        check(run(*git, "clone", "--quiet", f"ssh://web1{self.there}/origin.git", str(self.here / "again"), env=env))
        self.assertEqual((self.here / "again" / "big").read_bytes(), (clone / "big").read_bytes())


class SubsystemTests(JumpTests):
    """By the subsystem ``proxy:``."""

    def config(self) -> Path:
        return alice().command_config
