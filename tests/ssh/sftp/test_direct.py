"""OpenSSH's ``sftp -D``, which starts a server by itself, with ours and with OpenSSH's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.interop.requirements import require
from tests.ssh.sftp import driving

BIG_BYTES = 5_000_000
COMMANDS = """\
put big up
get up down
put -p big kept
mkdir folder
put -r tree folder
get -r folder/tree back
ls -1 folder/tree
ls -la folder/tree/sub
rename up folder/renamed
ln -s nowhere folder/soft
ln folder/renamed folder/hard
chmod 711 folder
-mkdir folder
-rmdir folder
-rm folder/none
-get none
cp folder/hard folder/copied
rm folder/hard
cd folder
pwd
ls -n
"""


@frozen
class Result:
    """What the client printed, its status, and what is in the folder: sizes, modes, targets of links."""

    out: str
    err: str
    code: int
    files: Mapping[str, tuple[int, int, str]]


class DirectTests(SynchronousTestCase):
    def transfer(self, argv: Sequence[str]) -> Result:
        """All commands, in a folder of the same name for both."""
        folder = Path(self.mktemp()).absolute() / "folder"
        (folder / "tree" / "sub").mkdir(parents=True)
        (folder / "big").write_bytes(bytes(range(250)) * (BIG_BYTES // 250))
        for number in range(150):
            path = folder / "tree" / "sub" / f"file {number}"
            path.write_bytes(b"x" * number)
            os.utime(path, (10**9, 10**9))
        server = folder.parent / "server"
        server.write_text(f"#!/bin/sh\nexec {shlex.join(argv)}\n")
        server.chmod(0o755)
        words = [require("sftp", "openssh-client"), "-D", str(server), "-b", "-"]
        done = subprocess.run(words, input=COMMANDS.encode(), capture_output=True, check=False, cwd=folder)
        files = {}
        for path in sorted(folder.rglob("*")):
            found = path.lstat()
            target = os.readlink(path) if path.is_symlink() else ""
            files[str(path.relative_to(folder))] = (found.st_size, found.st_mode, target)
        out = done.stdout.decode().replace(str(folder), "")
        return Result(out, done.stderr.decode().replace(str(folder), ""), done.returncode, files)

    def test_same_as_openssh(self) -> None:
        """The same commands say and do the same, whichever server carries them out."""
        ours = self.transfer(driving.own())
        self.assertEqual(ours.code, 0, ours.err)
        self.assertEqual(ours.files["folder/renamed"][0], BIG_BYTES)
        self.assertEqual(ours.files["back/sub/file 149"][0], 149)
        theirs = self.transfer(driving.openssh())
        self.assertEqual(_steady(ours.out), _steady(theirs.out))
        self.assertEqual((ours.err, ours.code, ours.files), (theirs.err, theirs.code, theirs.files))


def _steady(listed: str) -> str:
    """Without the times of day, of which a minute may pass between the two."""
    return re.sub(r"\d\d:\d\d", "", listed)
