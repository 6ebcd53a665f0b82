"""tctl create, edit, get, rm and lock, with a real auth service."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import yaml

from teleport_conch.cli import documents
from teleport_conch.cli.views import plan_table
from teleport_conch.errors import AlreadyExists, BadParameter, LastAdministrator, NotFound
from teleport_conch.resources.server import Server
from tests.cli.auth_host import AuthHostTestCase

WEB1 = Server("node", "11111111-1111-4111-8111-111111111111", "web1", "127.0.0.1:3022", labels={"env": "prod"})
DEV = """\
kind: role
version: v3
metadata: {name: dev}
spec:
  options: {max_session_ttl: 8h}
  allow:
    logins: [ubuntu]
    node_labels: {env: dev}
"""
ALICE = """\
kind: user
version: v2
metadata: {name: alice}
spec:
  roles: [dev]
  traits: {logins: [alice]}
"""


class WritingTestCase(AuthHostTestCase):
    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    async def refused(self, *words: str) -> str:
        with self.assertRaises((BadParameter, AlreadyExists, NotFound)) as caught:
            await self.tctl(*words)
        return str(caught.exception.sentence)

    async def names(self, kind: str) -> list[str]:
        text = await self.tctl("get", kind, form="yaml")
        return [value["metadata"]["name"] for value in yaml.safe_load_all(text) if value]


TOKEN = """\
kind: token
version: v2
metadata: {name: a-secret-of-mine}
spec: {roles: [node], labels: {env: dev}}
"""


class TokenTests(WritingTestCase):
    async def created(self) -> str:
        """The id of the token, once it was made."""
        said = await self.tctl("create", self.file(TOKEN))
        found = re.fullmatch(r'token "([0-9a-f]{12})" has been created\n', said)
        assert found is not None, said
        return found[1]

    async def test_create(self) -> None:
        """Its name is the secret, which is printed nowhere; with -f what it allows is changed."""
        name = await self.created()
        self.assertIn("With -f it is replaced.", await self.refused("create", self.file(TOKEN)))
        wider = self.file(TOKEN.replace("[node]", "[node, proxy]"))
        self.assertEqual(await self.tctl("create", "-f", wider), f'token "{name}" has been updated\n')
        (value,) = yaml.safe_load_all(await self.tctl("get", f"token/{name}", form="yaml"))
        self.assertEqual((value["metadata"]["name"], value["spec"]["roles"]), (name, ["Node", "Proxy"]))

    async def test_again(self) -> None:
        """What is printed takes the place of what there is, and is no secret for another one."""
        name = await self.created()
        printed = await self.tctl("get", f"token/{name}", form="yaml")
        self.assertIn("already. With -f it is replaced.", await self.refused("create", self.file(printed)))
        self.assertIn("has been updated", await self.tctl("create", "-f", self.file(printed)))
        await self.tctl("rm", f"token/{name}")
        self.assertIn("write a secret there", await self.refused("create", self.file(printed)))

    async def test_edit(self) -> None:
        """The editor gets it by its id."""
        name = await self.created()
        script = Path(self.mktemp())
        script.write_text("#!/bin/sh\nsed -i 's/env: dev/env: prod/' $1\n")
        script.chmod(0o700)
        self.patch(os, "environ", {**os.environ, "VISUAL": str(script.absolute())})
        self.assertEqual(await self.tctl("edit", f"token/{name}"), f'token "{name}" has been updated\n')
        self.assertIn("env: prod", await self.tctl("get", f"token/{name}", form="yaml"))

    async def test_refused(self) -> None:
        """Keys that no token has, no roles, an id for a secret; and nodes, which make themselves."""
        for text, reason in (
            (TOKEN.replace("labels", "label"), "Document 1, line 4: token.spec.'label' is not known."),
            (TOKEN.replace("roles: [node], ", ""), "Document 1, line 4: missing parameter token.spec.roles"),
            (TOKEN.replace("a-secret-of-mine", "0123456789ab"), "is the id of a token: write a secret there"),
            ("kind: node\nmetadata: {name: web1}\n", "Document 1, line 1: A node makes itself: it joins with a token"),
        ):
            self.assertIn(reason, await self.refused("create", self.file(text)))


class SettingsTests(WritingTestCase):
    async def test_get_and_edit(self) -> None:
        """What there is one of is shown, edited without a name, and refused where it is not known."""
        self.assertIn("second_factor", await self.tctl("get", "cap"))
        script = Path(self.mktemp())
        script.write_text("#!/bin/sh\nsed -i 's/second_factor: otp/second_factor: \"off\"/' $1\n")
        script.chmod(0o700)
        self.patch(os, "environ", {**os.environ, "VISUAL": str(script.absolute())})
        said = await self.tctl("edit", "cluster_auth_preference")
        self.assertEqual(said, 'cluster_auth_preference "cluster-auth-preference" has been updated\n')
        (value,) = yaml.safe_load_all(await self.tctl("get", "cluster-auth-preference", form="yaml"))
        self.assertEqual(value["spec"], {"type": "local", "second_factor": "off"})

    async def test_create(self) -> None:
        """There is always one, so that it takes -f; what is wrong in it is found, and changes nothing."""
        text = "kind: cluster_config\nversion: v3\nmetadata: {name: cluster-config}\nspec: {client_idle_timeout: 900}\n"
        sentence = await self.refused("create", self.file(text))
        self.assertIn("There is always one cluster_config. With -f it is replaced.", sentence)
        sentence = await self.refused("create", "-f", self.file(text.replace("name: cluster-config", "name: another")))
        there_is = "cluster_config.metadata.name: there is one cluster_config, and it is called cluster-config."
        self.assertEqual(sentence, f"Document 1, line 3: {there_is}")
        await self.tctl("create", "-f", self.file(text))
        (value,) = yaml.safe_load_all(await self.tctl("get", "cluster_config", form="yaml"))
        self.assertEqual(value["spec"]["client_idle_timeout"], "15m")
        for written, shown in (("1h30m", "1h30m"), ("never", "0s"), ("5400", "1h30m")):
            await self.tctl("create", "-f", self.file(text.replace("900", written)))
            (value,) = yaml.safe_load_all(await self.tctl("get", "cluster_config", form="yaml"))
            self.assertEqual(value["spec"]["client_idle_timeout"], shown)
        sentence = await self.refused("create", "-f", self.file(text.replace("900", "soon")))
        self.assertIn("cluster_config.spec.client_idle_timeout: 'soon' is not a duration", sentence)
        sentence = await self.refused(
            "create", "-f", self.file(text.replace("client_idle_timeout: 900", "heartbeat_interval: never"))
        )
        self.assertIn("cluster_config.spec.heartbeat_interval has to be from 1 to 3600, and not 0.", sentence)
        sentence = await self.refused("create", "-f", self.file(text.replace("client_idle", "client_idel")))
        self.assertIn("cluster_config.spec.'client_idel_timeout' is not known.", sentence)


class CreateTests(WritingTestCase):
    async def test_create(self) -> None:
        """The documents of a file, in their order; again with -f only."""
        path = self.file(f"{DEV}---\n{ALICE}")
        self.assertEqual(
            await self.tctl("create", path), 'role "dev" has been created\nuser "alice" has been created\n'
        )
        sentence = await self.refused("create", path)
        self.assertEqual(sentence, "Document 1, line 1: The role 'dev' exists already. With -f it is replaced.")
        self.assertEqual(
            await self.tctl("create", "-f", path), 'role "dev" has been updated\nuser "alice" has been updated\n'
        )

    async def test_kubernetes(self) -> None:
        """What nothing here goes by is kept, and that is said."""
        role = DEV.replace("name: dev", "name: k8s").replace("logins:", "kubernetes_groups: ['*']\n    logins:")
        note = "NOTE: nothing here goes by kubernetes_groups and kubernetes_users, of k8s.\n"
        path = self.file(f"{role}---\n{DEV}")
        made = 'role "k8s" has been created\nrole "dev" has been created\n'
        self.assertEqual(await self.tctl("create", path), made + note)
        (found,) = yaml.safe_load_all(await self.tctl("get", "role/k8s", form="yaml"))
        self.assertEqual(found["spec"]["allow"]["kubernetes_groups"], ["*"])

    async def test_expired(self) -> None:
        """A role that is over when it is made denies nothing, which nobody would notice: the date lacks its dashes."""
        for expires, note in (
            ("20300101", "NOTE: what has expired neither allows nor denies anything: old.\n"),
            ("2100-01-01", ""),
        ):
            role = DEV.replace("name: dev", f"name: old, expires: {expires}")
            said = await self.tctl("create", "-f", self.file(role))
            self.assertEqual(said.partition("\n")[2], note)

    async def test_standard_input(self) -> None:
        self.patch(sys, "stdin", io.StringIO(DEV))
        self.assertEqual(await self.tctl("create"), 'role "dev" has been created\n')

    async def test_error_changes_nothing(self) -> None:
        """A mistake in the last document is found before the first one is sent."""
        path = self.file(f"{DEV}---\n{DEV.replace('name: dev', 'name: ops').replace('logins:', 'login:')}")
        sentence = await self.refused("create", path)
        self.assertEqual(sentence, "Document 2, line 16: role.spec.allow.'login' is not known.")
        self.assertNotIn("dev", await self.names("roles"))

    async def test_users_with_mistakes(self) -> None:
        """A misspelt key would make a user without roles; secrets would be taken, and not kept."""
        for key, said in (
            ("rolls: [dev]", "user.spec.'rolls' is not known."),
            ("local_auth: {}", "user.spec.local_auth: passwords and second factors come from no file;"),
        ):
            text = f"kind: user\nversion: v2\nmetadata: {{name: eve}}\nspec:\n  {key}\n"
            sentence = await self.refused("create", self.file(text))
            self.assertTrue(sentence.startswith(f"Document 1, line 5: {said}"), sentence)
        self.assertNotIn("eve", await self.names("users"))

    async def test_what_auth_refuses(self) -> None:
        """Auth's refusals name the document, too."""
        sentence = await self.refused("create", self.file(ALICE.replace("[dev]", "[nobody]")))
        self.assertEqual(
            sentence,
            "Document 1, line 1: There is no role 'nobody'; 'tctl get roles' lists those that there are.",
        )

    async def test_what_was_done_before(self) -> None:
        """Where auth refuses a document, those before it were saved, and that is said."""
        sentence = await self.refused("create", self.file(f"{DEV}---\n{ALICE.replace('[dev]', '[nobody]')}"))
        self.assertRegex(sentence, "^Document 2, line [0-9]+: There is no role 'nobody'")
        self.assertTrue(sentence.endswith(' Before it: role "dev" has been created.'), sentence)

    async def test_files_that_cannot_be_read(self) -> None:
        self.assertIn("cannot be read: No such file", await self.refused("create", "/nowhere/x.yaml"))
        path = Path(self.mktemp())
        path.write_bytes(b"\xff\xfe")
        self.assertIn("is not text in UTF-8", await self.refused("create", str(path)))


class PlanTests(WritingTestCase):
    async def test_plan(self) -> None:
        """Who gains and loses what, and nothing is changed."""
        await self.host.join(WEB1)
        await self.tctl("create", self.file(f"{DEV}---\n{ALICE}"))
        wider = self.file(DEV.replace("env: dev", "env: prod").replace("ubuntu", "ubuntu, web"))
        text = await self.tctl("create", "--plan", wider)
        self.assertEqual(
            text.splitlines(),
            [
                "Users looked at: 1. Logins gained: 2, lost: 0. Nothing was changed.",
                "",
                "Change User  Login  Node By role",
                "------ ----- ------ ---- -------",
                "gained alice ubuntu web1 dev",
                "gained alice web    web1 dev",
            ],
        )
        await self.tctl("create", "-f", wider)
        found = json.loads(await self.tctl("create", "--plan", self.file(DEV), form="json"))
        self.assertEqual([each["login"] for each in found["lost"]], ["ubuntu", "web"])
        self.assertEqual(
            await self.tctl("create", "--plan", wider),
            "Users looked at: 0. Logins gained: 0, lost: 0. Nothing was changed.\n",
        )

    async def test_other_kinds(self) -> None:
        lock = "kind: lock\nmetadata: {name: l}\nspec: {target: {user: alice}}\n"
        sentence = await self.refused("create", "--plan", self.file(f"{DEV}---\n{lock}"))
        self.assertEqual(sentence, "Document 2 is a lock; a plan is about roles and users.")

    def test_cut(self) -> None:
        """A list that is cut says so."""
        row = {"user": "a", "login": "\x1b[2J", "node": "n", "role": "r"}
        text = plan_table({"gained": [row], "lost": [], "counts": {"users": 1, "gained": 5, "lost": 0}})
        self.assertIn("The list is cut; the counts are whole.", text)
        self.assertNotIn("\x1b", text)


class LastAdministratorTests(WritingTestCase):
    async def test_forced(self) -> None:
        """The last who may change roles and users goes when it is said twice."""
        boss = ALICE.replace("[dev]", "[admin]").replace("alice", "boss")
        await self.tctl("create", self.file(boss))
        less = self.file(boss.replace("[admin]", "[access]"))
        with self.assertRaises(BadParameter) as caught:
            await self.tctl("create", "-f", less)
        self.assertIn("That would leave nobody who may change roles and users.", caught.exception.sentence)
        with self.assertRaises(LastAdministrator):
            await self.tctl("rm", "user/boss")
        self.assertEqual(await self.tctl("create", "-ff", less), 'user "boss" has been updated\n')
        await self.tctl("create", "-f", self.file(boss))
        self.assertEqual(await self.tctl("rm", "--force", "user/boss"), "user boss has been deleted\n")

    async def test_forced_lock(self) -> None:
        """A lock on the last of them is refused, and made where it is forced, as the refusal says."""
        await self.tctl("users", "add", "boss", "--roles=admin")
        lock = self.file("kind: lock\nversion: v2\nmetadata: {name: l}\nspec: {target: {user: boss}}\n")
        for words, forced in ((("lock", "--user=boss"), "--force"), (("create", "-f", lock), "-f")):
            with self.assertRaises((BadParameter, LastAdministrator)) as caught:
                await self.tctl(*words)
            self.assertIn("That would leave nobody who may change roles and users.", caught.exception.sentence)
            self.assertIn("boss" if words[0] == "lock" else 'lock "l"', await self.tctl(*words, forced))
            (found,) = await self.names("locks")
            await self.tctl("rm", f"lock/{found}")

    async def test_forced_edit(self) -> None:
        await self.tctl("users", "add", "boss", "--roles=admin")
        script = Path(self.mktemp())
        script.write_text("#!/bin/sh\nsed -i 's/- admin/- access/' $1\n")
        script.chmod(0o700)
        self.patch(os, "environ", {**os.environ, "VISUAL": str(script.absolute())})
        self.assertIn("That would leave nobody who may change roles", await self.refused("edit", "user/boss"))
        self.assertIn("has been updated", await self.tctl("edit", "--force", "user/boss"))


class ReadingTests(WritingTestCase):
    async def test_get(self) -> None:
        """What is printed can be created again, and says which revision it is."""
        await self.tctl("create", self.file(DEV))
        text = await self.tctl("get", "role/dev", form="yaml")
        (found,) = documents.read(text)
        self.assertEqual(found.name, "dev")
        self.assertIn("id:", text)
        self.assertEqual(await self.tctl("create", "-f", self.file(text)), 'role "dev" has been updated\n')
        sentence = await self.refused("create", "-f", self.file(text))
        self.assertIn("was changed meanwhile", sentence)

    async def test_tables(self) -> None:
        await self.tctl("create", self.file(f"{DEV}---\n{ALICE}"))
        rows = (await self.tctl("get", "role/dev")).splitlines()
        self.assertEqual(rows[2].split(), ["dev", "ubuntu", "env=dev"])
        self.assertEqual((await self.tctl("get", "users")).splitlines()[2].split(), ["alice", "dev", "alice"])

    async def test_built_in_roles(self) -> None:
        """They are listed with the others."""
        self.assertEqual(await self.names("roles"), ["admin", "access", "auditor", "robot"])

    async def test_remove(self) -> None:
        await self.tctl("create", self.file(DEV))
        self.assertEqual(await self.tctl("rm", "role/dev"), "role dev has been deleted\n")
        self.assertNotIn("dev", await self.names("roles"))
        self.assertEqual(await self.refused("rm", "role/dev"), "There is no role 'dev'.")
        self.assertEqual(await self.refused("get", "user/bob"), "There is no user 'bob'; 'tctl get user' lists them.")


class EditTests(WritingTestCase):
    def editor(self, script: str) -> None:
        """An editor that does this to the file ``$1``."""
        path = Path(self.mktemp()).absolute()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        before = os.environ.get("VISUAL")
        os.environ["VISUAL"] = str(path)
        self.addCleanup(lambda: os.environ.pop("VISUAL") if before is None else os.environ.update(VISUAL=before))

    async def test_edit(self) -> None:
        await self.tctl("create", self.file(DEV))
        self.editor('sed -i s/ubuntu/debian/ "$1"')
        self.assertEqual(await self.tctl("edit", "role/dev"), 'role "dev" has been updated\n')
        self.assertIn("debian", await self.tctl("get", "role/dev"))

    async def test_nothing_changed(self) -> None:
        await self.tctl("create", self.file(DEV))
        self.editor("exit 0")
        self.assertEqual(await self.tctl("edit", "role/dev"), "Nothing was changed.\n")

    async def test_mistake(self) -> None:
        """What was written is not lost with the refusal."""
        await self.tctl("create", self.file(DEV))
        self.editor('sed -i s/logins/login/ "$1"')
        sentence = await self.refused("edit", "role/dev")
        self.assertIn("role.spec.allow.'login' is not known. What you wrote is in ", sentence)
        path = Path(sentence.rpartition(" ")[2].rstrip("."))
        self.addCleanup(path.unlink)
        self.assertIn("login:", path.read_text())
        self.assertEqual(path.stat().st_mode & 0o077, 0)

    async def test_changed_meanwhile(self) -> None:
        """Two people who edit the same do not overwrite one another."""
        await self.tctl("create", self.file(DEV))
        text = await self.tctl("get", "role/dev", form="yaml")
        path = self.file(text.replace("ubuntu", "debian"))
        self.editor(f'cp {path} "$1"; sed -i "s/id: \'[0-9]*\'/id: \'1\'/" "$1"')
        sentence = await self.refused("edit", "role/dev")
        self.assertIn("was changed meanwhile", sentence)
        Path(sentence.rpartition(" ")[2].rstrip(".")).unlink()

    async def test_another_name(self) -> None:
        await self.tctl("create", self.file(DEV))
        self.editor('sed -i s/dev/ops/ "$1"')
        sentence = await self.refused("edit", "role/dev")
        self.assertIn("An edit is of one resource, and this one stays role/dev.", sentence)
        Path(sentence.rpartition(" ")[2].rstrip(".")).unlink()

    async def test_editors_that_fail(self) -> None:
        await self.tctl("create", self.file(DEV))
        self.editor("exit 3")
        self.assertEqual(await self.refused("edit", "role/dev"), "The editor ended with 3; nothing was changed.")
        os.environ["VISUAL"] = "/nowhere/editor"
        self.assertIn("cannot be started", await self.refused("edit", "role/dev"))
        self.patch(os, "environ", {**os.environ, "VISUAL": "'vi"})
        self.assertIn("cannot be started: No closing quotation. Set EDITOR.", await self.refused("edit", "role/dev"))

    async def test_editor_that_writes_no_text(self) -> None:
        await self.tctl("create", self.file(DEV))
        script = Path(self.mktemp())
        script.write_text("#!/bin/sh\nprintf '\\377' > $1\n")
        script.chmod(0o700)
        self.patch(os, "environ", {**os.environ, "VISUAL": str(script.absolute())})
        self.assertRegex(await self.refused("edit", "role/dev"), r"tctl-role-\w+\.yaml is not text in UTF-8\.$")


class LockTests(WritingTestCase):
    async def test_lock(self) -> None:
        """A lock has a name by which it is removed, and people read its message."""
        await self.tctl("users", "add", "mallory")
        text = await self.tctl("lock", "--user=mallory", "--ttl=1h", "--message=call the desk")
        self.assertRegex(text, r"^Locked user=mallory until .* UTC\. To unlock: tctl rm lock/[0-9a-f-]{36}\n$")
        row = (await self.tctl("get", "locks")).splitlines()[2]
        self.assertIn("user=mallory", row)
        self.assertTrue(row.endswith("call the desk"))
        self.assertIn("has been deleted", await self.tctl(*text.split()[-2:]))
        self.assertEqual(len((await self.tctl("get", "locks")).splitlines()), 2)

    async def test_for_good(self) -> None:
        text = await self.tctl("lock", "--login=root", "--node=web1")
        self.assertIn("Locked login=root,node=web1 until it is removed.", text)

    async def test_mistyped(self) -> None:
        """A name that nobody has is locked all the same, and that it is nobody's is said."""
        note = "NOTE: no {} '{}' is known. If the name is mistyped, nobody is locked out.\n"
        for target in ("user", "role", "node"):
            text = await self.tctl("lock", f"--{target}=nobody")
            self.assertTrue(text.startswith(f"Locked {target}=nobody"), text)
            self.assertIn(note.format(target, "nobody"), text)
        for words in (["--role=access"], ["--login=nobody"], ["--user=break-glass:ops"]):
            self.assertNotIn("NOTE", await self.tctl("lock", *words))
