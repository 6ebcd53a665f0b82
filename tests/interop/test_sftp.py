"""Files by SFTP and by the ``scp`` of old, with the server of OpenSSH and with ours: the same tests for both."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import asyncssh
import paramiko  # type: ignore[import-untyped]  # it has no types

from teleport_conch.ssh.sftp.program import OPENSSH_SERVERS
from tests.interop import without_openssh
from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster, at
from tests.interop.person import Person
from tests.interop.programs import DEADLINE_S, Done, check, eventually, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST

BIG_BYTES = 20_000_000
SMALL_FILES = 300


@cache
def cluster() -> Cluster:
    """With a node that serves SFTP by each of the two."""
    found = Cluster(heartbeat="5s").start("theirs")
    found.node("ours", settings={"sftp_program": "own"}).start()
    found.know("theirs", "ours")
    return found


@cache
def alone() -> None:
    """A further node, as on a host without OpenSSH's server."""
    node = cluster().node("alone")
    node.line = shlex.join([sys.executable, without_openssh.__file__, "--log-format=text", node.plugin])
    node.start()
    cluster().know("alone")


@cache
def alice() -> Person:
    return cluster().person("alice")


class OurServerTests(InteropTests):
    """On a node with ``sftp_program: own``."""

    node = "ours"

    def setUp(self) -> None:
        self.here, self.there = (Path(self.mktemp()).absolute() for _ in range(2))
        self.here.mkdir()
        self.there.mkdir()

    def make(self, folder: Path, name: str, size: int) -> bytes:
        data = os.urandom(size)
        (folder / name).write_bytes(data)
        return data

    def batch(self, *commands: str) -> Done:
        sftp = require("sftp", "openssh-client")
        lines = "".join(f"{command}\n" for command in commands).encode()
        return run(sftp, "-q", "-F", str(alice().jump_config), "-b", "-", self.node, stdin=lines)

    def scp(self, *words: str) -> None:
        check(run(require("scp", "openssh-client"), "-q", "-F", str(alice().jump_config), *words))

    # OpenSSH's client.

    def test_transfers(self) -> None:
        """There and back whole; a transfer that was cut off goes on where it was."""
        sent = self.make(self.here, "big", BIG_BYTES)
        check(self.batch(f"put {self.here}/big {self.there}/big", f"get {self.there}/big {self.here}/back"))
        self.assertEqual((self.there / "big").read_bytes(), sent)
        self.assertEqual((self.here / "back").read_bytes(), sent)
        for path in (self.there / "big", self.here / "back"):
            os.truncate(path, BIG_BYTES // 3)
        check(self.batch(f"reput {self.here}/big {self.there}/big", f"reget {self.there}/big {self.here}/back"))
        self.assertEqual((self.there / "big").read_bytes(), sent)
        self.assertEqual((self.here / "back").read_bytes(), sent)

    def test_everything_else(self) -> None:
        """Folders, names, modes, links, copies, space: each command of the client's once."""
        self.make(self.here, "file", 1000)
        done = check(
            self.batch(
                f"cd {self.there}",
                f"put -p {self.here}/file one",
                "mkdir sub",
                "rename one sub/two",
                "chmod 640 sub/two",
                "ln -s sub/two soft",
                "ln sub/two hard",
                "ls -la",
                "df",
                "pwd",
                "rm hard",
                "cd sub",
                "get -p two " + str(self.here / "back"),
            )
        )
        self.assertIn(f"Remote working directory: {self.there}", done.text)
        self.assertEqual(os.readlink(self.there / "soft"), "sub/two")
        self.assertEqual(stat.S_IMODE((self.there / "sub" / "two").stat().st_mode), 0o640)
        self.assertEqual((self.here / "back").read_bytes(), (self.here / "file").read_bytes())
        self.assertEqual(sorted(os.listdir(self.there)), ["soft", "sub"])

    def test_failures(self) -> None:
        """What cannot be done ends a batch with an error, and a sentence."""
        for command, complaint in (
            ("get /no/such/file", "not found"),
            ("mkdir /proc/none", "remote mkdir"),
            ("rename /no/such/file /tmp/x", "No such file"),
            ("rmdir /etc", "Failure"),
            (f"put /etc/hostname {self.there}/no/such", "No such file or directory"),
        ):
            done = self.batch(command)
            self.assertEqual(done.code, 1, done)
            self.assertIn(complaint, done.complaint + done.text)

    def test_many_files(self) -> None:
        """A folder of small ones, by ``scp -r``, each with its time and mode."""
        (self.here / "many").mkdir()
        for number in range(SMALL_FILES):
            self.make(self.here / "many", f"file {number}", number)
            os.utime(self.here / "many" / f"file {number}", (10**9, 10**9 + number))
        self.scp("-r", "-p", str(self.here / "many"), f"{self.node}:{self.there}/")
        self.scp("-r", "-p", f"{self.node}:{self.there}/many", str(self.here / "back"))
        for number in range(SMALL_FILES):
            sent, back = self.here / "many" / f"file {number}", self.here / "back" / f"file {number}"
            self.assertEqual(back.read_bytes(), sent.read_bytes())
            self.assertEqual(back.stat().st_mtime, 10**9 + number)

    def test_scp_of_old(self) -> None:
        """``scp -O``, both ways: a program of the host, started like any command."""
        name = "a 'file' with $(touch pwned)"
        sent = self.make(self.here, name, BIG_BYTES)
        (self.here / "sub").mkdir()
        self.make(self.here / "sub", "other", 10)
        (self.here / name).chmod(0o750)
        self.scp("-O", "-p", "-r", str(self.here), f"{self.node}:{self.there}/copy")
        self.assertEqual((self.there / "copy" / name).read_bytes(), sent)
        self.assertEqual((self.there / "copy" / name).stat().st_mode & 0o777, 0o750)
        self.scp("-O", "-p", "-r", f"{self.node}:{self.there}/copy", str(self.here / "back"))
        self.assertEqual((self.here / "back" / name).read_bytes(), sent)
        self.assertTrue((self.here / "back" / "sub" / "other").exists())
        command = cluster().event("exec", lambda event: f"{self.there}/copy" in str(event["command"]), "scp")["command"]
        self.assertTrue(str(command).startswith("scp "), command)

    # Other clients.

    def test_paramiko(self) -> None:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507  # loopback
        key = paramiko.ECDSAKey.from_private_key_file(str(alice().key))
        key.load_certificate(str(alice().certificate))
        port = cluster().nodes[self.node].port
        client.connect(LOCALHOST, port, LOGIN, pkey=key, timeout=DEADLINE_S, allow_agent=False, look_for_keys=False)
        self.addCleanup(client.close)
        sftp = client.open_sftp()
        sent = self.make(self.here, "file", BIG_BYTES)
        sftp.put(str(self.here / "file"), str(self.there / "file"))
        sftp.get(str(self.there / "file"), str(self.here / "back"))
        self.assertEqual((self.here / "back").read_bytes(), sent)
        sftp.posix_rename(str(self.there / "file"), str(self.there / "moved"))
        sftp.truncate(str(self.there / "moved"), 5)
        with sftp.open(str(self.there / "moved"), "a") as file:
            file.write("more")
        self.assertEqual((self.there / "moved").read_bytes(), sent[:5] + b"more")
        for number in range(250):
            (self.there / str(number)).touch()
        self.assertEqual(len(sftp.listdir_attr(str(self.there))), 251)
        with self.assertRaises(FileNotFoundError):
            sftp.stat(str(self.there / "none"))

    def test_asyncssh(self) -> None:
        async def talk() -> None:
            async with (
                asyncssh.connect(
                    LOCALHOST,
                    cluster().nodes[self.node].port,
                    config=None,
                    username=LOGIN,
                    client_keys=[(str(alice().key), str(alice().certificate))],
                    known_hosts=str(alice().known_hosts),
                    agent_path=None,
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                sent = self.make(self.here, "file", BIG_BYTES)
                await sftp.put(str(self.here / "file"), str(self.there / "file"), preserve=True)
                await sftp.get(str(self.there / "file"), str(self.here / "back"))
                self.assertEqual((self.here / "back").read_bytes(), sent)
                await sftp.remote_copy(str(self.there / "file"), str(self.there / "copied"))
                self.assertEqual((self.there / "copied").read_bytes(), sent)
                self.assertGreater((await sftp.statvfs(str(self.there))).blocks, 0)
                self.assertEqual(await sftp.realpath(str(self.there / ".")), str(self.there))
                await sftp.rmtree(str(self.there))
                self.assertFalse(await sftp.exists(str(self.there)))

        asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))

    def test_sshfs(self) -> None:
        """A folder of the node as one of the client's."""
        sshfs, unmount = require("sshfs", "sshfs"), require("fusermount", "fuse")
        words = [sshfs, "-F", str(alice().jump_config), f"{self.node}:{self.there}", str(self.here)]
        mounted = subprocess.run(words, capture_output=True, check=False, timeout=DEADLINE_S)
        if b"fuse" in mounted.stderr:
            self.skipTest(f"no file system can be mounted here: {mounted.stderr.decode()}")
        self.assertEqual(mounted.returncode, 0, mounted.stderr)
        self.addCleanup(subprocess.run, [unmount, "-u", str(self.here)], check=True)
        (self.here / "sub").mkdir()
        sent = self.make(self.here / "sub", "file", BIG_BYTES)
        os.rename(self.here / "sub" / "file", self.here / "moved")
        self.assertEqual((self.there / "moved").read_bytes(), sent)
        self.assertEqual((self.here / "moved").read_bytes(), sent)

    # What the log says.

    def test_events(self) -> None:
        """What went, which way, how much; and what was tried."""
        self.make(self.here, "file", 70_000)
        folder = str(self.there)
        check(self.batch(f"put {self.here}/file {folder}/up", f"get {folder}/up {self.here}/down", f"rm {folder}/up"))
        self.assertEqual(self.batch(f"rmdir {folder}/none").code, 1)

        def told() -> list[tuple[object, ...]]:
            found = [event for event in cluster().events("sftp") if str(event["path"]).startswith(folder)]
            return [tuple(event.get(key) for key in ("action", "success", "tx", "rx")) for event in found]

        expected = [
            ("upload", True, 0, 70_000),
            ("download", True, 70_000, 0),
            ("remove", True, None, None),
            ("rmdir", False, None, None),
        ]
        eventually(lambda: len(told()) >= len(expected), "all operations are told")
        self.assertEqual(sorted(told(), key=str), sorted(expected, key=str))
        last = cluster().events("sftp")[-1]
        self.assertEqual((last["user"], last["login"], last["server_hostname"]), ("alice", LOGIN, self.node))
        self.assertIsNone(at(last, "trace"))


class OpenSSHServerTests(OurServerTests):
    """On a node that finds OpenSSH's ``sftp-server``."""

    node = "theirs"

    def setUp(self) -> None:
        require(next(filter(os.path.exists, OPENSSH_SERVERS), OPENSSH_SERVERS[0]), "openssh-sftp-server")
        super().setUp()


class AutomaticTests(OurServerTests):
    """On a node that finds none, and says nothing of SFTP in its configuration."""

    node = "alone"

    def setUp(self) -> None:
        alone()
        super().setUp()

    def test_which(self) -> None:
        """It is ours that serves: its first answer is another than OpenSSH's."""
        begin = b"\0\0\0\5\1\0\0\0\3"
        answers = {node: alice().ssh("-s", node, "sftp", stdin=begin).out for node in ("ours", "theirs", self.node)}
        self.assertEqual(answers[self.node], answers["ours"])
        self.assertNotEqual(answers[self.node], answers["theirs"])
