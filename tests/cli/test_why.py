"""tctl why, with a real auth service: about users, certificates and refusals."""

from __future__ import annotations

import json
from pathlib import Path

from teleport_conch.cli.tctl import parse
from teleport_conch.errors import AccessDenied, BadParameter, NotFound
from teleport_conch.resources.server import Server
from teleport_conch.resources.user import User
from tests.cli.auth_host import CLUSTER, AuthHostTestCase

WEB1 = Server("node", "11111111-1111-4111-8111-111111111111", "web1", "127.0.0.1:3022", labels={"env": "prod"})


class WhyTests(AuthHostTestCase):
    async def test_user(self) -> None:
        """A stored user, on a node that is there."""
        await self.host.join(WEB1)
        path = Path(self.mktemp())
        path.write_text(json.dumps(User("alice", ("access",), {"logins": ("alice",)}).to_json()))
        await self.tctl("create", str(path))
        who = f"user alice@{CLUSTER}: login as"
        self.assertEqual(
            await self.tctl("why", "alice", "alice@web1"), f"{who} alice@web1: allowed\nrole access: allows it\n"
        )
        self.assertEqual(
            await self.tctl("why", "alice", f"root@{WEB1.name}"),
            f"{who} root@web1: denied\n"
            "role access: login: allow.logins has alice, and not root\n"
            "to allow it: add root to allow.logins of access\n",
        )
        found = json.loads(await self.tctl("why", "alice", "root@web1", form="json"))
        self.assertEqual((found["trace"]["allowed"], found["node"]["hostname"]), (False, "web1"))

    async def test_certificate(self) -> None:
        """A certificate of a file, of somebody who is not stored."""
        await self.host.join(WEB1)
        out = Path(self.mktemp())
        await self.tctl("auth", "sign", "--user=bob", "--logins=root", "--format=openssh", f"--out={out}")
        text = await self.tctl("why", "--cert", f"{out}-cert.pub", "root@web1")
        self.assertIn(f"user bob@{CLUSTER}: login as root@web1: ", text)
        self.assertIn(
            "principal: the certificate has the logins root, and not web",
            await self.tctl("why", "--cert", f"{out}-cert.pub", "web@web1"),
        )
        with self.assertRaises(BadParameter) as caught:
            await self.tctl("why", "--cert", f"{out}.pub" if Path(f"{out}.pub").exists() else str(out), "root@web1")
        self.assertIn("There is no SSH certificate in that file", caught.exception.sentence)

    async def test_reference(self) -> None:
        """The trace of a refusal, by what the refused person was told."""
        out = Path(self.mktemp())
        await self.tctl("auth", "sign", "--user=bob", "--logins=root", "--roles=access", f"--out={out}")
        address = f"--auth-server=127.0.0.1:{self.host.port}"
        with self.assertRaises(AccessDenied) as caught:
            await self.host.elsewhere(address, "-i", str(out), "tokens", "ls")
        reference = caught.exception.facts["reference"]
        text = ""
        while not text:  # auth's own events take the way of all events, and are in the log a moment later
            try:
                text = await self.tctl("why", f"--ref={reference}")
            except NotFound:
                continue
        self.assertIn("api.denied", text)
        self.assertIn("role access: rule: allow.rules does not cover list on token", text)
        with self.assertRaises(NotFound):
            await self.tctl("why", "--ref=00000000")


class LineTests(AuthHostTestCase):
    def test_mistakes(self) -> None:
        """What is missing is said before anything is asked."""
        for words in (("alice",), ("alice", "root"), ("root@web1",), ("--cert", "x", "alice", "root@web1"), ()):
            with self.assertRaises(SystemExit):
                parse(("why", *words))
        with self.assertRaises(SystemExit):
            parse(("why", "--ref=7k2m9xqd", "alice"))
