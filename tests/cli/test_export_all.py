"""``tctl get all``: what another cluster is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from twisted.internet.defer import Deferred

from tests.cli.auth_host import AuthHost, AuthHostTestCase
from tests.cli.test_writing import ALICE, DEV

LOCK = "kind: lock\nversion: v2\nmetadata: {name: l-1}\nspec: {target: {user: mallory}}\n"


def made(text: str) -> Sequence[Mapping[str, object]]:
    """Documents, without when they were made, and by whom."""
    found = list(yaml.safe_load_all(text))
    for value in found:
        for key in ("created", "created_by"):
            value["spec"].pop(key, None)
    return found


class AllTests(AuthHostTestCase):
    async def there(self, *words: str) -> str:
        """What a command prints on the other auth host."""
        return (await self.other.tctl(*words)).render("yaml")

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        await super().setUp()
        self.other = AuthHost(Path(self.mktemp()).absolute())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.other.stop()))
        await self.other.start()

    async def test_another_cluster(self) -> None:
        """What is printed makes the same of another cluster."""
        path = self.host.folder / "some.yaml"
        path.write_text(f"{DEV}---\n{ALICE}---\n{LOCK}")
        await self.tctl("create", str(path))
        await self.tctl("bots", "add", "ci", "--roles=dev")
        await self.tctl("nodes", "add")
        text = await self.tctl("get", "all", form="yaml")
        kinds = [value["kind"] for value in yaml.safe_load_all(text)]
        self.assertEqual(kinds, ["role", "user", "lock", "cluster_config", "cluster_auth_preference"])
        path.write_text(text)
        await self.there("create", "-f", str(path))
        self.assertEqual(made(await self.there("get", "all")), made(text))
