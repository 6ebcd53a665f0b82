"""What tctl does on an auth host whose service does not run, and beside one that runs."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.commands import backup, passphrases
from teleport_conch.cli.connecting import as_owner
from teleport_conch.cli.connection import Local
from teleport_conch.config.loading import load
from teleport_conch.errors import AlreadyExists, BadParameter, ConnectionProblem, StartError, StorageError, UnsafePath
from teleport_conch.resources.server import Server
from tests.cli.auth_host import CLUSTER, AuthHost, AuthHostTestCase, the_reactor

NOTE = "note: the auth service does not run on this host; its storage is used instead\n"
PASSPHRASE = "correct horse battery staple"


class StoppedTests(AuthHostTestCase):
    async def test_status_and_export(self) -> None:
        """The same answers as from the service, and a note on stderr, where no redirection takes it."""
        await self.host.join(Server("node", str(uuid4()), "web1", "10.0.0.5:3022"))
        commands = (("status",), ("auth", "export"), ("auth", "export", "--type=tls"))
        running = [await self.tctl(*words) for words in commands]
        self.assertEqual(self.err.getvalue(), "")
        await self.host.stop()
        self.assertEqual([await self.tctl(*words) for words in commands], running)
        self.assertEqual(self.err.getvalue(), NOTE * 3)

    async def test_sign(self) -> None:
        """Certificates are signed, and the event of it is in the log when the service runs again."""
        await self.host.stop()
        out = Path(self.mktemp()).absolute()
        await self.tctl("auth", "sign", "--user=alice", "--logins=root", f"--out={out}")
        self.assertIn("PRIVATE KEY", out.read_text())
        await self.host.start()
        (event,) = json.loads(await self.tctl("events", "ls", "--type=cert.create", form="json"))
        self.assertEqual((event["name"], event["server_hostname"]), ("alice", "auth1"))

    async def test_others_need_the_service(self) -> None:
        """What changes state, or asks who is there, waits for the service."""
        await self.host.stop()
        for words in (("nodes", "ls"), ("nodes", "add"), ("tokens", "ls"), ("get", "nodes"), ("events", "ls")):
            with self.assertRaises(ConnectionProblem):
                await self.tctl(*words)

    async def test_somebody_has_the_storage(self) -> None:
        """A service that has the storage and does not answer is not worked around: the first cause is shown."""
        other = AuthHost(self.host.folder, 1)
        other.write()
        with self.assertRaisesRegex(ConnectionProblem, f'auth server running on "127.0.0.1:{other.port}"'):
            await other.tctl("status")


class NeverStartedTests(AuthHostTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.fresh = AuthHost(Path(self.mktemp()).absolute(), 1)
        self.fresh.write()

    async def test_no_cluster(self) -> None:
        """There is nothing to show before the first start, and nothing is made."""
        with self.assertRaisesRegex(StartError, "There is no cluster on this host, .* the first start of the auth"):
            await self.fresh.tctl("status")
        self.assertFalse((self.fresh.folder / "data").exists())

    async def test_no_identity(self) -> None:
        """Other commands say where the identity would be, and what leaves it there."""
        where = self.fresh.folder / "data" / "identities" / "admin.json"
        with self.assertRaisesRegex(
            StartError, f"There is no identity for tctl in {where}: the auth service leaves it"
        ):
            await self.fresh.tctl("nodes", "ls")


class BackupTests(AuthHostTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.file = self.host.folder / "cluster.backup"
        self.arguments = Namespace(file=self.file, passphrase=PASSPHRASE)

    def local(self, host: AuthHost) -> Local:
        return Local(the_reactor, load(host.config, {}))

    async def test_there_and_back(self) -> None:
        """A backup beside a running service becomes the same cluster on another host."""
        status = await self.tctl("status")
        said = (await backup.backup(self.local(self.host), self.arguments)).render("text")
        self.assertIn(f"The backup has been written to {self.file}.", said)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        await self.host.stop()
        other = AuthHost(Path(self.mktemp()).absolute(), self.host.port)
        other.write()
        said = (await backup.restore(self.local(other), self.arguments)).render("text")
        self.assertIn(f"The cluster {CLUSTER}, as of ", said)
        self.assertEqual((await other.tctl("status")).render("text"), status)

    async def test_event(self) -> None:
        """Who has a backup has the keys of the authorities: it is in the log, made beside the service or without it."""
        await backup.backup(self.local(self.host), self.arguments)
        await self.host.stop()
        second = Namespace(file=self.host.folder / "second.backup", passphrase=PASSPHRASE)
        await backup.backup(self.local(self.host), second)
        await self.host.start()
        found = json.loads(await self.tctl("events", "ls", "--type=backup.create", form="json"))
        self.assertEqual(
            [(event["code"], event["user"], event["server_hostname"], event["message"]) for event in found],
            [("TJ050I", "tctl on the auth host", "auth1", f"to {file}") for file in (self.file, second.file)],
        )

    async def test_no_event(self) -> None:
        """There is no backup that is not in the log."""
        local = self.local(self.host)
        data_dir = self.host.folder / "data"
        log = data_dir / "log" / (data_dir / "host_uuid").read_text().strip()
        log.touch()
        with self.assertRaisesRegex(StorageError, "The events in .* cannot be read or written: File exists"):
            await backup.backup(local, self.arguments)
        self.assertEqual(list(self.host.folder.glob("*.backup*")), [])
        log.unlink()

    async def test_refusals(self) -> None:
        """A backup replaces nothing, and is restored into an empty folder only."""
        local = self.local(self.host)
        await backup.backup(local, self.arguments)
        with self.assertRaisesRegex(AlreadyExists, "There is a file .* already"):
            await backup.backup(local, self.arguments)
        with self.assertRaisesRegex(AlreadyExists, "is not empty"):
            await backup.restore(local, self.arguments)

    async def test_other_storage(self) -> None:
        """A configuration that keeps the state elsewhere would not find it: it is refused."""
        text = self.host.config.read_text() + "\n"
        self.host.config.write_text(text.replace("teleport:\n", "teleport:\n  storage: {path: /srv/state}\n"))
        with self.assertRaisesRegex(BadParameter, "restored into data_dir, .* keeps the state in /srv/state"):
            await backup.restore(self.local(self.host), self.arguments)


class PassphraseTests(SynchronousTestCase):
    def written(self, content: bytes, mode: int = 0o600) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def test_file(self) -> None:
        """The first line, without its end."""
        self.assertEqual(passphrases.read_passphrase(self.written(b"correct horse\nbattery\n")), "correct horse")

    def test_refusals(self) -> None:
        """A file that others can read, that is missing, or that holds no text."""
        with self.assertRaisesRegex(UnsafePath, "holds a passphrase, and others can read it. Run: chmod 600 "):
            passphrases.read_passphrase(self.written(b"x", 0o644))
        with self.assertRaisesRegex(BadParameter, "The passphrase file /nowhere cannot be read: No such file"):
            passphrases.read_passphrase(Path("/nowhere"))
        for content in (b"", b"\xff\n"):
            with self.assertRaisesRegex(BadParameter, "does not hold one line of text."):
                passphrases.read_passphrase(self.written(content))

    def test_asked_twice(self) -> None:
        """A new passphrase is asked for twice, so that a slip does not lose the backup."""
        answers = iter(["correct horse", "correct house"])
        self.patch(passphrases, "_asked", lambda prompt: next(answers))
        with self.assertRaisesRegex(BadParameter, "The two passphrases differ; nothing was written."):
            passphrases.choose(Namespace(file=Path("b"), passphrase_file=None))

    def test_file_is_read_once(self) -> None:
        """With a file nobody is asked."""
        arguments = Namespace(file=Path("b"), passphrase_file=self.written(b"correct horse"))
        passphrases.choose(arguments)
        self.assertEqual(arguments.passphrase, "correct horse")


class OwnerTests(SynchronousTestCase):
    def test_root_becomes_the_owner(self) -> None:
        """What root makes in a folder of the service's account belongs to that account; afterwards root is root."""
        if os.geteuid() != 0:
            self.skipTest("only root can become another account")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        with as_owner(folder):
            self.assertEqual((os.geteuid(), os.getegid()), (65534, 65534))
        self.assertEqual(os.geteuid(), 0)

    def test_others_stay(self) -> None:
        """In one's own folder, or where there is none, nothing changes."""
        folder = Path(self.mktemp()).absolute()
        for _ in range(2):
            before = (os.geteuid(), os.getegid())
            with as_owner(folder):
                self.assertEqual((os.geteuid(), os.getegid()), before)
            folder.mkdir(exist_ok=True)
