"""``tctl users`` with a real auth service: what is printed, what is stored, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.people import passwords
from teleport_conch.auth.people.hashing_threads import HashingThreads
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.extensions import roles_of
from teleport_conch.cli import reach
from teleport_conch.cli.forms import read_instants
from teleport_conch.cli.links import PersonsLink, WebAddress
from teleport_conch.cli.views import user_table
from teleport_conch.client.api import AuthClient
from teleport_conch.client.people import Invite
from teleport_conch.client.tls import client_options
from teleport_conch.errors import AccessDenied, AlreadyExists, BadParameter, NotFound, PrincipalForbidden, TeleportError
from teleport_conch.resources.server import Presence, Server, State
from teleport_conch.resources.user import LoginLock, User
from tests.auth.people.case import code as totp_code
from tests.cli.auth_host import AuthHostTestCase, the_reactor

GATE = Server("proxy", str(uuid4()), "gate", web_addr="10.0.0.7:3080", web_public_addrs=("proxy.example.com:3080",))
INVITE = Invite("ab" * 16, "invite", 3600.0)
LINK = PersonsLink("alice", INVITE, 3600.0, WebAddress("proxy.example.com:3080", public=True), "sha256:00")


class UsersTests(AuthHostTestCase):
    async def listed(self) -> list[dict[str, object]]:
        found = json.loads(await self.tctl("users", "ls", form="json"))
        assert isinstance(found, list)
        for each in found:
            read_instants(each)
        return found

    async def fails(self, kind: type[TeleportError], sentence: str, *words: str) -> None:
        """A command that ends with this sentence."""
        with self.assertRaises(kind) as caught:
            await self.tctl(*words)
        self.assertEqual(caught.exception.sentence, sentence)

    async def test_add(self) -> None:
        """A user with the login of its name and the role access, and a link at the proxy's public address."""
        await self.host.join(GATE)
        text = await self.tctl("users", "add", "alice")
        pin = json.loads(await self.tctl("status", form="json"))["ca_pins"][0]
        self.assertRegex(text, r"(?m)^    https://proxy\.example\.com:3080/web/invite/[0-9a-f]{32}$")
        self.assertIn(f"    tsh login --proxy=proxy.example.com:3080 --user=alice --ca-pin={pin}\n", text)
        self.assertNotIn("WARNING", text)
        [user] = map(User.from_json, await self.listed())
        self.assertEqual((user.name, user.roles, user.traits), ("alice", ("access",), {"logins": ("alice",)}))
        self.assertEqual(user.created_by, "tctl on the auth host")

    async def test_add_with_all(self) -> None:
        """Roles, logins and traits as they are given; programs get the parts."""
        words = ("--roles=access,auditor", "--logins=root,ubuntu", "--traits=team=db,team=web,env=prod", "--ttl=2h")
        found = json.loads(await self.tctl("users", "add", "bob", *words, form="json"))
        self.assertEqual((found["user"], found["kind"]), ("bob", "invite"))
        self.assertEqual(found["url"], f"https://<proxy>:3080/web/invite/{found['token']}")
        self.assertEqual(
            found["warning"], "no proxy of this cluster serves people yet: put its address in place of <proxy>"
        )
        [user] = map(User.from_json, await self.listed())
        self.assertEqual(user.roles, ("access", "auditor"))
        self.assertEqual(user.traits, {"team": ("db", "web"), "env": ("prod",), "logins": ("root", "ubuntu")})

    async def test_kubernetes(self) -> None:
        """Traits, beside the others."""
        words = ("--k8s-users=bob,ops", "--k8s-groups=system:masters", "--traits=team=db")
        await self.tctl("users", "add", "bob", *words)
        [user] = map(User.from_json, await self.listed())
        kubernetes = {"kubernetes_users": ("bob", "ops"), "kubernetes_groups": ("system:masters",)}
        self.assertEqual(user.traits, {"team": ("db",), **kubernetes, "logins": ("bob",)})

    async def test_logins_as_teleport_has_them(self) -> None:
        await self.tctl("users", "add", "alice", "root,ubuntu")
        [user] = map(User.from_json, await self.listed())
        self.assertEqual(user.logins, ("root", "ubuntu"))

    async def test_add_refused(self) -> None:
        await self.tctl("users", "add", "alice")
        await self.fails(AlreadyExists, "The user 'alice' exists already.", "users", "add", "alice")
        no_role = "There is no role 'dba'; 'tctl get roles' lists those that there are."
        await self.fails(BadParameter, no_role, "users", "add", "bob", "--roles=dba")
        slash = (
            "The user name 'a/b' holds a comma, a wildcard, a slash, a percent sign, white space or a character that"
            " cannot be printed."
        )
        await self.fails(PrincipalForbidden, slash, "users", "add", "a/b")

    async def test_life_of_a_link(self) -> None:
        """One that auth would refuse makes no user without a link."""
        for words, bounds in (("add alice --ttl=49h", "1m to 48h"), ("reset alice --ttl=30s", "1m to 24h")):
            with self.assertRaises(SystemExit):
                await self.tctl("users", *words.split())
            self.assertIn(f"it lasts for {bounds}, and not for {words.rpartition('=')[2]}", self.err.getvalue())
        self.assertEqual(await self.listed(), [])

    async def test_who_may_not_see_where(self) -> None:
        """A link could be shown to nobody where its address may not be asked for: then none is made, and no user."""
        role = self.host.folder / "desk.yaml"
        rules = "[{resources: [user, bot], verbs: ['*']}]"
        role.write_text(f"kind: role\nversion: v3\nmetadata: {{name: desk}}\nspec: {{allow: {{rules: {rules}}}}}\n")
        await self.tctl("create", str(role))
        await self.tctl("users", "add", "bob", "--roles=desk", "--logins=bob")
        out = self.host.folder / "bob.identity"
        await self.tctl("auth", "sign", "--user=bob", "--roles=desk", "--logins=bob", "--ttl=1h", f"--out={out}")
        for words in (
            ("users", "add", "eve", "--roles=desk"),
            ("users", "reset", "bob"),
            ("bots", "add", "x", "--roles=desk"),
        ):
            with self.assertRaises(AccessDenied) as caught:
                await self.host.elsewhere("-i", str(out), f"--auth-server=127.0.0.1:{self.host.port}", *words)
            self.assertIn("is not authorized to read cluster_name", caught.exception.sentence)
        self.assertEqual([user["metadata"]["name"] for user in await self.listed()], ["bob"])  # type: ignore[index]

    async def test_list(self) -> None:
        self.assertEqual(await self.tctl("users", "ls"), "No users found\n")
        await self.tctl("users", "add", "alice", "--logins=root,alice")
        lines = (await self.tctl("users", "ls")).splitlines()
        self.assertEqual(lines[0].split("  ")[0], "User")
        self.assertEqual(lines[2].split(), ["alice", "access", "root,alice"])

    async def test_update(self) -> None:
        """What is not named stays."""
        await self.tctl("users", "add", "alice", "--traits=team=db")
        said = await self.tctl("users", "update", "alice", "--set-roles=auditor", "--set-logins=root")
        self.assertEqual(said, 'User "alice" has been updated with roles auditor and logins root\n')
        await self.tctl("users", "update", "alice", "--set-traits=env=prod")
        [user] = map(User.from_json, await self.listed())
        self.assertEqual((user.roles, user.traits), (("auditor",), {"env": ("prod",), "logins": ("root",)}))

    async def test_reset(self) -> None:
        """Another link, which says that it resets."""
        await self.tctl("users", "add", "alice")
        text = await self.tctl("users", "reset", "alice")
        self.assertIn('User "alice" has been reset.', text)
        self.assertIn("it is good once, for 8h:", text)
        self.assertRegex(text, "/web/reset/[0-9a-f]{32}\n")
        gone = "There is no user 'bob'; 'tctl users ls' lists them."
        await self.fails(NotFound, gone, "users", "reset", "bob")

    async def test_unlock(self) -> None:
        await self.tctl("users", "add", "alice")
        self.assertEqual(await self.tctl("users", "unlock", "alice"), 'User "alice" can log in again\n')

    async def test_remove(self) -> None:
        await self.tctl("users", "add", "alice")
        await self.tctl("users", "add", "bob")
        said = await self.tctl("users", "rm", "alice,bob")
        self.assertEqual(said, 'User "alice" has been deleted\nUser "bob" has been deleted\n')
        self.assertEqual(await self.listed(), [])

    async def test_remove_mistyped(self) -> None:
        """Of several names, one that nobody has leaves all of them alone."""
        await self.tctl("users", "add", "alice")
        await self.fails(NotFound, "There is no user 'bbo'.", "users", "rm", "alice,bbo")
        self.assertEqual(len(await self.listed()), 1)

    async def test_hashed_elsewhere(self) -> None:
        """In the service, a password is hashed by the threads that are there for it."""
        self.patch(passwords, "SCRYPT_LOG2_N", 4)
        where: list[int] = []
        real = HashingThreads.__call__

        def recorded(threads: HashingThreads, call: Callable[[], bytes]) -> Awaitable[bytes]:
            def hashed() -> bytes:
                where.append(threading.get_native_id())
                return call()

            return real(threads, hashed)

        self.patch(HashingThreads, "__call__", recorded)
        found = json.loads(await self.tctl("users", "add", "alice", form="json"))
        known = reach.find(self.host.config, (), None)
        assert known.identity is not None
        client = AuthClient(the_reactor, known.addresses, client_options(known.identity))
        opened = await client.people.open_invite(found["token"], "127.0.0.1")
        code = totp_code(opened.otp_secret, time.time())
        await client.people.accept_invite(found["token"], "correct horse battery staple", code, "127.0.0.1")
        await client.close()
        self.assertEqual(len(where), 1)
        self.assertNotIn(threading.get_native_id(), where)

    async def test_sign(self) -> None:
        """``tctl auth sign`` takes roles and logins of a stored user, and lasts longer if it is told so."""
        await self.tctl("users", "add", "alice", "--roles=access,auditor", "--logins=ubuntu")
        out = self.host.folder / "alice"
        await self.tctl("auth", "sign", "--user=alice", "--format=openssh", f"--out={out}", "--ttl=1000h")
        certificate = SSHCertificate.from_line((self.host.folder / "alice-cert.pub").read_text())
        self.assertEqual((certificate.principals, roles_of(certificate)), (("ubuntu",), ("access", "auditor")))
        self.assertGreater(certificate.valid_before - certificate.valid_after, 999 * 3600)
        await self.tctl("auth", "sign", "--user=alice", "--format=openssh", f"--out={out}", "--overwrite")
        certificate = SSHCertificate.from_line((self.host.folder / "alice-cert.pub").read_text())
        self.assertLess(certificate.valid_before - certificate.valid_after, 13 * 3600)

    async def test_sign_for_nobody(self) -> None:
        """Who is not stored needs logins."""
        sentence = "A certificate without principals is never signed: name at least one login."
        out = self.host.folder / "x"
        await self.fails(PrincipalForbidden, sentence, "auth", "sign", "--user=nobody", f"--out={out}")


class BotsTests(AuthHostTestCase):
    async def test_life(self) -> None:
        """Made, listed and removed; the command has the token and the pin."""
        await self.host.join(GATE)
        self.assertEqual(await self.tctl("bots", "ls"), "No robots found\n")
        text = await self.tctl("bots", "add", "ci", "--roles=access", "--logins=deploy")
        pin = json.loads(await self.tctl("status", form="json"))["ca_pins"][0]
        self.assertIn(f"    tsh bot --proxy=proxy.example.com:3080 --token-file=token --ca-pin={pin} --out=bot\n", text)
        self.assertRegex(text, "\n    [0-9a-f]{32}\n")
        self.assertIn("good once, for 1h:", text)
        lines = (await self.tctl("bots", "ls")).splitlines()
        self.assertEqual(lines[2].split(), ["ci", "access", "deploy", "never", "0"])
        self.assertEqual(await self.tctl("bots", "rm", "ci"), 'Robot "ci" has been deleted\n')
        self.assertEqual(await self.tctl("bots", "ls", form="json"), "[]\n")

    async def test_json(self) -> None:
        """Programs get the parts."""
        found = json.loads(await self.tctl("bots", "add", "ci", "--roles=access", "--ttl=2h", form="json"))
        self.assertNotIn(found["token"], found["command"])
        self.assertEqual(len(found["token"]), 32)
        self.assertEqual(found["bot"]["metadata"]["name"], "ci")


class LinkTests(SynchronousTestCase):
    def test_text(self) -> None:
        self.assertEqual(
            LINK.text(),
            'User "alice" has been created but requires a password. Share this link with the user, who sets password\n'
            "and second factor there; it is good once, for 1h:\n\n"
            f"    https://proxy.example.com:3080/web/invite/{'ab' * 16}\n\n"
            "Then the user logs in with:\n\n"
            "    tsh login --proxy=proxy.example.com:3080 --user=alice --ca-pin=sha256:00\n\n"
            "Please note:\n\n"
            "  - whoever has the link can be this user: send it in a way that only the user reads\n"
            "  - with --ca-pin a password goes to no other server than a proxy of this cluster\n",
        )

    def test_no_public_address(self) -> None:
        """Where a proxy listens is shown, and that people may not reach it there."""
        web = WebAddress.of([evolve(GATE, web_public_addrs=())])
        text = evolve(LINK, web=web).text()
        self.assertIn("    https://10.0.0.7:3080/web/invite/", text)
        self.assertIn("  - WARNING: no proxy has proxy_service.public_addr set,", text)

    def test_best_proxy(self) -> None:
        """A public address goes before one that is none, and a proxy that is there before one that is not."""
        online = Presence(State.ONLINE, 1.0)
        there = evolve(GATE, web_public_addrs=("there.example.com:443",), presence=online)
        bare = Server("proxy", "x", "bare", web_addr="10.0.0.8:3080", presence=online)
        self.assertEqual(WebAddress.of([bare, GATE, there]), WebAddress("there.example.com:443", public=True))
        self.assertEqual(WebAddress.of([bare]), WebAddress("10.0.0.8:3080"))
        self.assertEqual(WebAddress.of([Server("proxy", "x", "old")]), WebAddress())

    def test_inert(self) -> None:
        """What somebody put into a name does nothing in a terminal, and is one word of the command."""
        text = evolve(LINK, user="al\x1b[2Jice; reboot").text()
        self.assertNotIn("\x1b", text)
        self.assertIn("'--user=al\\x1b[2Jice; reboot'", text)
        self.assertNotIn("abab", repr(LINK))


class TableTests(SynchronousTestCase):
    def test_states(self) -> None:
        """Who cannot log in, and until when."""
        users = [
            User("alice", ("access",), {"logins": ("root",)}),
            User("bob", (), expires_at=5.0),
            User("carol", (), expires_at=3700.0),
            User("dave", (), lock=LoginLock(700.0)),
            User("eve", (), lock=LoginLock(50.0)),
        ]
        lines = user_table(users, 100.0).splitlines()[2:]
        states = [line.split(maxsplit=1)[1:] for line in lines]
        self.assertEqual(
            [state[0] if state else "" for state in states],
            ["access root", "expired", "expires in 1h", "locked out for 10m", ""],
        )
