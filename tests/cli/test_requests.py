"""``tctl requests`` with a real auth service: what is printed, and what is refused."""

from __future__ import annotations

import json

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.requests import Requests
from teleport_conch.access.roles import Role
from teleport_conch.errors import AccessDenied, BadParameter, NotFound, TeleportError
from tests.cli.auth_host import AuthHostTestCase

DEV = Role("dev", allow=Conditions(request=Requests(("dba", "ops"))))


class RequestsTests(AuthHostTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        for role in (DEV, Role("dba"), Role("ops")):
            path = self.host.folder / "role.json"
            path.write_text(json.dumps(role.to_json()))
            await self.tctl("create", str(path))
        await self.tctl("users", "add", "alice", "--roles=dev")

    async def asked(self, *words: str) -> str:
        return (await self.tctl("requests", "create", "alice", "--roles=dba,ops", *words)).strip()

    async def fails(self, kind: type[TeleportError], sentence: str, *words: str) -> None:
        with self.assertRaises(kind) as caught:
            await self.tctl(*words)
        self.assertEqual(caught.exception.sentence, sentence)

    async def spec(self, name: str) -> dict[str, object]:
        [found] = json.loads(await self.tctl("get", f"access_request/{name}", form="json"))
        spec = found["spec"]
        assert isinstance(spec, dict)
        return spec

    async def test_life(self) -> None:
        """Asked for, listed, approved in part, removed; the shorter name of the command does as well."""
        self.assertEqual(await self.tctl("requests", "ls"), "No access requests found\n")
        name = await self.asked("--reason=ticket 17")
        head, _, line = (await self.tctl("request", "ls")).splitlines()
        self.assertEqual(" ".join(head.split()), "Token Requestor Metadata Created At (UTC) Status Reasons")
        self.assertTrue(line.startswith(f"{name} alice     roles=dba,ops "), line)
        self.assertTrue(line.endswith('PENDING request="ticket 17"'), line)
        how = ("--roles=dba", "--reason=go", "--delegator=bob", "--annotations=ticket=17,ticket=18")
        said = await self.tctl("requests", "approve", name, *how)
        self.assertEqual(said, f"Request {name} of alice has been approved\n")
        spec = await self.spec(name)
        self.assertEqual((spec["state"], spec["roles"], spec["resolve_reason"]), (2, ["dba"], "go"))
        self.assertEqual(spec["resolve_annotations"], {"ticket": ["17", "18"]})
        listed = await self.tctl("requests", "ls")
        self.assertIn('APPROVED request="ticket 17", resolve="go"', listed)
        self.assertEqual(await self.tctl("requests", "rm", name), f"Request {name} has been deleted\n")
        await self.fails(NotFound, f"There is no access request '{name}'.", "get", f"access_request/{name}")

    async def test_deny(self) -> None:
        """Several at once; a denial is final."""
        names = [await self.asked() for _ in range(2)]
        said = await self.tctl("requests", "deny", ",".join(names), "--reason=no")
        self.assertEqual(said.count("of alice has been denied\n"), 2)
        sentence = f'access-request "{names[0]}" has been denied.'
        await self.fails(BadParameter, sentence, "requests", "approve", names[0])

    async def test_dry_run(self) -> None:
        """What would be asked is printed, and nothing is asked."""
        text = await self.tctl("requests", "create", "alice", "--roles=*", "--dry-run")
        self.assertIn("roles=dba,ops", text)
        self.assertIn("NONE", text)
        self.assertEqual(json.loads(await self.tctl("requests", "ls", form="json")), [])

    async def test_refused(self) -> None:
        words = ("requests", "create", "alice", "--roles=admin")
        await self.fails(AccessDenied, "The user alice may not ask for the role admin.", *words)
        sentence = "There is no user 'bob'; 'tctl users ls' lists them."
        await self.fails(NotFound, sentence, "requests", "create", "bob", "--roles=dba")

    async def test_as_a_resource(self) -> None:
        """``tctl get`` and ``tctl rm`` know the kind."""
        name = await self.asked()
        self.assertIn(name, await self.tctl("get", "access_requests"))
        said = await self.tctl("rm", f"access_request/{name}")
        self.assertEqual(said, f"access_request {name} has been deleted\n")
        self.assertEqual(json.loads(await self.tctl("get", "access_request", form="json")), [])
