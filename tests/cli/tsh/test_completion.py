"""What shells complete, and that names of nodes are words to them and nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import completion
from tests.auth.recordings.samples import SID
from tests.interop.requirements import require

_ASK = """
{script}
COMP_WORDS=(tsh {command} ''); COMP_CWORD=2
_tsh
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


class BashTests(SynchronousTestCase):
    def test_nobody_is_asked(self) -> None:
        """A key that completes words asks for no password, in any shell."""
        for script in (completion.bash(), completion.fish()):
            self.assertIn("tsh recordings ls --no-login -f names ", script)
            self.assertIn("tsh ls --no-login -f names ", script)
            self.assertNotIn("tsh ls -f names", script)

    def completed(self, command: str, *listed: str) -> tuple[list[str], bool]:
        """The words after a command, where ``tsh`` lists these; and whether a shell has run something of them."""
        bash, folder = require("bash", "bash"), Path(self.mktemp()).absolute()
        folder.mkdir()
        own = folder / "tsh"
        own.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(map(shlex.quote, listed))}\n")
        own.chmod(0o755)
        done = subprocess.run(
            [bash, "-c", _ASK.format(script=completion.bash(), command=command)],
            env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/nowhere"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines(), (folder / "taken").exists()

    def test_T95_nodes(self) -> None:
        """bash runs what stands in the words that it completes; a name that no host can have is left out."""
        words, is_run = self.completed("ssh", "web1", "db-2.example", "$(touch taken)", "`touch taken`", "${HOME}", "~")
        self.assertIn("web1", words)
        self.assertIn("db-2.example", words)
        self.assertIn("--forward-agent", words)
        self.assertFalse(is_run)
        self.assertNotIn("/nowhere", words)

    def test_recordings(self) -> None:
        """Ids of sessions, and nothing that is none."""
        words, is_run = self.completed("play", SID, "$(touch taken)", "web1")
        self.assertIn(SID, words)
        self.assertNotIn("web1", words)
        self.assertFalse(is_run)
