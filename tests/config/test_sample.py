"""Tests for :mod:`teleport_conch.config.sample` and the files of ``etc/``."""

from __future__ import annotations

import secrets
import shlex
import subprocess
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from shutil import which
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh.line import tsh_parser
from teleport_conch.config.loading import load, parse
from teleport_conch.config.sample import fresh_token, sample
from teleport_conch.config.secret import Secret
from teleport_conch.config.settings import Settings
from teleport_conch.errors import UnsafePath

ETC = Path(__file__).parents[2] / "etc"
ROBOT = ETC / "systemd" / "teleport-bot.service"
UNITS = sorted(path for path in (ETC / "systemd").glob("*.service") if path != ROBOT)
SERVICES: Mapping[str, set[str]] = {
    "teleport.yaml": {"auth", "proxy", "node"},
    "teleport-auth.yaml": {"auth"},
    "teleport-proxy.yaml": {"proxy"},
    "teleport-node.yaml": {"node"},
}


class ConfigureTests(SynchronousTestCase):
    def test_token(self) -> None:
        """48 hexadecimal digits, all of them from the source of randomness."""
        self.assertEqual(fresh_token(lambda size: bytes(range(size))), bytes(range(24)).hex())
        self.assertEqual(len(fresh_token(secrets.token_bytes)), 48)

    def test_starts(self) -> None:
        """The sample is a whole configuration, whose node and proxy join with the token that auth knows."""
        token = fresh_token(secrets.token_bytes)
        settings = parse(sample("Web1.Example.com", token), "sample", {}, "other")
        self.assertEqual(settings.enabled(), {"auth", "proxy", "node"})
        self.assertEqual(settings.teleport.nodename, "web1.example.com")
        self.assertEqual(settings.auth.cluster_name, "web1.example.com")
        self.assertEqual(settings.teleport.auth_token, Secret(token))
        self.assertEqual([known.value for known in settings.auth.tokens], [Secret(token)])
        self.assertEqual(settings.teleport.connection_limits.max_connections, 1000)
        self.assertEqual(settings.notices, ())

    def test_as_a_file(self) -> None:
        """Written as its own comment says it loads; readable by others it is refused, since the token is in it."""
        path = Path(self.mktemp()).absolute()
        path.write_text(sample("web1", fresh_token(secrets.token_bytes)))
        path.chmod(0o600)
        self.assertEqual(load(path, {}).teleport.nodename, "web1")
        path.chmod(0o644)
        self.assertRaises(UnsafePath, load, path, {})


class SampleTests(SynchronousTestCase):
    def read(self, name: str) -> Settings:
        return parse((ETC / name).read_text(), name, {}, "web1")

    def test_all(self) -> None:
        """Each sample is parsed, and starts what its name says."""
        self.assertEqual({path.name for path in ETC.glob("*.yaml")}, set(SERVICES))
        self.assertEqual({name: self.read(name).enabled() for name in SERVICES}, SERVICES)

    def test_no_secrets(self) -> None:
        """A sample is read by everybody, so its tokens are in files."""
        for name in SERVICES:
            settings = self.read(name)
            for token in (settings.teleport.auth_token, *(known.value for known in settings.auth.tokens)):
                self.assertTrue(token is None or token.path() is not None, name)


class UnitTests(SynchronousTestCase):
    def read(self, path: Path) -> Mapping[str, str]:
        unit = ConfigParser(interpolation=None, strict=False)
        unit.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their capitals
        unit.read(path)
        return unit["Service"]

    def test_commands(self) -> None:
        """Each unit starts the plugin of its name with the usual file, and has room for its connections."""
        self.assertEqual(sorted(unit.stem for unit in UNITS), sorted(Path(name).stem for name in SERVICES))
        for path in UNITS:
            service = self.read(path)
            self.assertEqual(service["ExecStart"], f"/usr/local/bin/twist {path.stem} -c /etc/teleport.yaml")
            self.assertEqual((service["LimitNOFILE"], service["Restart"]), ("65536", "on-failure"))
            self.assertIn("After=network-online.target", path.read_text())

    def test_accounts(self) -> None:
        """Auth has an account and a sandbox; the proxy a sandbox, in which root can do little more than become that
        account; what opens sessions has neither.
        """
        for path in UNITS:
            service = self.read(path)
            unprivileged = path.stem == "teleport-auth"
            confined = path.stem in ("teleport-auth", "teleport-proxy")
            self.assertEqual(service.get("User"), "teleport-auth" if unprivileged else None)
            self.assertEqual("NoNewPrivileges" in service, confined)
            self.assertEqual("CapabilityBoundingSet" in service, confined)
            self.assertEqual("Starts as root" in path.read_text(), not unprivileged)

    def test_robot(self) -> None:
        """A robot's unit renews once, as an account of its own, with flags that the program has; a timer starts it."""
        service = self.read(ROBOT)
        words = shlex.split(service["ExecStart"].replace("\\\n", " "))
        self.assertEqual(words[0], "/usr/local/bin/tsh")
        arguments = tsh_parser({}).parse_args(words[1:])
        self.assertEqual((arguments.run, arguments.once), ("bot.bot", True))
        self.assertEqual((service["Type"], service["User"], service["UMask"]), ("oneshot", "teleport-bot", "0077"))
        self.assertIn("OnUnitActiveSec=10min", ROBOT.with_suffix(".timer").read_text())

    def test_restarts(self) -> None:
        """What a supervisor started outlives the unit's restart, and is exchanged by its reload."""
        for path in UNITS:
            service = self.read(path)
            supervised = "User" not in service
            self.assertEqual(service.get("KillMode"), "process" if supervised else None)
            self.assertEqual(service.get("ExecReload"), "/bin/kill -HUP $MAINPID" if supervised else None)

    @skipUnless(which("systemd-analyze"), "systemd-analyze is missing: apt-get install systemd")
    def test_verified(self) -> None:
        """Systemd understands every line of each unit."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        units = [*UNITS, ROBOT, ROBOT.with_suffix(".timer")]
        for path in units:
            text = (
                path.read_text().replace("/usr/local/bin/twist", "/bin/true").replace("/usr/local/bin/tsh", "/bin/true")
            )
            (folder / path.name).write_text(text)
        command = ["systemd-analyze", "verify", *(str(folder / path.name) for path in units)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        complaints = [line for line in answer.stderr.splitlines() if str(folder) in line]
        self.assertEqual((answer.returncode, complaints), (0, []), answer.stderr)
