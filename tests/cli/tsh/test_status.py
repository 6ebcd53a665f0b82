"""Who is logged in, as it is shown; and how that ends."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import login as logging_in
from teleport_conch.cli.tsh import logout, places, status
from teleport_conch.cli.tsh.main import parse
from teleport_conch.client.profiles import Home
from teleport_conch.client.web import ProxyFacts
from teleport_conch.errors import BadParameter
from teleport_conch.version import VERSION, is_older
from tests.cli.test_colour import Screen
from tests.cli.tsh.logins import PROXY, login, saved
from tests.client.certificates import CLUSTER


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(places, "home", lambda: Home(self.folder))

    def shown(self, *words: str) -> str:
        self.out.truncate(0)
        self.out.seek(0)
        status.status(parse(["status", *words]))
        return self.out.getvalue()

    def test_profiles(self) -> None:
        """The fields are Teleport's; the current profile has a mark, and an old one says that it has expired."""
        saved(self.folder, login("bob", "old.example.org", ttl_s=60.0), login())
        later = time.time() + 600.0
        self.patch(time, "time", lambda: later)
        first, second, end = self.shown().split("\n\n")
        lines = first.splitlines()
        self.assertEqual(lines[0], f"> Profile URL:  https://{PROXY}:3080")
        self.assertEqual(lines[1:5], self.rows("alice"))
        self.assertRegex(
            lines[5], r"^  Valid until:  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \[valid for (49m59s|50m1?s?)\]$"
        )
        self.assertRegex(lines[6], "^  Extensions:   permit-")
        self.assertTrue(second.startswith("  Profile URL:  https://old.example.org:3080"))
        self.assertIn("[EXPIRED]", second)
        self.assertEqual(end, "")

    def rows(self, user: str) -> list[str]:
        values = (("Logged in as:", user), ("Cluster:", CLUSTER), ("Roles:", "access"), ("Logins:", "root"))
        return [f"  {name:<13} {value}" for name, value in values]

    def test_requests(self) -> None:
        """The access requests that lent some of the roles are named."""
        saved(self.folder, login(requests=("r-1", "r-2")))
        self.assertIn("\n  Requests:     r-1, r-2\n", self.shown())
        (found,) = json.loads(self.shown("--format=json"))
        self.assertEqual(found["active_requests"], ["r-1", "r-2"])

    def test_no_roles(self) -> None:
        """A certificate for old programs names no roles, which is not to have none."""
        saved(self.folder, login(silent=True))
        self.assertIn("\n  Roles:        all of the user's (the certificate names none)\n", self.shown("-d"))
        self.assertNotIn("Traits:", self.out.getvalue())
        (found,) = json.loads(self.shown("--format=json"))
        self.assertIsNone(found["roles"])

    def test_traits(self) -> None:
        """They are shown with ``-d``."""
        saved(self.folder, login())
        self.assertIn("\n  Traits:       team=web, team=db\n", self.shown("-d"))
        self.assertNotIn("Traits:", self.shown())

    def test_named(self) -> None:
        """The logins that the flags name, and no others."""
        saved(self.folder, login("bob", "b.example.org"), login())
        for word, user in (("--proxy=b.example.org", "bob"), ("--user=alice", "alice")):
            self.assertEqual(self.shown(word).count("Logged in as:"), 1)
            self.assertIn(f"Logged in as: {user}\n", self.out.getvalue())
        self.assertEqual(self.shown(f"--cluster={CLUSTER}").count("Logged in as:"), 2)
        for words, sentence in (
            (("--proxy=zzz",), "Not logged in at zzz.\n"),
            ((f"--proxy={PROXY}:4080",), f"Not logged in at {PROXY}:4080.\n"),
            (("--user=carol", "--cluster=x"), "Not logged in as carol to x.\n"),
            (("--user=carol", "--format=json"), "[]\n"),
        ):
            ended = self.assertRaises(SystemExit, self.shown, *words)
            self.assertEqual((ended.code, self.out.getvalue()), (1, sentence))

    def test_colours(self) -> None:
        """Green, yellow where it ends within the hour, red where it has."""
        self.patch(sys, "stdout", Screen())
        self.patch(os, "environ", os.environ | {"TERM": "xterm", "NO_COLOR": ""})
        for left_s, said in (
            (4000.0, "\x1b[32m[valid for 1h6m]"),
            (3000.0, "\x1b[33m[valid for 50m"),
            (-1.0, "\x1b[31m[EXPIRED]"),
        ):
            self.assertIn(said, status.left(left_s))

    def test_nobody(self) -> None:
        ended = self.assertRaises(SystemExit, self.shown)
        self.assertEqual((ended.code, self.out.getvalue()), (1, "Not logged in.\n"))

    def test_json(self) -> None:
        saved(self.folder, login())
        (found,) = json.loads(self.shown("--format=json"))
        self.assertEqual((found["user"], found["logins"], found["expired"]), ("alice", ["root"], False))

    def test_logout(self) -> None:
        """One proxy where one is named, and otherwise all."""
        home = saved(self.folder, login("bob", "b.example.org"), login("carol", "c.example.org"), login())
        logout.logout(parse(["logout", "--proxy=b.example.org"]))
        self.assertEqual([each.user for each in home.profiles()], ["alice", "carol"])
        logout.logout(parse(["logout"]))
        self.assertEqual(list(home.profiles()), [])
        logout.logout(parse(["logout"]))
        self.assertEqual(
            self.out.getvalue(),
            "Logged out bob from b.example.org.\nLogged out all users from all proxies.\nNot logged in.\n",
        )

    def test_somebody_else(self) -> None:
        """A user who is not logged in is not taken for the one who is."""
        saved(self.folder, login())
        problem = self.assertRaises(BadParameter, logout.logout, parse(["logout", "--user=bob"]))
        self.assertEqual(
            problem.sentence,
            f"alice is logged in at {PROXY}, and not bob. Log in with: tsh login --proxy={PROXY} --user=bob",
        )
        there = login()
        saved(self.folder, evolve(there, profile=evolve(there.profile, web_proxy_addr=f"{PROXY}:4080")))
        problem = self.assertRaises(BadParameter, logout.logout, parse(["logout", "--user=bob"]))
        self.assertIn(f"tsh login --proxy={PROXY}:4080 --user=bob", problem.sentence)
        problem = self.assertRaises(BadParameter, logout.logout, parse(["logout", "--user=alice", "--cluster=x"]))
        self.assertEqual(problem.sentence, f"{PROXY} leads to {CLUSTER}, and to no cluster 'x'.")

    def test_another_cluster(self) -> None:
        """Who is logged in is not told so when asking for another cluster: that is a login, and is refused as one."""
        saved(self.folder, login())
        clusters: list[str] = []
        self.patch(logging_in, "log_in", lambda arguments, home: clusters.append(arguments.cluster))
        for words, asked in ((["x"], ["x"]), (["--cluster=x"], ["x"]), ([CLUSTER], []), ([], [])):
            clusters.clear()
            logging_in.login(parse(["login", *words]))
            self.assertEqual(clusters, asked)

    def test_too_old(self) -> None:
        """A cluster that wants a newer program says so before anybody types a password."""
        facts = ProxyFacts(CLUSTER, "otp", "", "", "", "9.0.0", "9.0.0")
        problem = self.assertRaises(BadParameter, logging_in._check_version, facts, parse(["login"]))
        self.assertEqual(
            problem.sentence,
            f"This tsh is of version {VERSION}, and the cluster {CLUSTER} wants 9.0.0 or newer. Install a newer one, or"
            " try it with --skip-version-check.",
        )
        logging_in._check_version(facts, parse(["login", "--skip-version-check"]))
        for least in ("", VERSION, "0.0.9", "soon", "9"):
            older = least == "9"
            self.assertEqual(is_older(VERSION, least), older, least)
