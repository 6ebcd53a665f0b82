"""Each method of the client, against the real API over TLS."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from teleport_conch.audit.recording import digest
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import HostIdentity, UserIdentity
from teleport_conch.client.api import AuthClient
from teleport_conch.errors import (
    AccessDenied,
    AlreadyExists,
    BadParameter,
    HostBarred,
    InUse,
    NotFound,
    RecordingOrder,
    TokenUnknown,
    Unauthenticated,
)
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.joining import Heartbeat
from teleport_conch.resources.server import Server, State
from teleport_conch.resources.session import ActiveSession
from tests.auth.recordings.samples import OTHER_SID, SID, sample
from tests.client.auth import CLUSTER, SSH_KEY, TLS_KEY, Auth

SSH_LINE = keys.public_line(keys.public_blob(SSH_KEY.public_key()))
USER_LINE = keys.public_line(keys.public_blob(TLS_KEY.public_key()))


def server(identity: HostIdentity, kind: str = "node", labels: Mapping[str, str] | None = None) -> Server:
    return Server(kind, identity.host_uuid, identity.node_name, "10.0.0.5:3022", labels=labels or {})


class ApiTestCase(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.auth = Auth(self)
        await self.auth.start()
        self.admin = self.auth.admin()

    async def a_node(self, name: str = "web1") -> tuple[HostIdentity, AuthClient]:
        """A node that joined and has announced itself."""
        identity = await self.auth.joined(node_name=name)
        client = self.auth.client(identity)
        await client.beat("node", Heartbeat("one", server(identity)))
        return identity, client


class HostTests(ApiTestCase):
    async def test_ping(self) -> None:
        """Anybody hears the time and the name."""
        found = await self.auth.client().ping()
        self.assertEqual((found.cluster_name, found.server_version), (CLUSTER, "0.1.0"))
        self.assertTrue(abs(found.server_time - self.auth.wall()) < 60)

    async def test_cacert(self) -> None:
        self.assertEqual(
            await self.auth.client().cacert(), self.auth.cluster.authorities.public("host").tls_certificates
        )

    async def test_register(self) -> None:
        """A host that knows a token gets certificates for its keys."""
        identity = await self.auth.joined(node_name="web1")
        self.assertIn("web1", identity.principals)
        self.assertEqual({each.kind for each in identity.authorities}, {"user", "host"})

    async def test_refused(self) -> None:
        """A refusal arrives as the error that it was."""
        with self.assertRaises(TokenUnknown) as caught:
            await self.auth.client().register(self.auth.request(token="not a token"))
        self.assertIn("can not join the cluster with role Node", caught.exception.sentence)

    async def test_renew(self) -> None:
        identity = await self.auth.joined(node_name="web1")
        request = self.auth.request("Node", "web1", identity.host_uuid, token="")
        answer = await self.auth.client(identity).renew(request)
        self.assertEqual(answer.node_name, "web1")
        self.assertNotEqual(answer.tls_certificate, identity.tls_certificate)

    async def test_beat(self) -> None:
        """A beat makes a node online; the answer tells the time."""
        identity, client = await self.a_node()
        answer = await client.beat("node", Heartbeat("one", server(identity)))
        self.assertEqual((answer.labels, answer.unreachable), ({}, ""))
        (found,) = await client.nodes()
        self.assertEqual((found.hostname, found.presence.state), ("web1", State.ONLINE))

    async def test_goodbye(self) -> None:
        identity, client = await self.a_node()
        await client.goodbye("node", identity.host_uuid, "one")
        self.assertEqual((await client.node(identity.host_uuid)).presence.state, State.OFFLINE)

    async def test_reachability(self) -> None:
        """What the proxy says of the address reaches the node with its next beat."""
        identity, client = await self.a_node()
        proxy = self.auth.client(await self.auth.joined("Proxy", "gateway"))
        await proxy.report_reachability(identity.host_uuid, "connection refused")
        answer = await client.beat("node", Heartbeat("one", server(identity)))
        self.assertEqual(answer.unreachable, "connection refused")

    async def test_nobody(self) -> None:
        """Without a certificate no more than joining is possible."""
        with self.assertRaises(Unauthenticated):
            await self.auth.client().nodes()


class NodeTests(ApiTestCase):
    async def test_remove(self) -> None:
        """A node that was removed is not listed, and its identity is refused."""
        identity, client = await self.a_node()
        await self.admin.remove_node(identity.host_uuid)
        self.assertEqual(await self.admin.nodes(), ())
        with self.assertRaises(HostBarred):
            await client.beat("node", Heartbeat("one", server(identity)))

    async def test_remove_offline(self) -> None:
        identity, client = await self.a_node("web1")
        await self.a_node("web2")
        await client.goodbye("node", identity.host_uuid, "one")
        self.assertEqual(await self.admin.remove_offline_nodes(), (identity.host_uuid,))
        self.assertEqual([node.hostname for node in await self.admin.nodes()], ["web2"])

    async def test_unknown(self) -> None:
        with self.assertRaises(NotFound):
            await self.admin.node(str(uuid4()))
        with self.assertRaises(NotFound):
            await self.admin.remove_node("../tokens")

    async def test_proxies(self) -> None:
        identity = await self.auth.joined("Proxy", "gateway")
        await self.auth.client(identity).beat("proxy", Heartbeat("one", server(identity, "proxy")))
        self.assertEqual([each.hostname for each in await self.admin.proxies()], ["gateway"])
        await self.admin.remove_proxy(identity.host_uuid)
        self.assertEqual(await self.admin.proxies(), ())


class RecordingTests(ApiTestCase):
    async def test_recordings(self) -> None:
        """A node hands in its slices, in binary; they are listed, read back as they were, and removed."""
        identity, client = await self.a_node()
        made = sample(server_id=identity.host_uuid)
        for number, each in enumerate(made.slices, 1):
            self.assertEqual(await client.recordings.send_slice(SID, each), (number, digest(each).hex()))
        [found] = await self.admin.recordings.all(user="alice", limit=1)
        self.assertEqual((found.id, found.size, found.complete), (SID, len(made.whole), True))
        self.assertEqual(await self.admin.recordings.get(SID), found)
        self.assertEqual(await self.admin.recordings.stream(SID, 5), made.whole[5:])
        self.assertEqual(await self.admin.recordings.stream(SID, found.size), b"")
        await self.admin.recordings.remove(SID)
        self.assertEqual(await self.admin.recordings.all(), ())

    async def test_refused(self) -> None:
        """As what auth raised, also where an answer would not be JSON, with what a program needs to go on."""
        identity, client = await self.a_node()
        made = sample(server_id=identity.host_uuid)
        await client.recordings.send_slice(SID, made.slices[0])
        with self.assertRaises(RecordingOrder) as raised:
            await client.recordings.send_slice(SID, made.slices[2])
        facts = raised.exception.facts
        self.assertEqual((facts["next"], facts["head"]), (1, digest(made.slices[0]).hex()))
        with self.assertRaises(AccessDenied):
            await client.recordings.stream(SID, 0)
        with self.assertRaises(InUse):
            await self.admin.recordings.remove(SID)
        with self.assertRaises(NotFound):
            await self.admin.recordings.stream(OTHER_SID, 0)
        with self.assertRaises(BadParameter):
            await self.admin.recordings.get("../../x")


class TokenTests(ApiTestCase):
    async def test_create(self) -> None:
        """The secret is answered once; the list has the token by its id."""
        secret, token = await self.admin.create_token(
            ["node"], 600, node_name="web9", principals=["web9.example.com"], labels={"env": "prod"}
        )
        self.assertEqual((token.roles, token.node_name, token.labels), (("Node",), "web9", {"env": "prod"}))
        listed = await self.admin.tokens()
        self.assertIn(token, listed)
        self.assertNotIn(secret, repr(listed))

    async def test_chosen(self) -> None:
        """A secret that was chosen, and is there already, is refused."""
        secret, _ = await self.admin.create_token(["node"], 600, secret="chosen-by-a-person")
        self.assertEqual(secret, "chosen-by-a-person")
        with self.assertRaises(AlreadyExists):
            await self.admin.create_token(["node"], 600, secret="chosen-by-a-person")

    async def test_remove(self) -> None:
        """By id and by secret."""
        secret, _ = await self.admin.create_token(["node"], 600)
        _, second = await self.admin.create_token(["node"], 600)
        await self.admin.remove_token(secret)
        await self.admin.remove_token(second.id)
        self.assertEqual([token.static for token in await self.admin.tokens()], [True])


class ClusterTests(ApiTestCase):
    async def test_status(self) -> None:
        found = await self.admin.status()
        self.assertEqual((found.cluster_name, found.session_recording), (CLUSTER, "node"))
        self.assertEqual(found.ca_pins, (self.auth.pin,))
        self.assertRegex(found.user_ca[0], "SHA256:.{43}")

    async def test_configuration(self) -> None:
        self.assertEqual(await self.admin.configuration(), ClusterConfig())
        self.assertEqual((await self.admin.cluster_name()).cluster_name, CLUSTER)

    async def test_authority(self) -> None:
        self.assertEqual(await self.admin.authority("user"), self.auth.cluster.authorities.public("user"))
        with self.assertRaises(NotFound):
            await self.admin.authority("host/../user")


class CertificateTests(ApiTestCase):
    async def test_user(self) -> None:
        """One key for both certificates, as an identity file has them."""
        signed = await self.admin.sign_user(
            "alice",
            ["root"],
            3600,
            USER_LINE,
            public_tls_key=keys.public_pem(TLS_KEY.public_key()),
            roles=["access"],
        )
        identity = UserIdentity(
            "alice",
            CLUSTER,
            keys.private_pem(TLS_KEY),
            signed.ssh_certificate,
            signed.tls_certificate,
            signed.authorities,
        )
        self.assertEqual(SSHCertificate.from_line(signed.ssh_certificate).principals, ("root",))
        self.assertEqual((await self.auth.client(identity).cluster_name()).cluster_name, CLUSTER)

    async def test_user_without_tls(self) -> None:
        signed = await self.admin.sign_user("alice", ["root"], 3600, SSH_LINE)
        self.assertEqual(signed.tls_certificate, "")

    async def test_host(self) -> None:
        line = await self.admin.sign_host(["db.example.org"], SSH_LINE, 3600)
        self.assertIn("db.example.org", SSHCertificate.from_line(line).principals)

    async def test_not_for_nodes(self) -> None:
        _, node = await self.a_node()
        with self.assertRaises(AccessDenied):
            await node.sign_user("alice", ["root"], 3600, SSH_LINE)


class SessionTests(ApiTestCase):
    async def test_sessions(self) -> None:
        """A node says who is there, and that they left."""
        identity, node = await self.a_node()
        session = ActiveSession(
            str(uuid4()), "alice", "root", identity.host_uuid, "web1", "10.0.0.9:5000", 100.0, 101.0, True
        )
        self.assertEqual(await node.tell_sessions([session], []), {})
        self.assertEqual(await self.admin.sessions(), (session,))
        impossible = evolve(session, id="no id")
        refused = await node.tell_sessions([impossible], [session.id])
        self.assertEqual(refused, {"no id": "The id of a session consists of letters, digits and hyphens."})
        self.assertEqual(await self.admin.sessions(), ())

    async def test_events(self) -> None:
        """A node hands in events, and administrators find them."""
        identity, node = await self.a_node()
        event = {
            "event": "session.start",
            "code": "T2000I",
            "uid": str(uuid4()),
            "time": "2026-11-01T10:00:00.000Z",
            "server_id": identity.host_uuid,
            "user": "alice",
            "login": "root",
            "sid": str(uuid4()),
        }
        await node.emit([event])
        await node.emit([event])
        found = await self.admin.events(names=["session.start", "session.end"], limit=10)
        self.assertEqual([each["uid"] for each in found], [event["uid"]])
        self.assertEqual(await self.admin.events(from_=0.0, to=1.5), ())


class WatchTests(ApiTestCase):
    async def test_watch(self) -> None:
        """A snapshot, then what happens, until the watcher has enough."""
        lines: list[dict[str, object]] = []
        identity, _ = await self.a_node("web1")

        def on_line(line: dict[str, object]) -> None:
            lines.append(line)
            if line["type"] == "init":
                Deferred.fromCoroutine(self.admin.remove_node(identity.host_uuid))
            if line["type"] == "delete":
                watching.cancel()

        watching = Deferred.fromCoroutine(self.admin.watch(["node", "cluster_name"], 0, on_line))
        with self.assertRaises(CancelledError):
            await watching
        self.assertEqual(lines[0]["type"], "init")
        self.assertEqual(lines[-1]["name"], identity.host_uuid)
        items = lines[0]["items"]
        assert isinstance(items, list)
        self.assertEqual([item["kind"] for item in items], ["cluster_name", "node"])
