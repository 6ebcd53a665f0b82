"""Flags of all commands, in both places; and what of Teleport's is refused with a sentence."""

from __future__ import annotations

import io
import os
import sys
from argparse import Namespace

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import completion, login_wishes
from teleport_conch.cli.tsh.flags import UNBUILT
from teleport_conch.cli.tsh.line import tsh_parser
from teleport_conch.cli.tsh.main import parse
from teleport_conch.errors import BadParameter


class FlagsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def refusal(self, *words: str) -> str:
        """What is said of a command line that ends with exit code 2."""
        self.err.truncate(0)
        ended = self.assertRaises(SystemExit, parse, words)
        self.assertEqual(ended.code, 2)
        return self.err.getvalue().rpartition("error: ")[2].strip()


class GlobalTests(FlagsCase):
    def test_places(self) -> None:
        """Before a command and behind it; behind it counts more."""
        for line in ("--ttl=60 login", "login --ttl=60", "--ttl=5 login --ttl=1h", "--ttl=1h ls"):
            self.assertEqual(parse(line.split()).ttl, 3600.0, line)
        for line in ("-J a ssh web1", "ssh -J a web1", "scp --jumphost=a x web1:"):
            self.assertEqual(parse(line.split()).jumphost, "a", line)
        self.assertFalse(parse(["--no-enable-escape-sequences", "ssh", "web1"]).escapes)
        self.assertFalse(parse(["ssh", "--no-enable-escape-sequences", "web1"]).escapes)
        self.assertTrue(parse(["ssh", "web1"]).escapes)

    def test_commands_do_not_share(self) -> None:
        """``--user`` of one command is another flag there, and still the old one elsewhere."""
        found = parse(["--user=alice", "recordings", "ls", "--user=bob"])
        self.assertEqual((found.user, found.of), ("alice", "bob"))
        self.assertEqual(parse(["ls", "--user=bob"]).user, "bob")

    def test_no_meaning(self) -> None:
        """What changes nothing is taken."""
        parse(["--namespace=default", "--compat=standard", "--cert-format=standard", "--nocache", "ls"])

    def test_refused(self) -> None:
        roles = "roles decide who gets certificates for old programs: with cert_format: oldssh there"
        namespace = "argument --namespace: there is one namespace, 'default', and no 'other': leave it out"
        go = "--gops is for programs that are written in Go, and this one is not: leave it out."
        jump = (
            "--jumphost says where SSH reaches the proxy: it goes with ssh and scp, and this command takes the HTTPS"
            " port."
        )
        for words, sentence in (
            (("--cert-format=oldssh", "login"), f"argument --cert-format: {roles}"),
            (("login", "--compat=oldssh"), f"argument --compat: {roles}"),
            (("--cert-format=x", "ls"), "argument --cert-format: a format of certificates is standard, and not 'x'"),
            (("ls", "--namespace=other"), namespace),
            (("--gops", "ls"), go),
            (("ls", "--gops-addr=localhost:1"), go),
            (("-J", "a", "ls"), jump),
            (("clusters", "--jumphost=a"), jump),
            (("proxy", "ssh", "-J", "a", "web1"), jump),
        ):
            self.assertEqual(self.refusal(*words), sentence)

    def test_unbuilt(self) -> None:
        """Commands that are missing are known, whatever stands behind them, and no shell offers them."""
        for words in (
            ("join", "--cluster=x", "0b5c"),
            ("-d", "bench", "--threads=3", "root@web1", "ls"),
            ("show", "f"),
        ):
            name = words[1] if words[0] == "-d" else words[0]
            self.assertEqual(self.refusal(*words), f"'tsh {name}' is not built yet: {UNBUILT[name]}")
            self.assertNotIn("usage", self.err.getvalue())
        for script in (completion.bash(), completion.fish()):
            for word in ("bench", "kube", "gops"):
                self.assertNotIn(word, script)
        self.assertNotIn("bench", tsh_parser({}).format_help())


class LoginFlagsTests(FlagsCase):
    def login(self, *words: str, **environment: str) -> Namespace:
        return tsh_parser(environment).parse_args(["login", *words])

    def refused(self, *words: str, **environment: str) -> str:
        found = self.login(*words, **environment)
        return str(self.assertRaises(BadParameter, login_wishes.check, found).sentence)

    def test_connector(self) -> None:
        """There is one way to log in; another is refused, and never taken for it."""
        login_wishes.check(self.login("--auth=local"))
        login_wishes.check(self.login(TELEPORT_AUTH="local"))
        sentence = (
            "Logins by way of the connector 'github' are not built yet: there is password and code. Leave --auth and"
            " TELEPORT_AUTH out, or say: local."
        )
        self.assertEqual(self.refused("--auth=github"), sentence)
        self.assertEqual(self.refused(TELEPORT_AUTH="github"), sentence)
        login_wishes.check(self.login("--auth=local", TELEPORT_AUTH="github"))
        self.assertEqual(self.err.getvalue(), "")

    def test_bind_addr(self) -> None:
        for found in (self.login("--bind-addr=:1"), self.login(TELEPORT_LOGIN_BIND_ADDR=":1")):
            self.err.truncate(0)
            login_wishes.check(found)
            self.assertIn("Note: --bind-addr and TELEPORT_LOGIN_BIND_ADDR have no effect", self.err.getvalue())

    def test_agent(self) -> None:
        """The variable has Go's words for yes and no, and flags win."""
        for words, said, used in (
            ((), "", True),
            ((), "true", True),
            ((), "1", True),
            ((), "False", False),
            ((), "0", False),
            (("--use-local-ssh-agent",), "false", True),
            (("--no-use-local-ssh-agent",), "true", False),
            (("--no-use-local-ssh-agent",), "", False),
        ):
            found = self.login(*words, TELEPORT_USE_LOCAL_SSH_AGENT=said)
            self.assertIs(login_wishes.uses_agent(found), used, (words, said))
        self.assertEqual(
            self.refused(TELEPORT_USE_LOCAL_SSH_AGENT="maybe"),
            "TELEPORT_USE_LOCAL_SSH_AGENT is true or false, and not 'maybe'.",
        )

    def test_file(self) -> None:
        """What is about a file needs one; forms of it that are none are refused before anything is asked."""
        sentence = "--format and --overwrite are about the file of --out=FILE: give that as well."
        self.assertEqual(self.refused("--format=openssh"), sentence)
        self.assertEqual(self.refused("--overwrite"), sentence)
        for form, said in (
            ("kubernetes", "kubernetes is not built yet: nothing here leads to Kubernetes"),
            ("pem", "the format of an identity is file, openssh, tls, and not 'pem'"),
        ):
            self.assertEqual(self.refusal("login", "--out=x", f"--format={form}"), f"argument --format: {said}")
        self.assertEqual(
            self.refusal("login", "--browser=firefox"),
            "argument --browser: no browser is ever opened here, as there are no logins by one: leave it out",
        )

    def test_repeated(self) -> None:
        """A command that has to log in first asks for the same."""
        flags = ["--proxy=p:1,2", "--user=alice", "--cluster=c", "--ca-pin=sha256:0", "--auth=local", "--ttl=90s"]
        flags += ["--no-use-local-ssh-agent", "--insecure", "--skip-version-check"]
        self.patch(os, "environ", {})
        found = parse([*flags, "ls"])
        again = parse(["login", *login_wishes.repeated(found)])
        for name in ("proxy", "user", "cluster", "ca_pin", "auth", "ttl", "agent", "insecure", "skip_version_check"):
            self.assertEqual(getattr(again, name), getattr(found, name), name)
        self.assertEqual(login_wishes.repeated(tsh_parser({}).parse_args(["ls"])), [])
