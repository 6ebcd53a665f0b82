"""What shells complete, and that names of nodes are words to them and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import completion
from tests.interop.requirements import require

_ASK = """
{script}
COMP_WORDS=(tsh ssh ''); COMP_CWORD=2
_tsh
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


class BashTests(SynchronousTestCase):
    def test_nobody_is_asked(self) -> None:
        """A key that completes words asks for no password, in any shell."""
        for script in (completion.bash(), completion.fish()):
            self.assertIn("tsh ls --no-login -f names ", script)
            self.assertNotIn("tsh ls -f names", script)

    def test_T95_nodes(self) -> None:
        """bash runs what stands in the words that it completes; a name that no host can have is left out."""
        bash, folder = require("bash", "bash"), Path(self.mktemp()).absolute()
        folder.mkdir()
        own = folder / "tsh"
        own.write_text("#!/bin/sh\nprintf '%s\\n' web1 'db-2.example' '$(touch taken)' '`touch taken`' '${HOME}' '~'\n")
        own.chmod(0o755)
        done = subprocess.run(
            [bash, "-c", _ASK.format(script=completion.bash())],
            env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/nowhere"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        words = done.stdout.splitlines()
        self.assertIn("web1", words)
        self.assertIn("db-2.example", words)
        self.assertIn("--forward-agent", words)
        self.assertFalse((folder / "taken").exists())
        self.assertNotIn("/nowhere", words)
