"""A person's first day, over real TLS: invited, logged in, renewed, in a browser, and gone again; and a robot's."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from teleport_conch.auth.people import passwords
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.identity import UserIdentity
from teleport_conch.client.answers import UserCertificates
from teleport_conch.client.api import AuthClient
from teleport_conch.client.people import Credentials, LoggedIn
from teleport_conch.errors import AccessDenied, IdentityCopied, InviteUsed, LoginRefused, SessionEnded
from teleport_conch.resources.user import User
from tests.client.auth import CLUSTER
from tests.client.test_api import ApiTestCase

PASSWORD = "correct horse battery staple"
ADDRESS = "192.0.2.7"
KEY = keys.generate_tls_key()
SSH_LINE = keys.public_line(keys.public_blob(KEY.public_key()))
TLS_PEM = keys.public_pem(KEY.public_key())


def another() -> tuple[str, str]:
    """Public keys, as an SSH line and a PEM."""
    key = keys.generate_tls_key().public_key()
    return keys.public_line(keys.public_blob(key)), keys.public_pem(key)


class PersonTests(ApiTestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.patch(passwords, "SCRYPT_LOG2_N", 1)
        await super().setUp()
        self.proxy = self.auth.client(await self.auth.joined("Proxy", "gate"))

    def as_person(self, name: str, certificates: UserCertificates) -> AuthClient:
        """Who calls with these certificates."""
        return self.auth.client(
            UserIdentity(
                name,
                CLUSTER,
                keys.private_pem(KEY),
                certificates.ssh_certificate,
                certificates.tls_certificate,
                certificates.authorities,
            )
        )

    async def invited(self, name: str = "alice") -> tuple[str, ...]:
        """The recovery codes of a user who set password and second factor."""
        await self.admin.people.create_user(User(name, ("access",), {"logins": ("root",)}))
        invite = await self.admin.people.invite(name)
        opened = await self.proxy.people.open_invite(invite.token, ADDRESS)
        totp = TOTP(base64.b32decode(opened.otp_secret), 6, SHA1(), 30)  # noqa: S303 - what authenticators know
        code = totp.generate(int(self.auth.wall())).decode()
        accepted = await self.proxy.people.accept_invite(invite.token, PASSWORD, code, ADDRESS)
        with self.assertRaises(InviteUsed):
            await self.proxy.people.open_invite(invite.token, ADDRESS)
        return accepted.recovery_codes

    async def log_in(self, code: str) -> LoggedIn:
        return await self.proxy.people.log_in(
            "alice",
            Credentials(PASSWORD, recovery_code=code),
            public_ssh_key=SSH_LINE,
            public_tls_key=TLS_PEM,
            client_address=ADDRESS,
            ttl_s=3600.0,
        )

    async def test_first_day(self) -> None:
        """Each step with the client of whoever does it."""
        codes = await self.invited()
        logged_in = await self.log_in(codes[0])
        self.assertEqual((logged_in.user, logged_in.roles), ("alice", ("access",)))
        self.assertEqual(
            float(SSHCertificate.from_line(logged_in.certificates.ssh_certificate).valid_before), logged_in.expires_at
        )
        person = self.as_person("alice", logged_in.certificates)
        self.assertEqual((await person.status()).cluster_name, CLUSTER)
        renewed = await person.people.renew(SSH_LINE, TLS_PEM)
        self.assertLessEqual(renewed.expires_at, logged_in.expires_at)
        with self.assertRaises(LoginRefused):
            await self.log_in(codes[0])
        begun = await self.proxy.people.open_web_session(
            "alice", Credentials(PASSWORD, recovery_code=codes[1]), ADDRESS
        )
        self.assertEqual((await self.proxy.people.web_session(begun.session, ADDRESS)).user, "alice")
        await self.admin.people.remove_user("alice")
        with self.assertRaises(SessionEnded):
            await self.proxy.people.web_session(begun.session, ADDRESS)
        with self.assertRaises(AccessDenied):
            await person.status()

    async def test_nobody_else_logs_people_in(self) -> None:
        """A node hands in no passwords, and neither does a person."""
        codes = await self.invited()
        node = self.auth.client(await self.auth.joined())
        person = self.as_person("alice", (await self.log_in(codes[0])).certificates)
        for client in (node, person):
            with self.assertRaises(AccessDenied):
                await client.people.open_web_session("alice", Credentials(PASSWORD), ADDRESS)

    async def test_a_robots_day(self) -> None:
        """Let in by a token, renewing; a copy of an old identity locks it."""
        made = await self.admin.bots.create("ci", ["access"], ["deploy"])
        first = await self.auth.client().bots.join(made.token, SSH_LINE, TLS_PEM)
        robot = self.as_person("bot-ci", first.login.certificates)
        second = await robot.bots.renew(SSH_LINE, TLS_PEM)
        self.assertEqual((first.generation, second.generation), (1, 2))
        again = await robot.bots.renew(SSH_LINE, TLS_PEM)  # it did not hear the answer
        self.assertEqual(again.generation, 2)
        with self.assertRaises(IdentityCopied):
            await robot.bots.renew(*another())
        [bot] = await self.admin.bots.all()
        self.assertEqual((bot.generation, bot.address), (2, "127.0.0.1"))
        with self.assertRaises(AccessDenied):
            await self.as_person("bot-ci", second.login.certificates).status()
        await self.admin.bots.remove("ci")
