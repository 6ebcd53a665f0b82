"""Logins by real clients that are more than one certificate: OpenSSH, Paramiko and AsyncSSH."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import asyncssh
import paramiko  # type: ignore[import-untyped]  # it has no types
from attrs import define, evolve, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.threads import deferToThread

from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.account import lookup
from teleport_conch.ssh.factory import ServerFactory, ServerLimits
from teleport_conch.ssh.login.admission import Bounds
from teleport_conch.ssh.login.policy import Answer, Ask, Attempt, Claim, LoginPolicy, Partial, Question
from tests.interop.requirements import require
from tests.interop.terminals import Terminal
from tests.ssh.engine import USER, Done, OnePerson, OpenSSHCase, Shells
from tests.ssh.streams import clock

CODE = "123 456"
ASKING = ("-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1")


@define
class Questions(LoginPolicy):
    """Two questions, the second of which may be seen; ``of`` is the policy that keeps the logins."""

    of: OnePerson
    banner: str = "Property of Example."

    def methods(self, user: str) -> Sequence[str]:
        return ("keyboard-interactive",)

    async def interact(self, attempt: Attempt, ask: Ask) -> Answer:
        given = await ask(Question("Code: "), Question("Colour: ", echo=True), name="Factor", instruction="Two things.")
        if given != (CODE, "blue"):
            raise AccessDenied("The answers are wrong.")
        await ask(instruction="Welcome.")
        self.of.logins.append(Shells(evolve(lookup(USER), home="/")))
        return self.of.logins[-1]


@define
class CertificateThenQuestions(OnePerson):
    """Both of them."""

    banner: str = "Property of Example."
    claims: list[Claim] = field(factory=list)

    async def login(self, claim: Claim) -> Answer:
        self.check(claim)
        self.claims.append(claim)
        return Partial(Questions(self))


class Person(asyncssh.SSHClient):
    """Answers both questions."""

    def kbdint_auth_requested(self) -> str:
        return ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str]:
        return [CODE, "blue"][: len(prompts)]


class LoginCase(OpenSSHCase):
    async def with_answers(self, *options: str, colour: str = "blue") -> Done:
        """OpenSSH, with a program that answers for the person."""
        path = self.folder / "askpass"
        path.write_text(f"#!/bin/sh\ncase \"$1\" in *Code*) echo '{CODE}';; *) echo {colour};; esac\n")
        path.chmod(0o700)
        return await self.at_web1(
            "echo in", options=[*ASKING, *options], SSH_ASKPASS=str(path), SSH_ASKPASS_REQUIRE="force", DISPLAY=":none"
        )

    def key(self) -> paramiko.PKey:
        key = paramiko.Ed25519Key.from_private_key_file(str(self.folder / "key"))
        key.load_certificate(str(self.folder / "key-cert.pub"))
        return key

    async def with_asyncssh(self, *client_keys: object) -> str:
        async with await asyncssh.connect(
            "127.0.0.1",
            self.port,
            config=None,
            username=USER,
            known_hosts=None,
            client_factory=Person,
            client_keys=list(client_keys) or None,
            agent_path=None,
            login_timeout=20,
        ) as connection:
            done = await connection.run("echo in")
        return str(done.stdout)


class QuestionsTests(LoginCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory.login_policy = Questions(self.policy)

    async def test_openssh(self) -> None:
        """A person without a key is asked, sees the banner, and logs in."""
        done = await self.with_answers("-o", "PreferredAuthentications=keyboard-interactive")
        self.assertEqual((done.out, done.code), (b"in\n", 0), done.err)
        self.assertIn(b"Property of Example.", done.err)

    async def test_openssh_refused(self) -> None:
        """A wrong answer does not."""
        done = await self.with_answers(colour="red")
        self.assertEqual((done.out, done.code), (b"", 255))
        self.assertIn(b"Permission denied (keyboard-interactive).", done.err)

    async def test_on_a_terminal(self) -> None:
        """The same where the person types: what they type is seen only where it may be."""

        def talk() -> bytes:
            command = (self.ssh, "-F", str(self.folder / "config"), *ASKING, "web1", "echo in")
            with Terminal(*command) as terminal:
                seen = terminal.read_until(b"Code: ")
                terminal.type(f"{CODE}\n")
                seen += terminal.read_until(b"Colour: ")
                terminal.type("blue\n")
                self.assertEqual(terminal.ended(), 0)
                return seen + terminal.seen

        seen = await deferToThread(talk)
        for text in (b"Property of Example.", b"Factor", b"Two things.", b"blue\r\n", b"Welcome.", b"\nin\r\n"):
            self.assertIn(text, seen)
        self.assertNotIn(CODE.encode(), seen)

    async def test_paramiko(self) -> None:
        def talk() -> list[str]:
            seen: list[str] = []

            def answer(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
                seen.extend([title, instructions, *(f"{text}{echo}" for text, echo in prompts)])
                return [CODE, "blue"][: len(prompts)]

            transport = paramiko.Transport(("127.0.0.1", self.port))
            transport.start_client(timeout=20)
            self.assertEqual(transport.auth_interactive(USER, answer), [])
            seen.append(transport.get_banner().decode())
            transport.close()
            return seen

        seen = await deferToThread(talk)
        self.assertEqual(
            seen, ["Factor", "Two things.", "Code: False", "Colour: True", "", "Welcome.", "Property of Example.\r\n"]
        )

    async def test_asyncssh(self) -> None:
        done = await deferToThread(asyncio.run, self.with_asyncssh())
        self.assertEqual(done, "in\n")


class StepsTests(QuestionsTests):
    """The same behind a certificate."""

    def setUp(self) -> None:
        super().setUp()
        self.policy = CertificateThenQuestions()
        self.factory.login_policy = self.policy

    async def test_openssh(self) -> None:
        """OpenSSH goes on to the questions by itself, as it is told what is left."""
        done = await self.with_answers()
        self.assertEqual((done.out, done.code), (b"in\n", 0), done.err)
        verbose = await self.with_answers("-v")
        self.assertIn(b'Authenticated using "publickey" with partial success.', verbose.err)
        (proof, _) = [claim.proof for claim in self.claims()]
        assert proof is not None
        self.assertNotEqual(proof.host_key, b"", "OpenSSH binds its login to the host key")

    def claims(self) -> list[Claim]:
        assert isinstance(self.policy, CertificateThenQuestions)
        return self.policy.claims

    async def test_openssh_refused(self) -> None:
        """The certificate alone is not enough, nor the answers alone."""
        done = await self.with_answers(colour="red")
        self.assertIn(b"Permission denied (keyboard-interactive).", done.err)
        done = await self.with_answers("-o", "PreferredAuthentications=keyboard-interactive")
        self.assertIn(b"Permission denied (publickey).", done.err)
        self.assertEqual((done.out, self.policy.logins), (b"", []))

    async def test_paramiko(self) -> None:
        def talk() -> list[list[str]]:
            transport = paramiko.Transport(("127.0.0.1", self.port))
            transport.start_client(timeout=20)
            left = [transport.auth_publickey(USER, self.key())]
            left.append(transport.auth_interactive(USER, lambda *asked: [CODE, "blue"][: len(asked[2])]))
            transport.close()
            return left

        self.assertEqual(await deferToThread(talk), [["keyboard-interactive"], []])

    async def test_asyncssh(self) -> None:
        pair = (str(self.folder / "key"), str(self.folder / "key-cert.pub"))
        done = await deferToThread(asyncio.run, self.with_asyncssh(pair))
        self.assertEqual(done, "in\n")


class ManyKeysTests(LoginCase):
    def others(self, count: int) -> list[str]:
        """The paths of keys that open nothing."""
        paths = []
        for number in range(count):
            self.write(f"other{number}", keys.ssh_private_pem(Ed25519PrivateKey.generate()))
            paths.append(str(self.folder / f"other{number}"))
        return paths

    async def with_agent(self, *files: str) -> Done:
        """Logs in with all keys of an agent, the one with the certificate added last."""
        agent, add = require("ssh-agent", "openssh-client"), require("ssh-add", "openssh-client")
        kept = [line for line in self.config().splitlines() if not line.startswith("  Identit")]
        self.write("agent_config", "\n".join([*kept, "  IdentityAgent SSH_AUTH_SOCK", "  IdentityFile none\n"]))
        command = f"{add} -q {' '.join(files)} && {self.ssh} -vF {self.folder}/agent_config web1 echo in"
        return await self.program(agent, "/bin/sh", "-c", command)

    async def test_twenty(self) -> None:
        """An agent offers twenty keys, the last of which is the right one."""
        done = await self.with_agent(*self.others(18), str(self.folder / "key"))
        self.assertEqual((done.out, done.code), (b"in\n", 0), done.err)
        self.assertEqual(done.err.count(b"Offering public key"), 20)

    async def test_too_many(self) -> None:
        """With one more, the person reads what to do."""
        done = await self.with_agent(*self.others(19), str(self.folder / "key"))
        self.assertEqual((done.out, done.code), (b"", 255))
        self.assertIn(b"too many keys were offered; name one with IdentityFile and IdentitiesOnly=yes", done.err)

    async def test_asyncssh(self) -> None:
        """AsyncSSH offers before it signs as well."""
        pair = (str(self.folder / "key"), str(self.folder / "key-cert.pub"))
        self.assertEqual(await deferToThread(asyncio.run, self.with_asyncssh(*self.others(18), pair)), "in\n")


class LimitsTests(LoginCase):
    async def test_what_people_read(self) -> None:
        """A client that is one too many reads which limit it met."""
        limits = ServerLimits(bounds=Bounds(per_source_max_startups=1, prefix="teleport.connection_limits."))
        factory = ServerFactory(clock, self.policy, self.factory.host_keys, limits)
        self.addCleanup(self.hang_up, factory)
        port = self.listen(factory)
        with socket.create_connection(("127.0.0.1", port)):
            await self.until(lambda: len(factory.connections) == 1)
            done = await self.at_web1("echo in", options=["-p", str(port)])
            self.assertEqual((done.out, done.code), (b"", 255))
            self.assertIn(b"127.0.0.1 has 1 connections that are not logged in, which is the limit", done.err)
            self.assertIn(b"(teleport.connection_limits.per_source_max_startups).", done.err)
        await self.until(lambda: not factory.connections)
        done = await self.at_web1("echo in", options=["-p", str(port)])
        self.assertEqual((done.out, done.code), (b"in\n", 0), done.err)
