"""``teleport demo``: what a newcomer does first, and the lines that it prints."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL

from tests.interop.accounts import guest_account, is_root
from tests.interop.case import InteropTests
from tests.interop.failing import Failed
from tests.interop.programs import DEADLINE_S, Done, check, environment, eventually, installed, run
from tests.interop.requirements import require
from tests.interop.services import with_us
from tests.interop.web import ask

#: What Ctrl-C ends a program with.
INTERRUPTED = (0, 130)


class Demo:
    """``teleport demo --dir .demo`` in a folder.

    :param before: words in front of each command: what makes it another account's, or that of another network.
    """

    def __init__(self, folder: Path, before: Sequence[str] = ()) -> None:
        self.folder = folder
        self.before = tuple(before)
        self.output = folder / "output.txt"
        self.environment = environment(HOME=str(folder))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts it, and answers what it says when it is up."""
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [*with_us(), *self.before, installed("teleport"), "demo", "--dir", ".demo"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )
        eventually(self._up, f"the demo is up in {self.folder}")
        return self.output.read_text()

    def _up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Failed(f"The demo ended with {self._process.returncode}:\n{self.output.read_text()}")
        return "Ctrl-C stops the cluster" in self.output.read_text()

    def interrupt(self) -> int:
        """Ctrl-C, which a terminal sends to the whole group."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(DEADLINE_S)
        self._process = None
        return code

    def end(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def run(self, line: str, stdin: bytes = b"") -> Done:
        """A line that was printed, in another terminal."""
        return run(*self.before, *shlex.split(line), stdin=stdin, cwd=self.folder, env=self.environment)


class DemoTests(InteropTests):
    """Each in a folder of its own, and one after the other, as all of them want the standard ports."""

    def setUp(self) -> None:
        lock = (Path(tempfile.gettempdir()) / f"teleport-conch-demo-{os.geteuid()}.lock").open("w")
        self.addCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)

    def demo(self, before: Sequence[str] = (), owner: tuple[int, int] | None = None) -> Demo:
        folder = Path(tempfile.mkdtemp(prefix="teleport-conch-demo-"))
        if owner is not None:
            os.chown(folder, *owner)
        demo = Demo(folder, before)
        self.addCleanup(run, "rm", "-rf", str(folder))
        self.addCleanup(demo.end)
        return demo

    def lines(self, said: str) -> list[str]:
        """The lines to try, as printed."""
        return re.findall(r"^    (\S.*)$", said, re.MULTILINE)

    def check_demo(self, demo: Demo) -> str:
        """Starts it, tries its lines, and stops it."""
        said = demo.start()
        self.assertIn("Sessions with a terminal are recorded", said)
        first, *others = self.lines(said)
        self.assertRegex(first, r"^ssh -F \.demo/ssh_config \S+$")
        done = demo.run(f"{first} id -u; exit 3")
        uid = check(run(*demo.before, "id", "-u")).text
        self.assertEqual((done.text, done.complaint, done.code), (uid, "", 3))
        self.assertEqual(demo.run(first, stdin=b"echo by stdin\n").text, "by stdin\n")
        for line in others:
            if line.startswith("sftp "):
                check(demo.run(line.replace("sftp ", "sftp -b - ", 1), stdin=b"ls /\n"))
            elif line.startswith(("scp ", "tctl ")) and "nodes add" not in line:
                check(demo.run(line.replace("/tmp/demo-hosts", f"{demo.folder}/hosts")))
        if not demo.before:  # in another network, or as another account, it is asked by nobody
            self.check_pages(said)
        self.assertEqual((demo.folder / "hosts").read_bytes(), Path("/etc/hosts").read_bytes())
        self.assert_stops(demo)
        return said

    def check_pages(self, said: str) -> None:
        """The page that is named is there; the first start has a link, the next ones how to get another."""
        found = re.search(r"^    https://[^:]+:(\d+)(/web\S*)$", said, re.MULTILINE)
        assert found is not None, said
        page = ask(int(found[1]), found[2])
        if found[2] == "/web":
            self.assertEqual((page.status, page.headers["Location"]), (303, "/web/login"))
        else:
            self.assertIn(b"Set up your account", page.body)

    def assert_stops(self, demo: Demo) -> None:
        self.assertIn(demo.interrupt(), INTERRUPTED)
        said = demo.output.read_text()
        self.assertIn("Stopped.", said)
        self.assertNotIn("Traceback", said + (demo.folder / ".demo" / "teleport.log").read_text())

    def test_first_and_second_start(self) -> None:
        """The printed lines work, Ctrl-C stops it cleanly, and the second start finds the state of the first."""
        demo = self.demo()
        self.check_demo(demo)
        status = f"{installed('tctl')} -c .demo/teleport.yaml"
        known_hosts = (demo.folder / ".demo" / "known_hosts").read_text()
        said = demo.start()
        self.assertEqual((demo.folder / ".demo" / "known_hosts").read_text(), known_hosts)
        nodes = check(demo.run(f"{status} nodes ls")).text.splitlines()
        self.assertEqual(len(nodes), 3, nodes)  # head, dashes, and the node of the first start
        self.assertEqual(demo.run(f"{self.lines(said)[0]} echo again").text, "again\n")
        self.assert_stops(demo)

    def test_second_node(self) -> None:
        """The lines for a second node add one."""
        demo = self.demo()
        lines = self.lines(demo.start())
        (add,) = (line for line in lines if "nodes add" in line)
        (start,) = (line for line in lines if " start " in line)
        ssh = lines[lines.index(start) + 1]
        token = re.search(r"token: (\S+)", check(demo.run(add)).text)
        assert token is not None
        words = [*with_us(), *shlex.split(start.replace("TOKEN", token[1]))]
        with subprocess.Popen(words, cwd=demo.folder, env=demo.environment, stdout=DEVNULL, stderr=DEVNULL) as second:
            self.addCleanup(second.wait)
            self.addCleanup(second.kill)
            eventually(lambda: demo.run(f"{ssh} echo second").text == "second\n", "the second node is reached")
            second.kill()
        self.assert_stops(demo)

    def test_two_at_once(self) -> None:
        """The standard ports are taken by the first, and a second one in the same folder is refused."""
        first, second = self.demo(), self.demo()
        first.start()
        other = second.start()
        self.assertEqual(second.run(f"{self.lines(other)[0]} echo both").text, "both\n")
        again = run(installed("teleport"), "demo", "--dir", ".demo", cwd=first.folder)
        self.assertEqual(again.code, 1)
        self.assertIn("Another demo", again.complaint)
        self.assert_stops(first)
        self.assert_stops(second)

    def test_as_another_account(self) -> None:
        """Whoever is not root serves their own account."""
        if not is_root():
            raise unittest.SkipTest("test_first_and_second_start ran as an account that is not root")
        account = guest_account()
        setpriv = require("setpriv", "util-linux")
        before = (setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups")
        if run(*before, installed("teleport"), "version").code != 0:
            raise unittest.SkipTest(f"{installed('teleport')} cannot be run by other accounts than root")
        self.check_demo(self.demo(before, (account.pw_uid, account.pw_gid)))

    def test_without_ipv4(self) -> None:
        """On a machine that has ``::1`` only."""
        if not is_root():
            raise unittest.SkipTest("a network without IPv4 is made by root")
        unshare, ip = require("unshare", "util-linux"), require("ip", "iproute2")
        if run(unshare, "--net", ip, "link", "set", "lo", "up").code != 0:
            raise unittest.SkipTest("this machine lets nobody make a network of its own")
        # The namespace lives as long as the process in it; the others enter it by its number.
        holder = subprocess.Popen([*with_us(), unshare, "--net", "sleep", "600"], env=environment())
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        before = (require("nsenter", "util-linux"), f"--net=/proc/{holder.pid}/ns/net")
        own = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, "there is another network")
        check(run(*before, ip, "link", "set", "lo", "up"))
        check(run(*before, ip, "-4", "address", "flush", "dev", "lo"))
        said = self.check_demo(self.demo(before))
        self.assertIn("[::1]:3023", said)
