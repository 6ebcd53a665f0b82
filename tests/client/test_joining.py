"""Joining: first the pin, then the token."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from teleport_conch.certs import keys
from teleport_conch.client.joining import identity_of, join
from teleport_conch.errors import (
    BadParameter,
    CertificateAuthorityUnknown,
    ClockSkew,
    ConnectionProblem,
    PinMalformed,
    PinMismatch,
    TokenUnknown,
)
from teleport_conch.resources.joining import JoinAnswer, JoinRequest
from tests.client import certificates
from tests.client.auth import CLUSTER, SSH_KEY, TLS_KEY, TOKEN, Auth
from tests.client.servers import Server, as_json, the_reactor, unused_address


class JoinTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.auth = Auth(self)
        await self.auth.start()

    async def join(self, pin: str, *, token: str = TOKEN, authorities: tuple[str, ...] = ()) -> JoinAnswer:
        request = self.auth.request(token=token)
        return await join(the_reactor(), [self.auth.address], pin, request, authorities)

    async def test_pin(self) -> None:
        """With the pin that `tctl status` prints, in whatever letters."""
        for name, pin in (("web1", self.auth.pin), ("web2", "sha256:" + self.auth.pin[7:].upper())):
            answer = await join(the_reactor(), [self.auth.address], pin, self.auth.request(node_name=name))
            self.assertEqual((answer.cluster_name, answer.node_name), (CLUSTER, name))

    async def test_wrong_pin(self) -> None:
        """The token is not sent to a server of another authority."""
        with self.assertRaises(PinMismatch) as caught:
            await self.join("sha256:" + 64 * "0")
        self.assertIn("the authority was rotated since", caught.exception.sentence)
        self.assertIn("`tctl status`", caught.exception.sentence)
        self.assertEqual(list(self.auth.cluster.hosts), [])

    async def test_malformed_pin(self) -> None:
        """A pin that is none is refused before anything is sent."""
        for pin in ("sha256", "md5:00", "sha256:00", "sha256:" + 64 * "x"):
            with self.assertRaises(PinMalformed):
                await join(the_reactor(), [await unused_address()], pin, self.auth.request())

    async def test_known_authority(self) -> None:
        """Without a pin the authority of an earlier membership counts."""
        self.assertEqual((await self.join("", authorities=await self.auth.client().cacert())).cluster_name, CLUSTER)
        with self.assertRaises(CertificateAuthorityUnknown):
            await self.join("", authorities=certificates.TRUSTED)

    async def test_nothing_known(self) -> None:
        """Without either, the host joins all the same, and the log warns."""
        with capturedLogs() as events:
            await self.join("")
        (warned,) = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("Joining without a CA pin", warned["log_format"])
        self.assertIn("teleport.ca_pin", warned["log_format"])
        self.assertNotIn(TOKEN, str(events))

    async def test_token(self) -> None:
        """What auth thinks of the token is what is raised."""
        with self.assertRaises(TokenUnknown) as caught:
            await self.join(self.auth.pin, token="some other token")
        self.assertIn("can not join the cluster with role Node", caught.exception.sentence)
        self.assertNotIn("some other token", caught.exception.sentence)

    async def test_not_there(self) -> None:
        address = await unused_address()
        with self.assertRaises(ConnectionProblem) as caught:
            await join(the_reactor(), [address], self.auth.pin, self.auth.request())
        self.assertEqual(
            caught.exception.sentence,
            f'Cannot connect to the auth server: connection refused. Is the auth server running on "{address}"?',
        )

    async def test_clock(self) -> None:
        """Auth's certificate is from the future: our clock is behind, by so many seconds."""
        await self.auth.stop()
        auth = Auth(self, ahead_s=7200.0)
        await auth.start()
        with self.assertRaises(ClockSkew) as caught:
            await join(the_reactor(), [auth.address], auth.pin, auth.request())
        seconds = caught.exception.facts["seconds"]
        assert isinstance(seconds, int)
        self.assertTrue(7190 <= seconds <= 7260)
        self.assertTrue(
            caught.exception.sentence.startswith(f"The clock of this machine is {seconds} s behind the auth server's")
        )

    async def test_no_authorities(self) -> None:
        """A server that shows no authority, or too many, is none of ours."""
        for shown in ((), certificates.TRUSTED * 17):
            server = Server(self, as_json({"items": list(shown)}))
            with self.assertRaises(ConnectionProblem) as caught:
                await join(the_reactor(), [server.address], "", self.auth.request())
            self.assertEqual(
                caught.exception.sentence, f"The server shows {len(shown)} authorities, where 1 to 16 are due."
            )

    async def test_someone_in_between(self) -> None:
        """Who shows the true authority and cannot use it does not get the token."""
        shown = list(await self.auth.client().cacert())
        server = Server(self, as_json({"items": shown}))
        with self.assertRaises(CertificateAuthorityUnknown):
            await join(the_reactor(), [server.address], self.auth.pin, self.auth.request())


class IdentityTests(TestCase):
    async def test_of_another_key(self) -> None:
        """Certificates for another key than ours are no identity."""
        auth = Auth(self)
        await auth.start()
        request: JoinRequest = auth.request()
        answer = await auth.client().register(request)
        made = identity_of(answer, request, keys.ssh_private_pem(SSH_KEY), keys.private_pem(TLS_KEY))
        self.assertEqual((made.host_uuid, made.role), (request.host_uuid, "Node"))
        with self.assertRaises(BadParameter) as caught:
            identity_of(answer, request, keys.ssh_private_pem(keys.generate_ssh_key()), keys.private_pem(TLS_KEY))
        self.assertEqual(caught.exception.sentence, "The SSH certificate of this identity is not for its key.")
