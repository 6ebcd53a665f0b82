"""A login in one file, in place of what is kept."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import config, identity, main, openssh, status
from teleport_conch.cli.tsh.main import parse
from teleport_conch.client.profiles import Login
from teleport_conch.errors import BadParameter, CertificateExpired
from tests.cli.tsh.logins import PROXY, login
from tests.cli.tsh.test_ssh_config import read_by_ssh
from tests.client.certificates import CLUSTER


class IdentityCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o700)
        self.path = self.folder / "ci"
        self.login = login()
        self.write(self.login)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def write(self, made: Login) -> None:
        self.path.touch(0o600)
        self.path.write_text(made.identity.files("file")[""])

    def words(self, *words: str, proxy: str = f"{PROXY}:3080,3023") -> list[str]:
        return [f"--identity={self.path}", *([f"--proxy={proxy}"] if proxy else []), *words]

    def found(self, *words: str, proxy: str = f"{PROXY}:3080,3023") -> Login:
        return identity.login_in(parse(self.words("ls", *words, proxy=proxy)))


class LoginTests(IdentityCase):
    def test_login(self) -> None:
        """Everything but the proxy stands in the file."""
        found = self.found()
        self.assertEqual((found.profile.user, found.profile.cluster), ("alice", CLUSTER))
        self.assertEqual(
            (found.profile.web_proxy_addr, found.profile.ssh_proxy_addr), (f"{PROXY}:3080", f"{PROXY}:3023")
        )
        self.assertEqual(found.certificate, self.login.certificate)
        self.assertEqual(found.known_hosts(), self.login.known_hosts())

    def test_refused(self) -> None:
        """Without a proxy, for somebody else, for another cluster."""
        for words, proxy, sentence in (
            ((), "", "An identity file does not name a proxy: give --proxy=proxy.example.com as well."),
            (("--user=bob",), PROXY, f"The identity file {self.path} is for alice, and not for 'bob'."),
            (("--cluster=x",), PROXY, f"The identity file {self.path} is for {CLUSTER}, and not for 'x'."),
        ):
            problem = self.assertRaises(BadParameter, self.found, *words, proxy=proxy)
            self.assertEqual(problem.sentence, sentence)

    def test_expired(self) -> None:
        """The sentence says when, and what makes a new one."""
        self.write(login(ttl_s=60.0))
        late = time.time() + 61.0
        problem = self.assertRaises(CertificateExpired, identity.login_in, parse(self.words("ls")), late)
        self.assertRegex(problem.sentence, rf"^The certificates in {re.escape(str(self.path))} ended at \d{{4}}-")
        self.assertTrue(problem.sentence.endswith("tctl auth sign --format=file --user=alice"))

    def test_commands_without(self) -> None:
        """What would change or show ~/.tsh does not take it."""
        for words in (("login",), ("logout",), ("version",), ("cert", "explain")):
            ended = self.assertRaises(SystemExit, main.main, self.words(*words))
            self.assertEqual(ended.code, 1)
        self.assertIn("error: This command takes no identity file: leave --identity out.", self.err.getvalue())

    def test_status(self) -> None:
        status.status(parse(self.words("status")))
        self.assertIn(f"> Profile URL:  https://{PROXY}:3080\n  Logged in as: alice\n", self.out.getvalue())


class FilesTests(IdentityCase):
    def test_folder(self) -> None:
        """What OpenSSH needs is in a folder for its owner alone, and is gone afterwards."""
        self.patch(os, "environ", os.environ | {"XDG_RUNTIME_DIR": str(self.folder)})
        with openssh.files_of(parse(self.words("ssh", "web1")), self.found()) as home:
            self.assertEqual(home.folder.parent, self.folder)
            self.assertEqual(home.folder.stat().st_mode & 0o777, 0o700)
            read = read_by_ssh(home.ssh_config(self.login.profile), "teleport-proxy")
            self.assertEqual((read["hostname"], read["port"]), (PROXY, "3023"))
            for path in home.folder.rglob("*"):
                self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["ci"])

    def test_config(self) -> None:
        """An ssh_config names the file itself, and the certificate beside it."""
        config.config(parse(self.words("config")))
        path = self.folder / "config"
        path.write_text(self.out.getvalue())
        found = read_by_ssh(path, f"web1.{CLUSTER}")
        self.assertEqual(found["identityfile"], str(self.path))
        self.assertEqual(found["userknownhostsfile"], str(self.path))
        self.assertEqual(found["certificatefile"], f"{self.path}-cert.pub")
        self.assertIn(f" proxy ssh --identity={self.path} --proxy={PROXY}:3080,3023 ", found["proxycommand"])
        self.assertEqual((self.folder / "ci-cert.pub").read_text(), f"{self.login.identity.ssh_certificate}\n")

    def test_config_elsewhere(self) -> None:
        problem = self.assertRaises(BadParameter, config.config, parse(self.words("config", "--os=windows")))
        self.assertEqual(problem.sentence, f"The identity file {self.path} is on this computer: leave --os out.")
