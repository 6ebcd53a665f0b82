"""Where a login goes, and where what it gives is kept."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import login as logging_in
from teleport_conch.cli.tsh import places
from teleport_conch.cli.tsh.main import parse
from teleport_conch.cli.tsh.places import ProxyAddress
from teleport_conch.client.profiles import Home, Login
from teleport_conch.errors import AlreadyExists, BadParameter, NotFound
from tests.cli.tsh.logins import PROXY, login, saved
from tests.client.certificates import CLUSTER


class LoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.home = Home(self.folder)
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(places, "home", lambda: self.home)


class PortTests(LoginCase):
    """A host has one login; another port of it is another proxy."""

    def refused(self, proxy: str) -> str:
        arguments = parse(["ls", f"--proxy={proxy}"])
        return str(self.assertRaises(NotFound, places.chosen_profile, arguments, self.home).sentence)

    def test_chosen(self) -> None:
        """Ports that were not named are those of the login."""
        saved(self.folder, login())
        for proxy in (PROXY, f"{PROXY}:3080", f"{PROXY}:3080,3023", f"{PROXY}:,3023"):
            self.assertEqual(places.chosen_profile(parse(["ls", f"--proxy={proxy}"]), self.home).user, "alice")

    def test_refused(self) -> None:
        saved(self.folder, login())
        for ports in ("4080", "3080,4023", ",4023"):
            self.assertEqual(
                self.refused(f"{PROXY}:{ports}"),
                f"alice is logged in at {PROXY}:3080,3023, and not at {PROXY}:{ports}. Log in with:"
                f" tsh login --proxy={PROXY}:{ports}",
            )

    def test_login(self) -> None:
        """Who is logged in at one port logs in at another, and is not shown the first."""
        saved(self.folder, login())
        asked: list[str] = []
        self.patch(logging_in, "log_in", lambda arguments, home: asked.append(arguments.proxy))
        for proxy in (f"{PROXY}:3080", PROXY, f"{PROXY}:4080"):
            logging_in.login(parse(["login", f"--proxy={proxy}"]))
        self.assertEqual(asked, [f"{PROXY}:4080"])

    def test_whereto(self) -> None:
        """The ports of the last time, unless others are named."""
        there = login()
        unusual = evolve(there.profile, web_proxy_addr=f"{PROXY}:4080", ssh_proxy_addr=f"{PROXY}:4023")
        saved(self.folder, evolve(there, profile=unusual))
        for words, address in (
            ((), ProxyAddress(PROXY, 4080, 4023)),
            ((f"--proxy={PROXY}",), ProxyAddress(PROXY, 4080, 4023)),
            ((f"--proxy={PROXY}:3080",), ProxyAddress(PROXY, 3080)),
            (("--proxy=other.example.org",), ProxyAddress("other.example.org")),
        ):
            self.assertEqual(logging_in._whereto(parse(["login", *words]), self.home)[0], address, words)

    def test_connector(self) -> None:
        """What a login cannot be is said also to who is logged in already."""
        saved(self.folder, login())
        problem = self.assertRaises(BadParameter, logging_in.login, parse(["login", "--auth=github"]))
        self.assertIn("Logins by way of the connector 'github' are not built yet", problem.sentence)

    def test_nowhere(self) -> None:
        problem = self.assertRaises(BadParameter, logging_in._whereto, parse(["login"]), self.home)
        self.assertIn("Say where to log in", problem.sentence)

    def test_current(self) -> None:
        """Who is logged in at two proxies goes from one to the other by logging in there."""
        saved(self.folder, login("bob", "b.example.org"), login())
        logging_in.login(parse(["login", "--proxy=b.example.org"]))
        self.assertEqual(self.home.profile().user, "bob")
        self.assertTrue(self.out.getvalue().startswith("> Profile URL:  https://b.example.org:3080\n"))


class FileTests(LoginCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        self.asked = 0

        def log_in(_: object, home: Home, keep: Callable[[Login], None]) -> Login:
            self.asked += 1
            made = login()
            keep(made)
            return made

        self.patch(logging_in, "log_in", log_in)

    def log_in(self, *words: str) -> str:
        logging_in.login(parse(["login", f"--out={self.path}", *words]))
        return self.out.getvalue()

    def test_written(self) -> None:
        """All in one file for its owner alone, though somebody is logged in, and nothing anywhere else."""
        self.assertEqual(self.log_in(), f"The credentials have been written to {self.path}\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertFalse(self.folder.exists())
        saved(self.folder, login())
        self.log_in("--overwrite")
        self.assertEqual(self.asked, 2)

    def test_openssh(self) -> None:
        self.log_in("--format=openssh")
        certificate = self.path.with_name(f"{self.path.name}-cert.pub").read_text()
        self.assertIn("-cert-v01@openssh.com ", certificate)

    def test_in_the_way(self) -> None:
        """What is there stays, and nobody has typed a password for nothing."""
        self.path.write_text("mine")
        problem = self.assertRaises(AlreadyExists, self.log_in)
        self.assertEqual(
            problem.sentence, f"{self.path} exists already. Give --overwrite to replace it, or another --out."
        )
        self.assertEqual((self.path.read_text(), self.asked), ("mine", 0))


class ClusterTests(LoginCase):
    def test_meant(self) -> None:
        """A profile is one of those that a command line names, or is not."""
        found = login().profile
        for words, meant in (
            ((), True),
            ((f"--proxy={PROXY}", "--user=alice", f"--cluster={CLUSTER}"), True),
            ((f"--proxy={PROXY}:4080",), False),
            (("--user=bob",), False),
            (("--cluster=x",), False),
        ):
            self.assertIs(places.is_meant(parse(["status", *words]), found), meant, words)
