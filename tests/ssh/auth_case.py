"""User authentication without a transport under it: what every test of a login begins with."""

from __future__ import annotations

from twisted.conch.ssh import userauth as conch
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.login.userauth import FAILURE_S, UserAuth
from tests.certs import samples
from tests.ssh.logins import AuthRecorder, Client, SamplePolicy, ed25519_client


def failure(*methods: str, partial: bool = False) -> tuple[int, bytes]:
    """RFC 4252, section 5.1."""
    return conch.MSG_USERAUTH_FAILURE, wire.name_list(methods) + wire.boolean(partial)


FAILURE = failure("publickey")
SUCCESS = (conch.MSG_USERAUTH_SUCCESS, b"")
PLAIN = Client(samples.user_certificate(), b"ssh-ed25519", ed25519_client().sign)
NOTHING = wire.string(b"root") + wire.string(b"ssh-connection") + wire.string(b"none")


def banner(sentence: str) -> tuple[int, bytes]:
    return conch.MSG_USERAUTH_BANNER, wire.text(f"{sentence}\r\n") + wire.text("en")


class AuthCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.policy = SamplePolicy()
        self.transport = AuthRecorder(self.policy)
        self.clock = Clock()
        self.auth = UserAuth(self.clock)
        self.auth.transport = self.transport
        self.auth.serviceStarted()

    def ask(self, payload: bytes) -> None:
        """Sends a request, and waits for as long as a failure takes."""
        self.auth.packetReceived(conch.MSG_USERAUTH_REQUEST, payload)
        self.clock.advance(FAILURE_S)

    def assert_accepted(self, client: Client, user: bytes = b"root") -> None:
        self.setUp()
        self.ask(client.request(user))
        self.assertEqual((self.transport.sent, self.transport.disconnects), ([SUCCESS], []), client.algorithm)

    def assert_refused(self, payload: bytes, sentence: str) -> None:
        """Refused with this sentence, as a banner for the person and as an event for the log."""
        self.setUp()
        self.ask(payload)
        self.assertEqual(self.transport.sent, [banner(sentence), FAILURE])
        self.assertEqual([text for _, text in self.policy.refusals], [sentence])
        self.assert_nobody()

    def assert_nobody(self) -> None:
        self.assertEqual((self.transport.services, self.transport.successes, self.policy.logged_in), ([], 0, []))
