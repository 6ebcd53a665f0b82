"""People and permission while a cluster of three processes lives: certificates that end, roles that change, locks."""

from __future__ import annotations

import re
from functools import cache

from tests.interop.case import InteropTests
from tests.interop.cluster import CLUSTER_NAME, LOGIN, Cluster
from tests.interop.programs import Done, eventually, installed, run
from tests.interop.requirements import require
from tests.interop.terminals import Terminal
from tests.interop.tsh import Tsher, invited, reference_in

LABELS = {"web1": {"env": "prod"}, "web2": {"env": "test"}}
ROLE = """\
kind: role
version: v3
metadata: {{name: {name}}}
spec:
  options: {{max_session_ttl: {ttl}, max_sessions: {sessions}}}
  allow:
    logins: ['{{{{internal.logins}}}}']
    node_labels: {{env: {envs}}}
    rules: [{{resources: [node], verbs: [list, read]}}]
"""
MESSAGE = "call the desk"


@cache
def cluster() -> Cluster:
    return Cluster(heartbeat="1s").start("web1", "web2", labels=LABELS)


class PermissionCase(InteropTests):
    def setUp(self) -> None:
        self.cluster = cluster()

    def role(self, name: str, envs: str = "[prod, test]", ttl: str = "1h", sessions: str = "0") -> None:
        """Makes a role, or puts it in the place of the one that there is."""
        file = self.cluster.folder / f"{name}.yaml"
        file.write_text(ROLE.format(name=name, envs=envs, ttl=ttl, sessions=sessions))
        self.cluster.tctl("create", "-f", str(file))

    def logged_in(self, name: str, **options: str) -> Tsher:
        """Somebody with a role of their own, who is logged in."""
        self.role(f"{name}-role", **options)
        who = invited(self.cluster, name, roles=f"{name}-role")
        who.log_in_pinned()
        return who

    def tries(self, who: Tsher, node: str) -> Done:
        return run(installed("tsh"), "ssh", node, "echo in", env=who.environment())


class ExpiredTests(PermissionCase):
    def expired(self, name: str) -> Tsher:
        """Somebody whose certificate has ended, and whose next one lasts for an hour."""
        who = self.logged_in(name, ttl="2s")
        eventually(lambda: "[EXPIRED]" in who.tsh("status").text, "the certificate has ended")
        self.role(f"{name}-role")
        return who

    def test_on_a_terminal(self) -> None:
        """Who is at a terminal is asked, and goes on with what was asked for."""
        who = self.expired("erna")
        with who.on_terminal("ssh", "web1", "echo in again") as terminal:
            who.answer(terminal)
            terminal.read_until(b"in again")
            self.assertEqual(terminal.ended(), 0)

    def test_as_proxy_command(self) -> None:
        """So is who types ``ssh``, whose input and output ``tsh proxy ssh`` has."""
        who = self.expired("fritz")
        config = self.cluster.folder / "fritz.ssh_config"
        config.write_text(who.tsh("config").text)
        words = (require("ssh", "openssh-client"), "-F", str(config), f"{LOGIN}@web1.{CLUSTER_NAME}", "echo in again")
        with Terminal(*words, env=who.environment()) as terminal:
            who.answer(terminal)
            terminal.read_until(b"in again")
            self.assertEqual(terminal.ended(), 0)

    def test_without_a_terminal(self) -> None:
        """A program hears what to do."""
        who = self.expired("gerda")
        self.assertIn("Run: tsh login", who.tsh("ls", code=1).complaint)


class RoleTests(PermissionCase):
    def test_denied_and_allowed(self) -> None:
        """What no role allows is refused with a reference, which finds the reasons; a changed role is obeyed."""
        who = self.logged_in("hugo", envs="[prod]")
        self.assertEqual(who.tsh("ls", "-f", "names").text, "web1\n")
        self.assertEqual(self.tries(who, "web1").text, "in\n")
        refused = self.tries(who, "web2")
        self.assertNotEqual(refused.code, 0)
        found = self.cluster.tctl("why", "--ref", reference_in(refused.complaint)).text
        self.assertIn("hugo-role", found)
        self.assertIn("env", found)
        self.role("hugo-role")
        eventually(lambda: self.tries(who, "web2").text == "in\n", "the changed role is obeyed")
        self.role("hugo-role", envs="[test]")
        eventually(lambda: self.tries(who, "web1").code != 0, "what it does not allow any more is refused")

    def test_too_many_sessions(self) -> None:
        """Who has as many sessions as roles allow reads so, with a reference that finds whose option it is."""
        who = self.logged_in("karl", sessions="1")
        config, control = self.cluster.folder / "karl.ssh_config", self.cluster.folder / "karl.control"
        config.write_text(who.tsh("config").text)
        ssh = (require("ssh", "openssh-client"), "-F", str(config), f"-oControlPath={control}")
        host = f"{LOGIN}@web1.{CLUSTER_NAME}"
        with Terminal(*ssh, "-M", host, "echo first; cat", env=who.environment()) as first:
            first.read_until(b"first")
            run(*ssh, "-oProxyCommand=false", host, "echo second", env=who.environment())
            said = first.read_until(b")").decode()
            self.assertIn("too many session channels: max_sessions is 1 (reference ", said)
            found = self.cluster.tctl("why", "--ref", reference_in(said)).text
            self.assertIn("to allow it: close one, or raise max_sessions of karl-role", found)
            first.type("\x04")
            self.assertEqual(first.ended(), 0)


class LockTests(PermissionCase):
    def test_live_session(self) -> None:
        """A lock cuts what runs, says why, and lets nobody in again until it is gone."""
        who = self.logged_in("inga")
        with who.on_terminal("ssh", "web1", "echo here; cat") as terminal:
            terminal.read_until(b"here")
            self.cluster.tctl("lock", "--user=inga", f"--message={MESSAGE}", "--ttl=1h")
            terminal.read_until(MESSAGE.encode())
            self.assertNotEqual(terminal.ended(), 0)
        refused = self.tries(who, "web1")
        self.assertNotEqual(refused.code, 0)
        self.assertIn(MESSAGE, refused.complaint)


class OutageTests(PermissionCase):
    def test_auth_in_between(self) -> None:
        """Auth stops and starts: no session notices, and holders of certificates come in meanwhile."""
        who = self.logged_in("jule")
        with who.on_terminal("ssh", "-tt", "web1", "cat") as terminal:
            self.says(terminal, "before")
            self.cluster.auth.stop()
            self.says(terminal, "meanwhile")
            self.assertEqual(self.tries(who, "web1").text, "in\n")
            self.cluster.auth.start()
            self.says(terminal, "afterwards")
        eventually(lambda: self.lists(who), "auth answers again")

    def lists(self, who: Tsher) -> bool:
        done = run(installed("tsh"), "ls", "-f", "names", env=who.environment())
        return bool(re.search("^web1$", done.text, re.MULTILINE))

    def says(self, terminal: Terminal, text: str) -> None:
        """Types a line, and reads it twice: as the terminal shows it, and as ``cat`` does."""
        terminal.type(f"{text}\r")
        for _ in range(2):
            terminal.read_until(text.encode())
