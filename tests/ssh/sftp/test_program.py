"""Which program serves SFTP, and what an account reads that cannot run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.sftp import program
from tests.interop.requirements import require


def installed(*paths: str) -> Callable[[str], object]:
    return lambda path: path in paths


class ChoiceTests(SynchronousTestCase):
    def test_automatic(self) -> None:
        """OpenSSH's, where one of the distributions' paths has it, and else ours."""
        for path in program.OPENSSH_SERVERS:
            self.assertEqual(program.command_line("automatic", installed(path)), path)
        both = installed("/usr/lib/ssh/sftp-server", "/usr/lib/openssh/sftp-server")
        self.assertEqual(program.command_line("automatic", both), "/usr/lib/openssh/sftp-server")
        self.assertEqual(program.command_line("automatic", installed()), program.own_command_line())

    def test_chosen(self) -> None:
        everything: Callable[[str], object] = lambda path: True  # noqa: E731
        self.assertEqual(program.command_line("own", everything), program.own_command_line())
        self.assertEqual(program.command_line("/opt/my sftp", everything), "'/opt/my sftp'")


class StartTests(SynchronousTestCase):
    def run_as(self, prefix: Sequence[str], command: str, shell: str = "/bin/sh") -> tuple[int, str]:
        words = [*prefix, shell, "-c", command]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", check=False)
        return done.returncode, done.stderr.decode()

    def test_any_shell(self) -> None:
        """The line means the same to every shell that an account may have."""
        for shell in ("/bin/sh", "/bin/bash", "/bin/dash", "/usr/bin/zsh", "/usr/bin/fish", "/bin/csh", "/bin/ksh"):
            if os.path.exists(shell):
                self.assertEqual(self.run_as((), program.own_command_line(), shell), (0, ""), shell)

    def test_unreadable(self) -> None:
        """An account that may not read the interpreter is told so, and what would help."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another account")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(mode=0o700)
        (folder / "python").symlink_to(sys.executable)
        nobody = (require("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups")
        code, complaint = self.run_as(nobody, program.own_command_line(str(folder / "python")))
        self.assertEqual(code, 126)
        self.assertTrue(complaint.startswith("This account cannot use the SFTP server of the node: it may not read "))
        self.assertTrue(
            complaint.endswith(
                "Install the package openssh-sftp-server on the node, or Python and teleport-conch where all may read "
                "them.\n"
            )
        )
        self.assertIn(str(folder / "python"), complaint)
