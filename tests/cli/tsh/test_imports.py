"""What commands that are typed all day load: each module costs every one of them some milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.tsh.logins import login, saved

HEAVY = ("twisted", "OpenSSL", "asyncio", "logging", "cryptography.x509")
KEYS = "cryptography.hazmat.primitives.serialization"
_SCRIPT = """\
import sys
from teleport_conch.cli.tsh.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(*sys.modules, sep="\\n", file=sys.stderr)
    raise
"""


class ImportsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)
        saved(self.folder, login())

    def loaded(self, *words: str) -> set[str]:
        """The modules that are there in the end."""
        env = os.environ | {"TELEPORT_HOME": str(self.folder)}
        done = subprocess.run([sys.executable, "-c", _SCRIPT, *words], env=env, capture_output=True, check=True)
        return set(done.stderr.decode().split())

    def test_status(self) -> None:
        """Neither an event loop nor what reads private keys and TLS certificates."""
        found = self.loaded("status")
        self.assertIn("teleport_conch.cli.tsh.status", found)
        self.assertEqual(found & {*HEAVY, KEYS}, set())

    def test_help(self) -> None:
        """No command, only what describes them."""
        found = self.loaded("--help")
        self.assertEqual(found & {*HEAVY, KEYS, "yaml", "cryptography"}, set())
        self.assertEqual({name for name in found if name.startswith("teleport_conch.client")}, set())

    def test_config(self) -> None:
        """An ssh_config needs no event loop, either."""
        self.assertEqual(self.loaded("config") & {"twisted"}, set())

    def test_proxy_login(self) -> None:
        """What OpenSSH runs at each connection has no event loop where nobody has to log in again."""
        self.assertEqual(self.loaded("proxy", "login") & set(HEAVY), set())
