"""The auth service as it is started: on SQLite, over TLS, with the client that everybody uses."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_conch.auth.backup import backup, restore
from teleport_conch.auth.offline import open_offline
from teleport_conch.auth.service import AuthService
from teleport_conch.certs import keys
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.client.api import AuthClient
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.client.tls import client_options
from teleport_conch.config.loading import parse
from teleport_conch.config.settings import Settings
from teleport_conch.errors import (
    AlreadyExists,
    BadParameter,
    HostBarred,
    PortInUse,
    StartError,
    StorageInUse,
    TeleportError,
    UnsafePath,
)
from teleport_conch.resources.joining import Heartbeat, JoinRequest
from teleport_conch.resources.server import Server, State
from teleport_conch.starting import Reactor
from tests.auth.fixture import WEB1

REACTOR = cast(Reactor, reactor)
STATIC = "a-static-token-of-the-file"
PASSPHRASE = "correct horse battery"
SSH_KEY = keys.generate_ssh_key()
TLS_KEY = keys.generate_tls_key()


class ServiceTestCase(TestCase):
    """Starts auth servers on loopback, each in a data_dir of its own."""

    timeout = 30

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.running: list[AuthService] = []
        self.clients: list[AuthClient] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        for client in self.clients:
            await client.close()
        for service in tuple(self.running):
            await self.stop(service)

    def settings(self, name: str = "auth", port: int = 0, **auth: object) -> Settings:
        section: dict[str, object] = {
            "listen_addr": f"127.0.0.1:{port}",
            "cluster_name": "example.com",
            "tokens": [f"node,proxy:{STATIC}"],
            **auth,
        }
        text = {"teleport": {"data_dir": str(self.folder / name), "nodename": "auth1"}, "auth_service": section}
        return parse(json.dumps(text), "test", {}, "auth1")

    async def start(self, settings: Settings) -> AuthService:
        service = AuthService(REACTOR, settings)
        self.running.append(service)
        service.startService()
        await service.started
        return service

    async def stop(self, service: AuthService) -> None:
        self.running.remove(service)
        await service.stopService()

    def client(self, service: AuthService, identity: HostIdentity | None, roots: Sequence[str] = ()) -> AuthClient:
        client = AuthClient(REACTOR, [f"127.0.0.1:{service.port}"], client_options(identity, roots))
        self.clients.append(client)
        return client

    def admin(self, service: AuthService, name: str = "auth") -> AuthClient:
        """As tctl on the auth host."""
        identity = IdentityStore(self.folder / name, os.urandom).load("Admin")
        assert identity is not None
        return self.client(service, identity)

    async def join(self, service: AuthService, name: str = "auth", token: str = STATIC) -> HostIdentity:
        """A node that joined."""
        roots = IdentityStore(self.folder / name, os.urandom).authorities()
        request = JoinRequest(
            WEB1,
            "web1",
            "Node",
            keys.public_pem(TLS_KEY.public_key()),
            keys.public_line(keys.public_blob(SSH_KEY.public_key())),
            token,
        )
        answer = await self.client(service, None, roots).register(request)
        return HostIdentity(
            WEB1,
            "web1",
            answer.cluster_name,
            "Node",
            keys.ssh_private_pem(SSH_KEY),
            answer.ssh_certificate,
            keys.private_pem(TLS_KEY),
            answer.tls_certificate,
            tuple(map(PublicAuthority.from_json, answer.authorities)),
        )


BEAT = Heartbeat("one", Server("node", WEB1, "web1", "10.0.0.5:3022"))


class LifeTests(ServiceTestCase):
    async def test_a_node_comes_and_goes(self) -> None:
        """It joins, beats, is seen by who watches, says goodbye, is removed, and is barred."""
        auth = await self.start(self.settings())
        admin = self.admin(auth)
        status = await admin.status()
        self.assertEqual((status.cluster_name, status.ca_pins), ("example.com", (auth.ca_pin,)))
        node = self.client(auth, await self.join(auth))
        lines: list[dict[str, object]] = []
        watch = Deferred.fromCoroutine(admin.watch(("node", "cert_authority"), 0, lines.append))
        while not lines:
            await deferLater(REACTOR, 0.005)
        await node.beat("node", BEAT)
        self.assertEqual([each.presence.state for each in await admin.nodes()], [State.ONLINE])
        await node.goodbye("node", WEB1, "one")
        while len(lines) < 3:
            await deferLater(REACTOR, 0.005)
        self.assertEqual([line["type"] for line in lines[:3]], ["init", "put", "put"])
        await admin.remove_node(WEB1)
        with self.assertRaises(HostBarred):
            await node.beat("node", BEAT)
        watch.cancel()
        watch.addErrback(lambda _: None)

    async def test_events_are_on_the_disk(self) -> None:
        """What happened is in the log, one file for each day, when auth has stopped at the latest."""
        auth = await self.start(self.settings())
        await self.admin(auth).create_token(["node"], 600.0)
        await self.join(auth)
        await self.stop(auth)
        [path] = (self.folder / "auth" / "log").glob("*/????-??-??.00:00:00.log")
        events = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual([event["event"] for event in events], ["token.create", "node.join"])
        self.assertEqual({event["server_hostname"] for event in events}, {"auth1"})
        self.assertNotIn(STATIC, path.read_text())

    async def test_restart(self) -> None:
        """The same cluster; nodes are listed, and nothing is known of their presence until they beat."""
        settings = self.settings()
        first = await self.start(settings)
        identity = await self.join(first)
        await self.client(first, identity).beat("node", BEAT)
        await self.stop(first)
        second = await self.start(settings)
        self.assertEqual(second.ca_pin, first.ca_pin)
        [node] = await self.admin(second).nodes()
        self.assertEqual(node.presence.state, State.UNKNOWN)
        self.assertIsNotNone(node.presence.last_seen_at)
        await self.client(second, identity).beat("node", BEAT)
        [node] = await self.admin(second).nodes()
        self.assertEqual(node.presence.state, State.ONLINE)

    async def test_files(self) -> None:
        """What is secret is nobody else's to read."""
        await self.start(self.settings())
        data_dir = self.folder / "auth"
        for name, mode in (
            ("host_uuid", 0o400),
            ("identities", 0o700),
            ("identities/admin.json", 0o600),
            ("backend", 0o700),
            ("backend/sqlite.db", 0o600),
        ):
            self.assertEqual(stat.S_IMODE((data_dir / name).stat().st_mode), mode, name)

    async def test_stops_with_watchers(self) -> None:
        """Connections that are open do not keep auth from stopping."""
        auth = await self.start(self.settings())
        admin = self.admin(auth)
        lines: list[dict[str, object]] = []
        watch = Deferred.fromCoroutine(admin.watch(("node",), 0, lines.append))
        watch.addErrback(lambda failure: failure.trap(TeleportError))
        while not lines:
            await deferLater(REACTOR, 0.005)
        await self.stop(auth)
        await watch


class StartTests(ServiceTestCase):
    async def refused(self, settings: Settings, kind: type[TeleportError]) -> str:
        """The sentence with which a start ends."""
        service = AuthService(REACTOR, settings)
        try:
            with self.assertRaises(kind) as caught:
                await service.start_up()
        finally:
            await service.stopService()
        sentence: str = caught.exception.sentence
        return sentence

    async def test_port_in_use(self) -> None:
        """Which port, and by whom; and what was opened before is closed again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            sentence = await self.refused(self.settings(port=port), PortInUse)
        self.assertIn(f"Auth cannot listen on port {port} of 127.0.0.1: it is in use by", sentence)
        self.assertIn(f"(pid {os.getpid()})", sentence)
        await self.start(self.settings())

    async def test_two_on_one_database(self) -> None:
        """The second is told which process has it."""
        await self.start(self.settings())
        self.assertIn(f"in use by process {os.getpid()}", await self.refused(self.settings(), StorageInUse))

    async def test_data_dir_of_others(self) -> None:
        """A folder that others can write is refused with the command that mends it."""
        (self.folder / "auth").mkdir()
        (self.folder / "auth").chmod(0o777)
        self.assertIn("chmod go-w", await self.refused(self.settings(), UnsafePath))


class OfflineTests(ServiceTestCase):
    async def test_signs_and_shows(self) -> None:
        """With the service stopped: status, authorities, certificates, lists; what was signed is an event."""
        settings = self.settings()
        auth = await self.start(settings)
        with self.assertRaises(StorageInUse):
            await open_offline(REACTOR, settings)
        await self.client(auth, await self.join(auth)).beat("node", BEAT)
        await self.stop(auth)
        offline = await open_offline(REACTOR, settings)
        try:
            self.assertEqual((await offline.status()).ca_pins, (auth.ca_pin,))
            self.assertEqual((await offline.authority("user")).kind, "user")
            self.assertIn("signing_keys", str(await offline.secrets("user")))
            self.assertEqual([each.hostname for each in await offline.nodes()], ["web1"])
            self.assertEqual((await offline.cluster_name()).cluster_name, "example.com")
            self.assertEqual([token.static for token in await offline.tokens()], [True])
            line = keys.public_line(keys.public_blob(SSH_KEY.public_key()))
            signed = await offline.sign_user("alice", ["root"], 600.0, line)
            self.assertTrue(signed.ssh_certificate.startswith("ssh-ed25519-cert-v01@openssh.com "))
            self.assertTrue(await offline.sign_host(["db.example.org"], line))
        finally:
            await offline.close()
        again = await self.start(settings)
        events = await self.admin(again).events(names=["cert.create"])
        self.assertEqual([event["cert_type"] for event in events], ["user", "host"])

    async def test_no_cluster(self) -> None:
        """Where auth never ran there is nothing to open, and nothing is made."""
        with self.assertRaises(StartError) as caught:
            await open_offline(REACTOR, self.settings())
        self.assertIn("There is no cluster on this host", caught.exception.sentence)
        self.assertFalse((self.folder / "auth" / "backend").exists())


class BackupTests(ServiceTestCase):
    async def test_on_another_host(self) -> None:
        """Made beside the running service, restored elsewhere: nodes go on with the identities that they have."""
        auth = await self.start(self.settings())
        identity = await self.join(auth)
        await self.client(auth, identity).beat("node", BEAT)
        file = self.folder / "cluster.backup"
        await backup(REACTOR, self.settings(), file, PASSPHRASE)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertNotIn(b"signing_keys", file.read_bytes())
        self.assertEqual([path.name for path in (self.folder / "auth").glob(".backup-*")], [])
        await self.stop(auth)
        restored = restore(file, PASSPHRASE, self.folder / "other")
        self.assertEqual(restored.cluster_name, "example.com")
        other = await self.start(self.settings("other"))
        self.assertEqual(other.ca_pin, auth.ca_pin)
        node = self.client(other, identity)
        await node.beat("node", BEAT)
        self.assertEqual([each.hostname for each in await self.admin(other, "other").nodes()], ["web1"])
        for name in ("host_uuid", "identities/admin.json"):
            self.assertEqual(
                stat.S_IMODE((self.folder / "other" / name).stat().st_mode),
                stat.S_IMODE((self.folder / "auth" / name).stat().st_mode),
            )
        self.assertEqual(
            (self.folder / "other" / "host_uuid").read_text(), (self.folder / "auth" / "host_uuid").read_text()
        )

    async def test_refusals(self) -> None:
        """A file or folder that is there, a wrong passphrase, a damaged file; nothing is left behind."""
        auth = await self.start(self.settings())
        await self.stop(auth)
        file, other = self.folder / "cluster.backup", self.folder / "other"
        with self.assertRaises(BadParameter):
            await backup(REACTOR, self.settings(), file, "short")
        self.assertFalse(file.exists())
        await backup(REACTOR, self.settings(), file, PASSPHRASE)
        with self.assertRaises(AlreadyExists) as caught:
            await backup(REACTOR, self.settings(), file, PASSPHRASE)
        self.assertIn("choose another name for the backup", caught.exception.sentence)
        with self.assertRaises(AlreadyExists) as caught:
            restore(file, PASSPHRASE, self.folder / "auth")
        self.assertIn("is not empty. A backup is restored into an empty data_dir only", caught.exception.sentence)
        with self.assertRaises(BadParameter) as wrong:
            restore(file, "wrong horse battery", other)
        self.assertIn("The passphrase is wrong", wrong.exception.sentence)
        data = file.read_bytes()
        file.write_bytes(data[:-1])
        with self.assertRaises(BadParameter):
            restore(file, PASSPHRASE, other)
        self.assertFalse(other.exists())
        with self.assertRaises(TeleportError) as missing:
            restore(self.folder / "none", PASSPHRASE, other)
        self.assertIn("No such file", missing.exception.sentence)

    async def test_nothing_to_back_up(self) -> None:
        """Where there is no cluster."""
        with self.assertRaises(StartError) as caught:
            await backup(REACTOR, self.settings(), self.folder / "x", PASSPHRASE)
        self.assertIn("There is nothing to back up", caught.exception.sentence)
