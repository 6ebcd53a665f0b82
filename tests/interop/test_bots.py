"""``tsh bot`` on a cluster of three processes: a robot that works across renewals, and one that was copied."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tests.interop.case import InteropTests
from tests.interop.cluster import CLUSTER_NAME, LOGIN, Cluster
from tests.interop.programs import Done, check, environment, eventually, installed, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, temporary_folder, with_us, write_private

ROLE = """\
kind: role
version: v3
metadata: {{name: {name}}}
spec:
  options: {{max_session_ttl: {ttl}}}
  allow: {{logins: ['{{{{internal.logins}}}}'], node_labels: {{'*': '*'}}}}
"""


@cache
def cluster() -> Cluster:
    """Robots of the role ``brief`` have certificates of less than a minute."""
    made = Cluster(heartbeat="5s").start("web1", "web2")
    for name, ttl in (("brief", "40s"), ("hour", "1h")):
        file = made.folder / f"{name}.yaml"
        file.write_text(ROLE.format(name=name, ttl=ttl))
        made.tctl("create", str(file))
    return made


class BotCase(InteropTests):
    def setUp(self) -> None:
        self.cluster = cluster()
        self.folder = temporary_folder()

    def added(self, name: str, role: str = "hour") -> None:
        """A new robot, whose token is in a file."""
        made = self.cluster.tctl("bots", "add", name, f"--roles={role}", f"--logins={LOGIN}", "--format=json").text
        write_private(self.folder / "token", made.partition('"token": "')[2].partition('"')[0])

    def words(self, out: str = "out") -> tuple[str, ...]:
        proxy = f"--proxy={LOCALHOST}:{self.cluster.web_port}"
        token = f"--token-file={self.folder / 'token'}"
        return ("bot", proxy, token, f"--ca-pin={self.cluster.pin()}", f"--out={self.folder / out}")

    def bot(self, *words: str, out: str = "out", code: int = 0) -> str:
        """Runs ``tsh bot --once``, and answers what it says."""
        return check(run(installed("tsh"), *self.words(out), "--once", *words, env=environment()), code).complaint

    def ssh(self, *words: str, out: str = "out") -> Done:
        config = str(self.folder / out / "ssh_config")
        return run(require("ssh", "openssh-client"), "-F", config, "-l", LOGIN, *words, env=environment())

    def generation(self) -> int:
        path = self.folder / "out" / "current"
        return int(os.readlink(path)) if path.is_symlink() else 0

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """``tsh bot`` beside the test."""
        words = [*with_us(), installed("tsh"), *self.words()]
        with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()


class OnceTests(BotCase):
    def test_joins_and_reaches_nodes(self) -> None:
        """By a token that is good once; afterwards it needs none, and has nothing to do for half an hour."""
        self.added("once")
        self.assertIn("bot-once has certificates of generation 1.", self.bot())
        self.assertEqual(self.ssh(f"web1.{CLUSTER_NAME}", "echo there").text, "there\n")
        self.assertEqual(self.bot(), "")
        self.assertEqual(self.generation(), 1)
        self.assertIn("error: ", self.bot(out="other", code=1))

    def test_files(self) -> None:
        """All of them are for the account that runs it alone, and no half-written one is left."""
        self.added("files")
        self.bot()
        for path in (self.folder / "out").rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(mode & 0o077, 0, path)
            self.assertFalse(path.name.endswith(f".{os.getpid()}"))

    def test_no_token(self) -> None:
        write_private(self.folder / "token", "a-token-that-nobody-has-made")
        self.assertIn("error: ", self.bot(code=1))
        self.assertFalse((self.folder / "out" / "ssh_config").exists())

    def test_tsh_as_a_robot(self) -> None:
        """The folder of a generation is one for ``tsh``, too."""
        self.added("lister", "access")
        self.bot()
        env = environment(TELEPORT_HOME=str(self.folder / "out" / "current"))
        self.assertEqual(check(run(installed("tsh"), "ls", "-f", "names", env=env)).text, "web1\nweb2\n")

    def test_two_at_once(self) -> None:
        """A second one in the same folder is told so, and does not look like a copy."""
        self.added("twice")
        with self.running():
            eventually(self.generation, "it has joined")
            self.assertIn("error: Another 'tsh bot' keeps the certificates", self.bot(code=1))


class AnsibleTests(BotCase):
    def test_across_three_renewals(self) -> None:
        """Ansible goes on with the same file while the certificates that it names are renewed again and again."""
        self.added("ansible", "brief")
        with self.running():
            eventually(self.generation, "it has joined")
            seen = set[int]()
            while len(seen) < 4:
                seen.add(self.generation())
                self.play()
        self.assertGreaterEqual(max(seen), 4)

    def play(self) -> None:
        program, here = require("ansible", "ansible-core"), self.folder
        (here / "hosts").write_text("".join(f"{name}.{CLUSTER_NAME}\n" for name in ("web1", "web2")))
        (here / "ansible.cfg").touch()
        env = environment(
            ANSIBLE_CONFIG=str(here / "ansible.cfg"),
            ANSIBLE_HOME=str(here),
            ANSIBLE_SSH_ARGS=f"-F {here / 'out' / 'ssh_config'}",
            ANSIBLE_PYTHON_INTERPRETER="/usr/bin/python3",
            LC_ALL="C.UTF-8",
        )
        words = (program, "all", "-i", str(here / "hosts"), "-u", LOGIN, "-m", "command", "-a", "echo by a robot")
        self.assertEqual(check(run(*words, env=env)).text.count("by a robot"), 2)


class CopiedTests(BotCase):
    def test_copy(self) -> None:
        """Who renews what was renewed before is a copy: nobody goes on with this identity, and an event says so."""
        self.added("stolen", "brief")
        self.bot()
        shutil.copytree(self.folder / "out", self.folder / "copy", symlinks=True)
        eventually(lambda: "generation 2" in self.bot(), "the robot renews")
        said = self.late_copy()
        self.assertIn("error: ", said)
        self.assertNotIn("ended before they were renewed", said)
        done = self.ssh(f"web1.{CLUSTER_NAME}", "true")
        self.assertNotEqual(done.code, 0)
        self.assertIn("stolen", self.cluster.tctl("get", "locks", "--format=json").text)

    def late_copy(self) -> str:
        """What the copy is told when it renews, which it does at about the same time."""

        def refused() -> Done | None:
            done = run(installed("tsh"), *self.words("copy"), "--once", env=environment())
            return done if done.code else None

        done = eventually(refused, "the copy renews, too")
        assert done is not None
        return done.complaint
