"""Clients on the real transport, in memory, that try to log in."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.factory import ServerFactory, ServerLimits
from teleport_conch.ssh.login.policy import LoginPolicy
from tests.ssh.in_memory import Pair, sample_host_keys
from tests.ssh.logins import Client, SamplePolicy

REQUEST, FAILURE, SUCCESS, BANNER, PK_OK, INFO_REQUEST, INFO_RESPONSE = 50, 51, 52, 53, 60, 60, 61

AUTHENTICATION = range(50, 80)
"""The numbers of RFC 4252's messages; the connection behind them may have something to say at once."""

Messages = list[tuple[int, bytes]]


class Visitor(Pair):
    """A client whose requests wait for as long as their answers take."""

    def __init__(self, factory: ServerFactory, host: str = "192.0.2.7") -> None:
        super().__init__(factory=factory, client_address=IPv4Address("TCP", host, 50000))

    @property
    def session_id(self) -> bytes:
        assert self.client.sessionID is not None
        return self.client.sessionID

    @property
    def logged_in(self) -> bool:
        return isinstance(self.server.service, Connection)

    def ask(self, payload: bytes, number: int = REQUEST) -> Messages:
        """What user authentication answers to a request, in the time that a failure takes."""
        before = len(self.client.got)
        self.send(number, payload)
        assert isinstance(self.factory.clock, Clock)
        self.factory.clock.advance(0.1)
        self.pump()
        return [message for message in self.client.got[before:] if message[0] in AUTHENTICATION]

    def log_in_as(self, client: Client, user: bytes = b"root") -> Messages:
        return self.ask(client.request(user, session_id=self.session_id))


class VisitorCase(SynchronousTestCase):
    """A server with the sample policy, which knows the samples' authority, or another one."""

    def serve(self, policy: LoginPolicy | None = None, limits: ServerLimits | None = None) -> ServerFactory:
        self.policy = SamplePolicy()
        self.factory = ServerFactory(Clock(), policy or self.policy, sample_host_keys(), limits or ServerLimits())
        return self.factory

    def visitor(self, policy: LoginPolicy | None = None) -> Visitor:
        """A client of a new server, which may ask for a login."""
        visitor = Visitor(self.serve(policy))
        visitor.begin_authentication()
        visitor.client.got.clear()
        return visitor

    def assert_outside(self, visitor: Visitor) -> None:
        """Nobody is logged in, and no owner was made."""
        self.assertFalse(visitor.logged_in)
        self.assertEqual((self.policy.logged_in, self.policy.owner.asked), ([], []))

    def assert_refused(
        self, visitor: Visitor, answers: Messages, sentence: str = "", methods: str = "publickey"
    ) -> None:
        failure = (FAILURE, wire.text(methods) + wire.boolean(False))
        said = [(BANNER, wire.text(f"{sentence}\r\n") + wire.text("en"))] if sentence else []
        self.assertEqual(answers, [*said, failure])
        self.assert_outside(visitor)


def nothing(user: bytes = b"root") -> bytes:
    return wire.string(user) + wire.string(b"ssh-connection") + wire.string(b"none")


def interactive(user: bytes = b"root") -> bytes:
    return wire.string(user) + wire.string(b"ssh-connection") + wire.string(b"keyboard-interactive") + bytes(8)


def password(word: bytes, user: bytes = b"root") -> bytes:
    head = wire.string(user) + wire.string(b"ssh-connection") + wire.string(b"password")
    return head + wire.boolean(False) + wire.string(word)


def answers(*given: bytes) -> bytes:
    return wire.uint32(len(given)) + b"".join(map(wire.string, given))
