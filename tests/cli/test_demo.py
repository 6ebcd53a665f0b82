"""The demo as a process: a cluster that is there after a moment, ends cleanly, and is the same the next time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs.certificate import SSHCertificate
from tests.cli.programs import DEADLINE_S, command, environment, run

# A process that was started in the background of a script ignores SIGINT, and so do its children.
CTRL_C = signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT
LAST_LINE = "Ctrl-C stops the cluster."
FILES = ("teleport.yaml", "second-node.yaml", "ssh_config", "known_hosts", "user", "user-cert.pub")


class DemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.demo = self.folder / "demo"

    @contextmanager
    def running(self) -> Iterator[str]:
        """The demo, from its last line on; what it said until then. It ends as Ctrl-C ends it, without complaints."""
        process = subprocess.Popen(
            command("teleport", "demo", "--dir", "demo"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=environment(),
        )
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if LAST_LINE in line:
                    break
            yield "".join(said)
            process.send_signal(CTRL_C)
            rest, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
            process.communicate()
        self.assertEqual((process.returncode, errors), (0, ""), "".join(said))
        self.assertEqual(rest.strip(), "Stopped. The next start goes on from here.")

    def test_two_lives(self) -> None:
        """The node is online when the lines are printed; the second start has the same host and authorities."""
        with self.running() as said:
            self.assertIn("ssh -F demo/ssh_config ", said)
            nodes, status = self.asked("nodes", "ls"), self.asked("status")
            self.check_files()
            again = run("teleport", "demo", "--dir", "demo", folder=self.folder)
            self.assertEqual(again.returncode, 1)
            self.assertRegex(again.stderr, r"\Aerror: Another demo \(process \d+\) runs in demo. Stop that one, or")
        first = (self.demo / "user-cert.pub").read_text()
        with self.running():
            self.assertEqual(self.asked("status"), status)
            self.assertEqual([self.known(node) for node in self.asked("nodes", "ls")], [self.known(n) for n in nodes])
        self.assertNotEqual((self.demo / "user-cert.pub").read_text(), first)

    def asked(self, *words: str) -> list[dict[str, object]]:
        done = run("tctl", "-c", "demo/teleport.yaml", *words, "--format=json", folder=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    def known(self, node: dict[str, object]) -> object:
        """What of a node stays."""
        status = node["status"]
        assert isinstance(status, dict)
        return node["metadata"], node["spec"], status["state"]

    def check_files(self) -> None:
        """All there, and nobody else's to read."""
        for name in FILES:
            self.assertEqual(stat.S_IMODE((self.demo / name).stat().st_mode), 0o600, name)
        certificate = SSHCertificate.from_line((self.demo / "user-cert.pub").read_text())
        self.assertEqual(len(certificate.principals), 1)

    def test_unusable_folder(self) -> None:
        """A folder that is a file, or that cannot be, is a sentence."""
        (self.folder / "file").touch()
        for path in ("file", "file/demo"):
            done = run("teleport", "demo", "--dir", path, folder=self.folder)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"error: The folder {path} cannot hold the state of the demo: ", done.stderr)
            self.assertIn("Choose another one with --dir.", done.stderr)

    def test_folder_in_use(self) -> None:
        """A folder that another process holds is left alone."""
        self.demo.mkdir()
        lock = os.open(self.demo / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("teleport", "demo", "--dir", "demo", folder=self.folder)
        self.assertEqual(
            done.stderr, "error: Another demo (process ?) runs in demo. Stop that one, or choose another --dir.\n"
        )
        self.assertEqual(os.listdir(self.demo), ["lock"])
