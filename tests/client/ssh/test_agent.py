"""Keys in a real ssh-agent, and in agents that will not have them."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.ssh import agent
from tests.cli.tsh.logins import login, profile, saved
from tests.interop.requirements import require


class AgentTests(SynchronousTestCase):
    def setUp(self) -> None:
        require("ssh-agent", "openssh-client")
        self.folder = Path(self.mktemp()).absolute()
        self.socket = Path(f"/tmp/tsh-agent-{os.getpid()}")
        before = os.environ.get("SSH_AUTH_SOCK", "")
        os.environ["SSH_AUTH_SOCK"] = str(self.socket)
        self.addCleanup(os.environ.__setitem__, "SSH_AUTH_SOCK", before)
        self.addCleanup(self.socket.unlink, missing_ok=True)

    def start(self) -> None:
        started = subprocess.Popen(["ssh-agent", "-D", "-a", str(self.socket)], stdout=subprocess.DEVNULL)
        self.addCleanup(started.wait, 10)
        self.addCleanup(started.terminate)
        while not self.socket.exists():
            self.assertIsNone(started.poll())

    def listed(self) -> list[str]:
        done = subprocess.run(["ssh-add", "-l"], capture_output=True, text=True, check=False, timeout=30)
        return [line for line in done.stdout.splitlines() if "teleport:alice" in line]

    def listening(self) -> socket.socket:
        """An agent of our own."""
        made = socket.socket(socket.AF_UNIX)
        self.addCleanup(made.close)
        made.bind(str(self.socket))
        made.listen()
        return made

    def said_of_renewal(self) -> str:
        home = saved(self.folder, login())
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        agent.renew(home.login(profile()))
        return said.getvalue()

    def test_key_and_certificate(self) -> None:
        """Both come with a login, are replaced with the next, and go with the end."""
        self.start()
        home = saved(self.folder, login())
        agent.renew(home.login(profile()))
        first = self.listed()
        self.assertEqual(len(first), 2)
        self.assertEqual(sum("-CERT" in line for line in first), 1)
        home = saved(self.folder, login())
        agent.renew(home.login(profile()))
        self.assertEqual(len(self.listed()), 2)
        self.assertEqual(set(self.listed()) & set(first), set())
        agent.forget(profile())
        self.assertEqual(self.listed(), [])

    def test_agent_that_is_gone(self) -> None:
        """Nobody needs an agent to log in."""
        said = self.said_of_renewal()
        self.assertIn("note: the ssh-agent does not hold the key (No such file or directory)", said)
        self.assertIn("tsh works without it", said)

    def test_agent_that_says_nothing(self) -> None:
        """One that never answers is not waited for."""
        self.patch(agent, "ANSWER_S", 0.2)
        self.listening()
        self.assertIn("timed out", self.said_of_renewal())

    def test_T113_frame_without_end(self) -> None:
        """What an agent announces is neither waited for nor kept."""
        self.answer_with(b"\xff\xff\xff\xff\x0c")
        self.assertIn("it answers what no agent answers", self.said_of_renewal())

    def test_agent_that_refuses(self) -> None:
        self.answer_with(b"\0\0\0\x05\x0c\0\0\0\0", b"\0\0\0\x01\x05")
        self.assertIn("it does not take certificates", self.said_of_renewal())

    def answer_with(self, *answers: bytes) -> None:
        listening = self.listening()

        def serve() -> None:
            connection = listening.accept()[0]
            with connection:
                for answer in answers:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
