"""The commands as a shell sees them: exit codes, and what is said where."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.loading import load
from tests.cli.programs import DEADLINE_S, command, run


class ProgramTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def config(self, **sections: dict[str, object]) -> str:
        path = self.folder / "teleport.yaml"
        teleport = {"data_dir": str(self.folder / "data"), **sections.pop("teleport", {})}
        path.write_text(yaml.safe_dump({"teleport": teleport, **sections}))
        return str(path)


class TctlTests(ProgramTestCase):
    def test_version(self) -> None:
        """0: it went well."""
        done = run("tctl", "version")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr), (0, f"Teleport v{version('teleport-conch')}\n", "")
        )

    def test_failure(self) -> None:
        """1: a sentence on stderr, and nothing else."""
        done = run("tctl", "-c", "/nowhere/teleport.yaml", "status")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "error: file not found: /nowhere/teleport.yaml\n")

    def test_every_mistake_of_a_file(self) -> None:
        """All mistakes of a configuration are said at once, each in its line."""
        done = run("tctl", "-c", self.config(teleport={"nodname": "x"}, auth_service={"enabeld": "no"}), "status")
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: ", done.stderr)
        self.assertIn("nodname", done.stderr)
        self.assertIn("enabeld", done.stderr)

    def test_usage(self) -> None:
        """2: the usage, and what is wrong with the command line."""
        done = run("tctl", "nodes", "list")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("usage: tctl nodes", done.stderr)
        self.assertIn("\nerror: ", done.stderr)

    def test_no_traceback(self) -> None:
        """With -d, and only then, it is shown where a failure came from."""
        words = ("-c", "/nowhere/teleport.yaml", "status")
        self.assertNotIn("Traceback", run("tctl", *words).stderr)
        self.assertIn("Traceback", run("tctl", "-d", *words).stderr)

    def test_passphrase_without_terminal(self) -> None:
        """Where nobody can be asked, nothing waits."""
        done = run("tctl", "-c", self.config(), "backup", str(self.folder / "b"))
        self.assertEqual(
            (done.returncode, done.stderr),
            (1, "error: There is no terminal to ask for the passphrase on; give --passphrase-file.\n"),
        )

    def test_backup_from_elsewhere(self) -> None:
        """Backup and restore are about this very host: flags that lead elsewhere are refused."""
        passphrase = self.folder / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text("correct horse battery staple")
        done = run("tctl", "--auth-server=a", "backup", "b", f"--passphrase-file={passphrase}")
        self.assertEqual(
            done.stderr,
            "error: This works on the auth host itself: leave --identity and --auth-server out.\n",
        )

    def test_nothing_slow_for_help(self) -> None:
        """Help and mistakes are answered without loading what speaks TLS."""
        script = "import sys, teleport_conch.cli.tctl as t; t.tctl_parser().format_help(); print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        loaded = set(done.stdout.split())
        self.assertEqual(loaded & {"treq", "OpenSSL", "yaml", "cryptography", "twisted.internet.reactor"}, set())

    def test_reader_that_has_enough(self) -> None:
        """``tctl ... | head`` does not complain, and neither does any help."""
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        helped = (
            ("tctl", "--help"),
            ("tsh.main", "ls", "--help"),
            ("teleport", "--help"),
            ("teleport", "start", "--help"),
        )
        for words in (("tctl", "version"), *helped):
            reading, writing = os.pipe()
            os.close(reading)
            done = subprocess.run(
                command(*words), stdout=writing, stderr=subprocess.PIPE, env=usual, check=False, timeout=DEADLINE_S
            )
            os.close(writing)
            self.assertEqual(done.stderr, b"", words)
            self.assertIn(done.returncode, (0, 1), words)


class TeleportTests(ProgramTestCase):
    def test_version(self) -> None:
        """Ours, and what it runs on."""
        done = run("teleport", "version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.startswith(f"Teleport v{version('teleport-conch')} twisted "))

    def test_status_outside(self) -> None:
        """Where there is no session, that is said."""
        done = run("teleport", "status")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr),
            (1, "", "error: You are not inside of a Teleport SSH session\n"),
        )

    def test_usage(self) -> None:
        """What is not known is a mistake of the command line."""
        for words in (("begin",), ("start", "--no-such-flag"), ("start", "--roles=sshd"), ()):
            self.assertEqual(run("teleport", *words).returncode, 2)

    def test_help(self) -> None:
        """Each command says what it does."""
        for name, what in (
            ("configure", "Print a configuration that starts as it is, with a fresh token."),
            ("status", "Say which session of which user this shell belongs to."),
            ("demo", "Run a whole cluster on this machine's loopback interface, to try things on."),
            ("version", "Print the version of this program."),
        ):
            done = run("teleport", name, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(what, " ".join(done.stdout.split()))

    def test_start_help(self) -> None:
        """The flags are Teleport's."""
        done = run("teleport", "start", "--help")
        self.assertEqual(done.returncode, 0)
        for flag in ("--roles=", "--token=", "--ca-pin=", "--auth-server=", "--nodename=", "--labels=", "--pid-file="):
            self.assertIn(flag, done.stdout)

    def test_start_with_a_wrong_file(self) -> None:
        """A mistake in the configuration is a failure to start."""
        done = run("teleport", "start", "-c", self.config(teleport={"nodname": "x"}))
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: ", done.stderr)
        self.assertIn("nodname", done.stderr)

    def test_start_on_a_port_in_use(self) -> None:
        """A service that cannot listen ends the process with one sentence, the last line on stderr."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            listening = f"127.0.0.1:{other.getsockname()[1]}"
            config = self.config(
                teleport={"pid_file": str(self.folder / "pid")},
                auth_service={"listen_addr": listening, "cluster_name": "main.example"},
                proxy_service={"enabled": "no"},
                ssh_service={"enabled": "no"},
            )
            done = run("teleport", "start", "-c", config)
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("Traceback", done.stderr)
        self.assertRegex(
            done.stderr.splitlines()[-1], r"\Aerror: Auth cannot listen on port \d+ of 127.0.0.1: it is in"
        )
        self.assertFalse((self.folder / "pid").exists())

    def test_unusable_log(self) -> None:
        """So does a log that cannot be written."""
        config = self.config(teleport={"log": {"output": "/nowhere/teleport.log"}})
        done = run("teleport", "start", "-c", config)
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: The log file /nowhere/teleport.log cannot be opened: No such file", done.stderr)

    def test_configure(self) -> None:
        """What is printed is a configuration that is accepted, with a token that is new each time."""
        first, second = run("teleport", "configure"), run("teleport", "configure")
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        self.assertNotEqual(first.stdout, second.stdout)
        path = self.folder / "teleport.yaml"
        path.touch(mode=0o600)
        path.write_text(first.stdout)
        settings = load(path, {})
        self.assertEqual(settings.enabled(), {"auth", "proxy", "node"})
