"""What tsh writes for OpenSSH, and what OpenSSH reads in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import config
from teleport_conch.cli.tsh.ssh_config import Files, for_people, for_tsh, in_shell, quoted
from teleport_conch.client.profiles import Home
from teleport_conch.errors import BadParameter
from tests.cli.tsh.logins import PROXY, login, profile, saved
from tests.client.certificates import CLUSTER
from tests.interop.requirements import require


def read_by_ssh(path: Path, host: str) -> dict[str, str]:
    """The options that OpenSSH's client takes from a file for a host."""
    require("ssh", "openssh-client")
    done = subprocess.run(["ssh", "-G", "-F", str(path), host], capture_output=True, text=True, check=True, timeout=30)
    return {key: value for key, _, value in (line.partition(" ") for line in done.stdout.splitlines())}


class ForPeopleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.home = Home(self.folder / "a home of 50%")

    def written(self, program: str = "tsh") -> Path:
        path = self.folder / "config"
        path.write_text(for_people(Files.of(self.home, profile()), profile(), program))
        return path

    def test_nodes(self) -> None:
        """A node is reached through tsh, with the certificate and nothing else, and without a question."""
        found = read_by_ssh(self.written(), f"web1.{CLUSTER}")
        self.assertEqual(found["hostname"], f"web1.{CLUSTER}")
        self.assertEqual(found["port"], "3022")
        self.assertEqual(found["identitiesonly"], "yes")
        self.assertEqual(found["stricthostkeychecking"], "true")
        self.assertEqual(
            found["proxycommand"],
            f"tsh proxy ssh --proxy={PROXY}:3080,3023 --cluster={CLUSTER} '%h:%p'",
        )
        self.assertIn("50%/", found["identityfile"].replace("%%", "%"))
        self.assertTrue(found["certificatefile"].endswith("alice-cert.pub"))
        self.assertTrue(found["userknownhostsfile"].endswith(f"{CLUSTER}.known_hosts"))

    def test_proxy(self) -> None:
        """The proxy itself is reached directly."""
        found = read_by_ssh(self.written(), PROXY)
        self.assertNotIn("proxycommand", found)
        self.assertEqual(found["identitiesonly"], "yes")

    def test_others(self) -> None:
        """Hosts elsewhere are none of its business."""
        found = read_by_ssh(self.written(), "github.com")
        self.assertNotIn("proxycommand", found)
        self.assertEqual(found["identitiesonly"], "no")

    def test_systems(self) -> None:
        """For another system the files are below its ~/.tsh, and Windows starts a ProxyCommand without a shell."""
        here = config.text(self.home, profile(), "linux", "linux", "/opt/tsh")
        self.assertIn("ProxyCommand /opt/tsh proxy ssh", here)
        self.assertIn(str(self.home.folder).replace("%", "%%"), here)
        mac = config.text(self.home, profile(), "linux", "macos", "/opt/tsh")
        self.assertIn(f'IdentityFile "~/.tsh/keys/{PROXY}/alice"', mac)
        self.assertIn("ProxyCommand tsh proxy ssh", mac)
        windows = config.text(self.home, profile(), "linux", "windows", "/opt/tsh")
        self.assertIn("ProxyCommand tsh.exe proxy ssh", windows)
        self.assertIn(f"--cluster={CLUSTER} %h:%p\n", windows)

    def test_T112_awkward_paths(self) -> None:
        """What OpenSSH or a shell would read as something else is quoted, or refused."""
        for path in ('/a"b', "/a\\b", "/a\nb", "/${HOME}/x"):
            sentence = self.assertRaises(BadParameter, quoted, path).sentence
            self.assertIn("cannot be written in an ssh_config", sentence)
            self.assertIn("TELEPORT_HOME", sentence)
        self.assertEqual(quoted("/50%/x y"), '"/50%%/x y"')
        self.assertEqual(in_shell(Path("/a b;$(id)")), "'/a b;$(id)'")
        self.assertEqual(in_shell(Path("/50%")), "/50%%")


class ForTshTests(SynchronousTestCase):
    def test_read_by_openssh(self) -> None:
        """Every host but the proxy's alias is reached through that alias, by the same file."""
        folder = Path(self.mktemp()).absolute()
        home = saved(folder, login())
        path = home.ssh_config(profile())
        self.assertEqual(path.read_text(), for_tsh(home, profile()))
        node = read_by_ssh(path, f"web1.{CLUSTER}")
        self.assertEqual(node["proxycommand"], f"ssh -F {path} -W [%h]:%p teleport-proxy")
        self.assertEqual(node["stricthostkeychecking"], "true")
        proxy = read_by_ssh(path, "teleport-proxy")
        self.assertEqual((proxy["hostname"], proxy["port"], proxy["user"]), (PROXY, "3023", "tsh"))
        self.assertNotIn("proxycommand", proxy)
