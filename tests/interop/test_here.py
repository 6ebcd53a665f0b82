"""``tsh ssh --local``: a command on this computer, while the forwards stand."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.interop.programs import eventually, installed
from tests.interop.services import LOCALHOST, answers, free_port, temporary_folder
from tests.interop.tsh_case import TshCase, without_openssh

_CONNECT = """\
import socket, sys
for port in sys.argv[1:]:
    socket.create_connection(("127.0.0.1", int(port)), timeout=30).close()
print("connected", flush=True)
sys.stdin.read()
sys.exit(7)
"""


class HereTests(TshCase):
    """With OpenSSH's client."""

    variables: dict[str, str] = {}

    def setUp(self) -> None:
        super().setUp()
        self.port, self.dynamic, self.remote = (free_port() for _ in range(3))
        self.runtime = temporary_folder()
        self.variables = self.variables | {"XDG_RUNTIME_DIR": str(self.runtime)}

    def words(self, *ports: int) -> list[str]:
        target = f"{LOCALHOST}:{self.cluster.auth_port}"
        forwards = ("-L", f"{self.port}:{target}", "-D", str(self.dynamic), "-R", f"{self.remote}:{target}")
        return ["ssh", "--local", *forwards, "web1", sys.executable, "-c", _CONNECT, *map(str, ports)]

    def nothing_is_left(self) -> None:
        eventually(lambda: not answers(self.port), "the port is closed")
        self.assertEqual(list(self.runtime.iterdir()), [])

    def test_forwards(self) -> None:
        """The command begins when all of them stand, and they end with it; its status is that of tsh."""
        ports = (self.port, self.dynamic, self.remote)
        self.assertEqual(self.alice.tsh(*self.words(*ports), code=7, env=self.variables).text, "connected\n")
        self.nothing_is_left()

    def test_label(self) -> None:
        """Of several nodes the first one is taken."""
        done = self.alice.tsh("ssh", "--local", "tier=web", "sh", "-c", "echo here", env=self.variables)
        self.assertEqual(done.text, "here\n")

    def test_port_in_use(self) -> None:
        """Nothing is run where a forward does not stand."""
        self.port = self.cluster.web_port
        done = self.alice.tsh(*self.words(), code=self.failure, env=self.variables)
        self.assertEqual(done.text, "")
        self.assertIn(str(self.port), done.complaint)

    def test_ended(self) -> None:
        """A signal ends the command and the connection."""
        with subprocess.Popen(
            [installed("tsh"), *self.words(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.alice.environment(**self.variables),
        ) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"connected\n")
            process.send_signal(signal.SIGINT)  # which is the command's business
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), self.ended)
        self.nothing_is_left()

    failure = 255
    ended = 128 + signal.SIGTERM


class OwnClientHereTests(HereTests):
    """The same where there is no OpenSSH."""

    failure = 1
    ended = 1

    def setUp(self) -> None:
        self.variables = {"PATH": without_openssh()}
        super().setUp()
