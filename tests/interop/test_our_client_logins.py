"""Our SSH client logs in to OpenSSH's ``sshd``, and to AsyncSSH with what ``sshd`` asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IReactorUNIX

from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.client.agent_client import connect_agent
from teleport_conch.ssh.client.auth import Credentials, LoginRefused, Questions
from tests.interop.openssh_server import (
    KEY_TYPES,
    USER,
    certify,
    make_key,
    start_agent,
)
from tests.interop.our_client import ClientCase, start_asyncssh
from tests.ssh.streams import clock, tcp


class LoginTests(ClientCase):
    async def test_keys(self) -> None:
        """Keys of each type; RSA signs with SHA-2."""
        self.server.start(self)
        for kind, bits in (("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")):
            name = f"user_{kind}{bits}"
            self.server.authorize(make_key(self.folder / name, kind, *(["-b", bits] if bits else [])))
            client = await self.connected(self.options(self.identity(name)))
            client.close()
        await self.until(lambda: self.server.said("Accepted publickey") == 5)  # written by another process

    async def test_certificates(self) -> None:
        """Certificates over keys of each type."""
        self.server.start(self)
        for kind in KEY_TYPES:
            make_key(self.folder / f"certified_{kind}", kind)
            public = self.folder / f"certified_{kind}.pub"
            certificate = certify(self.folder / "user_ca", public, "-n", USER, "-V", "-1m:+1h")
            client = await self.connected(self.options(self.identity(f"certified_{kind}", certificate)))
            client.close()
        self.assertEqual(self.server.said("-CERT SHA256:"), 3)

    async def test_the_second_key(self) -> None:
        """A key that is not wanted is no end; the one behind it is."""
        self.server.start(self)
        make_key(self.folder / "unknown")
        await self.connected(self.options(self.identity("unknown"), self.identity()))

    async def test_agent(self) -> None:
        """Keys and certificates that an agent holds, RSA among them."""
        self.server.start(self)
        names = [f"agent_{kind}" for kind in KEY_TYPES]
        for name, kind in zip(names, KEY_TYPES, strict=True):
            self.server.authorize(make_key(self.folder / name, kind))
        make_key(self.folder / "held")
        certify(self.folder / "user_ca", self.folder / "held.pub", "-n", USER, "-V", "-1m:+1h")
        path = start_agent(self, self.folder, *(self.folder / name for name in (*names, "held")))
        endpoint = UNIXClientEndpoint(cast(IReactorUNIX, installed_reactor), str(path))
        agent = await connect_agent(clock, endpoint)
        self.addCleanup(agent.close)
        identities = await agent.identities()
        self.assertEqual(len(identities), 5)
        logins = 0
        for identity in identities:
            if "ssh-ed25519 " in identity.name and "held" in identity.name:
                continue
            try:
                client = await self.connected(self.options(identity))
            except LoginRefused:
                self.assertEqual(identity.blob, self.identity("held").blob)
                continue
            client.close()
            logins += 1
        self.assertEqual(logins, 4)

    async def test_refused(self) -> None:
        """The sentence says what the server takes and what was tried; the server's own limit says so, too."""
        self.server.start(self, MaxAuthTries=2)
        make_key(self.folder / "unknown")
        unknown = self.identity("unknown")
        sentence = await self.refused(LoginRefused, self.options(unknown))
        self.assertEqual(sentence, f"The server does not let '{USER}' in. It takes: publickey. Tried: {unknown.name}.")
        sentence = await self.refused(ConnectionProblem, self.options(unknown, unknown, unknown))
        self.assertIn("[web1]:3022 ended the connection: Too many authentication failures", sentence)

    async def test_password_and_questions(self) -> None:
        """Passwords and questions, the first of them wrong, and the server's texts."""
        port = start_asyncssh(self, self.folder, "password", "questions")
        self.known = f"[web1]:3022 {self.server.public('host_ed25519')}\n"
        asked: list[Questions] = []
        answers = [("wrong", "0"), ("secret", "123456")]
        passwords = ["wrong", "secret"]

        async def answer(questions: Questions) -> Sequence[str]:
            asked.append(questions)
            return answers.pop(0)

        async def password() -> str:
            return passwords.pop(0)

        for credentials in (Credentials("alice", answer=answer), Credentials("alice", password=password)):
            options = evolve(self.options(), credentials=credentials)
            client = await self.connected(options, TCP4ClientEndpoint(tcp, "127.0.0.1", port))
            client.close()
        self.assertEqual((answers, passwords), ([], []))
        self.assertEqual((asked[0].name, asked[0].instruction), ("Two things", "Answer both."))

    async def test_two_steps(self) -> None:
        """A key, and then another one, where the server wants both."""
        self.server.authorize(make_key(self.folder / "second"))
        self.server.start(self, AuthenticationMethods="publickey,publickey")
        await self.connected(self.options(self.identity(), self.identity("second")))
        sentence = await self.refused(LoginRefused)
        self.assertIn("It takes: publickey. Tried: ssh-ed25519 SHA256:", sentence)

    async def test_banner(self) -> None:
        """The server's text before the login, without what would move a cursor."""
        (self.folder / "banner").write_bytes(b"\x1b[31mAuthorised people only.\x07\n")
        self.server.start(self, Banner=self.folder / "banner")
        banners: list[str] = []
        options = self.options()
        await self.connected(evolve(options, credentials=evolve(options.credentials, banner=banners.append)))
        self.assertEqual(banners, ["[31mAuthorised people only.\n"])
