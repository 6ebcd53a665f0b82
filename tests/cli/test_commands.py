"""Each command of tctl, with a real auth service."""

from __future__ import annotations

import json
import os
from uuid import uuid4

from teleport_conch.errors import AmbiguousName, BadParameter, ConnectionProblem, NotFound
from teleport_conch.resources.server import Server
from tests.auth.recordings.test_files import Room
from tests.cli.auth_host import CLUSTER, STATIC_TOKEN, AuthHostTestCase

WEB1 = Server("node", str(uuid4()), "web1", "10.0.0.5:3022", labels={"env": "prod"})
GATE = Server("proxy", str(uuid4()), "gate", "10.0.0.7:3023", ("proxy.example.com:3023",))


class StatusTests(AuthHostTestCase):
    async def test_status(self) -> None:
        """The cluster, its authorities and its pin; and who records sessions."""
        lines = (await self.tctl("status")).splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["Cluster", "Version", "User", "Host", "CA", "Recording"])
        self.assertEqual(lines[0].split(), ["Cluster", CLUSTER])
        self.assertIn("SHA256:", lines[2])
        self.assertIn("sha256:", lines[4])
        self.assertIn("Sessions are recorded: node", lines[5])

    async def test_no_room(self) -> None:
        """Where recordings are refused, a further line says so."""
        low = Room(0)
        self.patch(os, "statvfs", lambda path: low)
        lines = (await self.tctl("status")).splitlines()
        self.assertIn("Sessions are recorded: node", lines[5])
        self.assertIn("The disk of the auth server is nearly full: recordings wait on the nodes", lines[6])

    async def test_json(self) -> None:
        """The same for programs."""
        found = json.loads(await self.tctl("status", form="json"))
        self.assertEqual((found["cluster_name"], found["session_recording"]), (CLUSTER, "node"))
        self.assertEqual([len(found[key]) for key in ("user_ca", "host_ca", "ca_pins")], [1, 1, 1])


class NodeTests(AuthHostTestCase):
    async def test_list(self) -> None:
        """A node that beats is online."""
        await self.host.join(WEB1)
        row = (await self.tctl("nodes", "ls")).splitlines()[2].split()
        self.assertEqual(row[:5], ["web1", WEB1.name, "10.0.0.5:3022", "env=prod", "online"])
        (node,) = json.loads(await self.tctl("nodes", "ls", form="json"))
        self.assertEqual((node["kind"], node["status"]["state"]), ("node", "online"))

    async def test_list_of_nothing(self) -> None:
        """Without nodes there are columns, and an empty list for programs."""
        self.assertEqual(len((await self.tctl("nodes", "ls")).splitlines()), 2)
        self.assertEqual(await self.tctl("nodes", "ls", form="json"), "[]\n")

    async def test_add(self) -> None:
        """A token that lets a host in, with a line to start it."""
        text = await self.tctl("nodes", "add", "--ttl=1h", "--name=web1", "--labels=env=prod")
        pin = json.loads(await self.tctl("status", form="json"))["ca_pins"][0]
        for part in (
            "This token will expire in 60 minutes",
            "> teleport start",
            "--roles=node",
            "--nodename=web1",
            f"--ca-pin={pin}",
            f"--auth-server=127.0.0.1:{self.host.port}",
        ):
            self.assertIn(part, text)

    async def test_add_for_programs(self) -> None:
        """As with Teleport, programs get a list of tokens."""
        (secret,) = json.loads(await self.tctl("nodes", "add", form="json"))
        self.assertEqual(len(secret), 32)

    async def test_remove(self) -> None:
        """By nodename, whatever its case, or by UUID; twice is an error."""
        await self.host.join(WEB1)
        said = await self.tctl("nodes", "rm", "WEB1")
        self.assertEqual(said, f"node web1 ({WEB1.name}) has been deleted; it is refused until it joins again\n")
        with self.assertRaisesRegex(NotFound, "There is no node 'web1'; 'tctl get node' lists them."):
            await self.tctl("nodes", "rm", "web1")

    async def test_remove_unlisted(self) -> None:
        """A UUID that is in no list is left to auth, which knows of hosts that joined and never beat."""
        with self.assertRaises(NotFound):
            await self.tctl("nodes", "rm", str(uuid4()))

    async def test_remove_ambiguous(self) -> None:
        """Of several hosts of one name, none is removed by the name; by its UUID each is."""
        rebuilt = Server("node", str(uuid4()), "web1", "10.0.0.6:3022")
        await self.host.join(WEB1, stays=False)
        await self.host.join(rebuilt)
        with self.assertRaises(AmbiguousName) as raised:
            await self.tctl("nodes", "rm", "web1")
        sentence = raised.exception.sentence
        self.assertTrue(sentence.startswith("2 hosts are called 'web1'; give the UUID of one of them: "), sentence)
        self.assertIn(f"{WEB1.name} (offline)", sentence)
        self.assertIn(f"{rebuilt.name} (online)", sentence)
        self.assertEqual(raised.exception.facts["candidates"], sorted([WEB1.name, rebuilt.name]))
        await self.tctl("nodes", "rm", WEB1.name)
        self.assertEqual(len(json.loads(await self.tctl("nodes", "ls", form="json"))), 1)

    async def test_remove_offline(self) -> None:
        """Only what is offline goes, and that there is nothing is an answer, too."""
        await self.host.join(WEB1, stays=False)
        await self.host.join(Server("node", str(uuid4()), "web2", "10.0.0.6:3022"))
        self.assertEqual(await self.tctl("nodes", "rm", "--offline"), f"node {WEB1.name} has been deleted\n")
        self.assertEqual(await self.tctl("nodes", "rm", "--offline"), "No node is offline.\n")


class TokenTests(AuthHostTestCase):
    async def test_life(self) -> None:
        """Made, listed by its id, removed."""
        text = await self.tctl("tokens", "add", "--type=proxy", "--value=one-of-my-own-kind", "--ttl=2h")
        self.assertIn("The invite token: one-of-my-own-kind\nThis token will expire in 120 minutes\n", text)
        static, made = json.loads(await self.tctl("tokens", "ls", form="json"))
        self.assertEqual((static["metadata"]["expires"], made["spec"]["roles"]), (None, ["Proxy"]))
        listed = await self.tctl("tokens", "ls")
        self.assertNotIn("one-of-my-own-kind", listed)
        self.assertIn(made["metadata"]["name"], listed)
        self.assertEqual(
            await self.tctl("tokens", "rm", made["metadata"]["name"]),
            f"The token {made['metadata']['name']} has been deleted\n",
        )

    async def test_secret_is_not_repeated(self) -> None:
        """Removed by its value, a token is not printed."""
        await self.tctl("tokens", "add", "--type=node", "--value=one-of-my-own-kind")
        self.assertEqual(await self.tctl("tokens", "rm", "one-of-my-own-kind"), "The token has been deleted\n")

    async def test_static(self) -> None:
        """A token of the configuration is not removed, and the refusal does not repeat it."""
        with self.assertRaisesRegex(BadParameter, "is statically configured and cannot be removed") as raised:
            await self.tctl("tokens", "rm", STATIC_TOKEN)
        self.assertNotIn(STATIC_TOKEN, raised.exception.sentence)

    async def test_unknown(self) -> None:
        """Auth's refusals come through."""
        with self.assertRaisesRegex(NotFound, "There is no such token"):
            await self.tctl("tokens", "rm", "0123456789ab")


class ExportTests(AuthHostTestCase):
    async def test_both(self) -> None:
        """Without a type, lines for users and for hosts; these name everything that is registered."""
        await self.host.join(WEB1)
        await self.host.join(GATE)
        user, host = (await self.tctl("auth", "export")).splitlines()
        self.assertRegex(user, rf"\Acert-authority ssh-ed25519 [\w+/=]+ clustername={CLUSTER}&type=user\Z")
        marker, names, *_ = host.split()
        self.assertEqual(marker, "@cert-authority")
        wanted = {f"*.{CLUSTER}", "web1", WEB1.name, "10.0.0.5", "[10.0.0.5]:3022", "[proxy.example.com]:3023"}
        self.assertEqual(wanted - set(names.split(",")), set())

    async def test_tls(self) -> None:
        """Certificates of the host authority, as PEM."""
        text = await self.tctl("auth", "export", "--type=tls")
        self.assertEqual((text.count("BEGIN CERTIFICATE"), text.count("PRIVATE")), (1, 0))

    async def test_fingerprint(self) -> None:
        """One key only, or a refusal."""
        status = json.loads(await self.tctl("status", form="json"))
        found = await self.tctl("auth", "export", "--fingerprint", status["user_ca"][0])
        self.assertEqual([line.split()[0] for line in found.splitlines()], ["cert-authority"])
        await self.tctl("auth", "export", "--type=tls", "--fingerprint", status["ca_pins"][0])
        with self.assertRaisesRegex(NotFound, "No authority has a key with this fingerprint; 'tctl status' prints"):
            await self.tctl("auth", "export", "--fingerprint", "SHA256:nothing")


class ResourceTests(AuthHostTestCase):
    async def test_get(self) -> None:
        """Every kind can be had, also several at once."""
        await self.host.join(WEB1)
        await self.host.join(GATE)
        kinds = ("node", "proxy", "token", "cert_authority", "cluster_config", "cluster_name")
        found = json.loads(await self.tctl("get", ",".join(kinds), form="json"))
        self.assertEqual({each["kind"] for each in found}, set(kinds))
        self.assertNotIn("signing_keys", json.dumps(found))
        text = await self.tctl("get", "nodes,proxies,cas,cluster_config,cluster_name,ssh_session,token")
        for part in ("web1", "gate", "Fingerprint", "session_recording", CLUSTER, "Login", "never"):
            self.assertIn(part, text)

    async def test_get_by_name(self) -> None:
        """One of them, or an error."""
        await self.host.join(WEB1)
        (node,) = json.loads(await self.tctl("get", f"node/{WEB1.name}", form="json"))
        self.assertEqual(node["spec"]["hostname"], "web1")
        (authority,) = json.loads(await self.tctl("get", "cert_authority/host", form="json"))
        self.assertEqual(authority["spec"]["type"], "host")
        for reference in ("node/web9", "proxy/web1", "token/0123", "cert_authority/x", "ssh_session/y"):
            kind, _, name = reference.partition("/")
            with self.assertRaisesRegex(NotFound, f"There is no {kind} '{name}'; 'tctl get {kind}' lists them."):
                await self.tctl("get", reference)

    async def test_remove(self) -> None:
        """A node, a proxy, a token."""
        await self.host.join(WEB1)
        await self.host.join(GATE)
        (secret,) = json.loads(await self.tctl("nodes", "add", form="json"))
        self.assertEqual(await self.tctl("rm", "node/web1"), f"node web1 ({WEB1.name}) has been deleted\n")
        self.assertEqual(await self.tctl("rm", "proxy/gate"), f"proxy gate ({GATE.name}) has been deleted\n")
        self.assertEqual(await self.tctl("rm", f"token/{secret}"), "token with this value has been deleted\n")
        self.assertEqual(json.loads(await self.tctl("get", "node,proxy", form="json")), [])


class EventTests(AuthHostTestCase):
    async def test_events(self) -> None:
        """What happened is found by its name and by time, with the token's id and without the token."""
        (secret,) = json.loads(await self.tctl("nodes", "add", form="json"))
        found: list[dict[str, object]] = []
        while not found:  # auth's own events take the way of all events, and are in the log a moment later
            found = json.loads(await self.tctl("events", "ls", "--type=token.create", "--from=1h", form="json"))
        self.assertEqual([event["event"] for event in found], ["token.create"])
        self.assertNotIn(secret, json.dumps(found))
        self.assertIn("token.create", await self.tctl("events", "ls", "--limit=1"))
        self.assertEqual(await self.tctl("events", "ls", "--to=2020-01-01"), "No events found.\n")

    async def test_sessions(self) -> None:
        """Nobody is there."""
        self.assertEqual(await self.tctl("sessions", "ls"), "No session runs.\n")
        self.assertEqual(await self.tctl("sessions", "ls", form="json"), "[]\n")


class UnreachableTests(AuthHostTestCase):
    async def test_sentence(self) -> None:
        """An auth server that does not run is named; it is not guessed where one was named."""
        await self.host.stop()
        sentence = (
            r'Cannot connect to the auth server: connection refused. Is the auth server running on "127.0.0.1:\d+"\?'
        )
        with self.assertRaisesRegex(ConnectionProblem, sentence):
            await self.tctl("nodes", "ls")
        with self.assertRaisesRegex(ConnectionProblem, sentence):
            await self.tctl(f"--auth-server=127.0.0.1:{self.host.port}", "status")
