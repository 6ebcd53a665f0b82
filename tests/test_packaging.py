"""An installed wheel and an editable install, each in an empty environment, used from another directory."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent
SERVICES = ("teleport", "teleport-auth", "teleport-proxy", "teleport-node")


@frozen
class Environment:
    """A virtual environment, and an empty folder beside it in which its programs are started."""

    folder: Path
    elsewhere: Path

    @classmethod
    def create(cls, parent: Path, *install: str) -> Environment:
        """Make the environment and install into it, with pip as this machine has it set up."""
        created = cls(parent / "environment", parent / "elsewhere")
        created.elsewhere.mkdir(parents=True)
        venv.create(created.folder, with_pip=False, symlinks=True)
        python = str(created.folder / "bin" / "python")
        created._call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *install)
        return created

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment says on standard output; it must say nothing on stderr and exit with 0."""
        done = self._call(str(self.folder / "bin" / program), *arguments)
        if done.stderr:
            raise AssertionError(f"{program} said on stderr:\n{done.stderr}")
        return done.stdout

    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def _call(self, *command: str) -> subprocess.CompletedProcess[str]:
        own = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in own}
        done = subprocess.run(
            command, cwd=self.elsewhere, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            raise AssertionError(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


class MetadataTests(SynchronousTestCase):
    def test_oldest(self) -> None:
        """The lower bounds that are promised are those that ``tox -e tests-oldest`` runs with."""
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
        promised = {re.sub(r"\[.*]|,.*", "", bound).replace(">=", "==") for bound in project["dependencies"]}
        pinned = (CHECKOUT / "requirements" / "oldest.txt").read_text("utf-8").splitlines()
        self.assertEqual({line for line in pinned if not line.startswith("#")}, promised)


class InstallTests(SynchronousTestCase):
    timeout = 600

    def install(self, *install: str) -> Environment:
        return Environment.create(Path(self.mktemp()).absolute(), *install)

    def assert_listed(self, environment: Environment) -> None:
        """All services are in twist's list."""
        listed = {line.split()[0] for line in environment.run("twist", "--help").splitlines() if line.strip()}
        self.assertEqual(set(SERVICES) - listed, set())

    def assert_works(self, environment: Environment) -> None:
        """The services are listed and can be loaded, and the commands are on the PATH."""
        self.assert_listed(environment)
        for service in SERVICES:
            self.assertIn("Usage:", environment.run("twist", service, "--help"))
        for command in ("teleport", "tctl"):
            self.assertIn(version("teleport-conch"), environment.run(command, "version"))

    def test_wheel(self) -> None:
        """A wheel brings the plugins along, and nothing that would stand in Twisted's way."""
        environment = self.install(str(CHECKOUT))
        record = next(environment.site_packages().glob("teleport_conch-*.dist-info/RECORD")).read_text("utf-8")
        files = {line.split(",")[0] for line in record.splitlines() if ".pyc," not in line}
        self.assertEqual({name for name in files if name.startswith("twisted/")}, {"twisted/plugins/teleport_conch.py"})
        self.assertIn("teleport_conch/py.typed", files)
        outside = {name.split("/")[0] for name in files} - {"twisted", "teleport_conch", ".."}
        self.assertEqual({name.partition("-")[2] for name in outside}, {f"{version('teleport-conch')}.dist-info"})
        self.assert_works(environment)
        self.assert_survives_the_cache(environment)

    def test_editable(self) -> None:
        """An editable install works the same from any directory."""
        self.assert_works(self.install("--editable", str(CHECKOUT)))

    def assert_survives_the_cache(self, environment: Environment) -> None:
        """A list of plugins that is stale, is rubbish, or can be neither read nor written is no problem."""
        cache = environment.site_packages() / "twisted" / "plugins" / "dropin.cache"
        for content in (pickle.dumps({}), b"rubbish"):
            cache.write_bytes(content)
            future = cache.stat().st_mtime + 1_000_000
            os.utime(cache, (future, future))
            self.assert_listed(environment)
        cache.unlink()
        cache.mkdir()
        self.assert_listed(environment)
