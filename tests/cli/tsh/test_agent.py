"""Keys in a real ssh-agent, and in agents that will not have them."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import agent
from tests.cli.tsh.logins import login, profile, saved
from tests.interop.requirements import require


class AgentTests(SynchronousTestCase):
    def setUp(self) -> None:
        require("ssh-agent", "openssh-client")
        self.folder = Path(self.mktemp()).absolute()
        self.socket = f"/tmp/tsh-agent-{os.getpid()}"
        before = os.environ.get("SSH_AUTH_SOCK", "")
        os.environ["SSH_AUTH_SOCK"] = self.socket
        self.addCleanup(os.environ.__setitem__, "SSH_AUTH_SOCK", before)

    def start(self) -> None:
        started = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket], stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (started.terminate(), started.wait(10), Path(self.socket).unlink(missing_ok=True)))
        while not Path(self.socket).exists():
            self.assertIsNone(started.poll())

    def listed(self) -> list[str]:
        done = subprocess.run(["ssh-add", "-l"], capture_output=True, text=True, check=False, timeout=30)
        return [line for line in done.stdout.splitlines() if "teleport:" in line]

    def test_key_and_certificate(self) -> None:
        """Both come with a login, go with the next, and go with the end."""
        self.start()
        home = saved(self.folder, login())
        agent.renew(home, home.login(profile()))
        self.assertEqual(len(self.listed()), 2)
        self.assertTrue(any("-CERT" in line for line in self.listed()))
        agent.forget(home, profile())
        self.assertEqual(self.listed(), [])

    def test_agent_that_is_gone(self) -> None:
        """Nobody needs an agent to log in."""
        home = saved(self.folder, login())
        notes: list[str] = []
        self.patch(agent.sys, "stderr", type("Notes", (), {"write": staticmethod(notes.append)}))
        agent.renew(home, home.login(profile()))
        agent.forget(home, profile())
        self.assertIn("note: the ssh-agent does not hold the key", notes[0])
        self.assertIn("tsh works without it", notes[0])

    def test_agent_that_says_nothing(self) -> None:
        """One that never answers is not waited for."""
        self.patch(agent, "ANSWER_S", 0.2)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.socket)
        listening.listen()
        self.addCleanup(lambda: (listening.close(), Path(self.socket).unlink()))
        home = saved(self.folder, login())
        notes: list[str] = []
        self.patch(agent.sys, "stderr", type("Notes", (), {"write": staticmethod(notes.append)}))
        agent.renew(home, home.login(profile()))
        self.assertIn("timed out", notes[0])

    def test_T113_frame_without_end(self) -> None:
        """What an agent announces is not waited for, nor kept."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.socket)
        listening.listen()

        def answer() -> None:
            connection = listening.accept()[0]
            connection.recv(64)
            connection.sendall(b"\xff\xff\xff\xff\x0c")
            connection.close()

        thread = Thread(target=answer, daemon=True)
        thread.start()
        self.addCleanup(lambda: (listening.close(), thread.join(10), Path(self.socket).unlink()))
        home = saved(self.folder, login())
        notes: list[str] = []
        self.patch(agent.sys, "stderr", type("Notes", (), {"write": staticmethod(notes.append)}))
        agent.renew(home, home.login(profile()))
        self.assertIn("it answers what no agent answers", notes[0])
