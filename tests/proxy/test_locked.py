"""Locks at the proxy: who or what is shut out is connected no more, and what was connected ends (threat 53)."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.access.directory import Directory
from teleport_conch.access.locks import Locks
from teleport_conch.errors import AccessDenied
from teleport_conch.proxy.door import NODES_FIRST_S
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from teleport_conch.ssh.connection.channel import Channel, ChannelRefused
from teleport_conch.ssh.connection.service import Connection
from tests.certs import samples
from tests.proxy.test_door import WEB1, DoorCase
from tests.references import unreferenced
from tests.ssh.recording import RecordingTransport

ALICE = f"user alice@{samples.CLUSTER}"
LOCKED = f"{ALICE} is not authorized to connect: locked by an administrator (ask the desk)"


def where_to(host: str) -> bytes:
    return wire.text(host) + wire.uint32(22) + wire.text("127.0.0.1") + wire.uint32(1)


class LockedTests(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.transport = RecordingTransport()
        self.connection = Connection(self.visitor)
        self.connection.transport = self.transport
        self.connection.serviceStarted()

    def lock(self, lock: Lock) -> None:
        """Put it on; what is known is another from now on."""
        self.cluster.locks = Locks((lock,))
        self.company.changed()
        self.clock.advance(0)

    def opening(self, host: str) -> Deferred[Channel]:
        return Deferred.fromCoroutine(self.visitor.open_channel(b"direct-tcpip", where_to(host)))

    def refusal(self, host: str) -> str:
        refused = self.failureResultOf(self.opening(host), ChannelRefused).value
        self.assertEqual(refused.reason, 1)
        return unreferenced(refused.sentence)

    def test_53_login(self) -> None:
        """Nobody who is locked comes in, by user or role; a lock on a login says nothing before a login."""
        for lock in (Lock("x", user="alice", message="ask the desk"), Lock("x", role="access", message="ask the desk")):
            self.cluster.locks = Locks((lock,))
            refusal = self.assertRaises(AccessDenied, self.policy.check, self.claim())
            self.assertEqual(refusal.sentence, LOCKED)
        for lock in (Lock("x", user="bob"), Lock("x", login="root"), Lock("x", user="alice", login="root")):
            self.cluster.locks = Locks((lock,))
            self.policy.check(self.claim())

    def test_former_user(self) -> None:
        """Nor does who has the certificate of a user that is another by now."""
        self.cluster.directory = Directory(users={"alice": User("alice", ("access",), created_at=samples.NOW + 60)})
        refusal = self.assertRaises(AccessDenied, self.policy.check, self.claim())
        self.assertIn("older than the user 'alice'", refusal.sentence)

    def test_53_live(self) -> None:
        """Who is there and is locked opens nothing any more, and is cut off once nodes have said why."""
        self.successResultOf(self.opening("web1"))
        self.lock(Lock("x", user="alice", message="ask the desk"))
        self.assertEqual(self.refusal("web1"), LOCKED)
        self.assertEqual(self.transport.disconnects, [])
        self.company.changed()
        self.clock.advance(NODES_FIRST_S)
        self.assertEqual(self.transport.disconnects, [(11, LOCKED.encode())])
        told = [fields for name, _, fields in self.events.take() if name == "client.disconnect"]
        self.assertEqual([(fields["user"], fields["reason"]) for fields in told], [("alice", LOCKED)])

    def test_53_trace(self) -> None:
        """The event has the reference that the person was told, and the lock."""
        self.lock(Lock("x", user="alice", message="ask the desk"))
        refused = self.failureResultOf(self.opening("web1"), ChannelRefused).value
        [fields] = [fields for name, _, fields in self.events.take() if name == "proxy.connect"]
        self.assertEqual(refused.sentence, f"{fields['error']} (reference {fields['reference']})")
        self.assertIn("lock: the lock x is in force on user alice: ask the desk", cast(list[str], fields["trace"]))

    def test_53_others(self) -> None:
        """A lock on somebody else changes nothing."""
        self.lock(Lock("x", user="bob"))
        self.clock.advance(NODES_FIRST_S)
        self.assertEqual(self.transport.disconnects, [])
        self.successResultOf(self.opening("web1"))

    def test_53_node(self) -> None:
        """Nobody is connected to a locked node, named by UUID or name; to others everybody is."""
        for name in (WEB1.hostname, WEB1.name):
            self.lock(Lock("x", node=name, message="broken into"))
            self.assertEqual(self.refusal("web1"), "The node web1 is locked by an administrator (broken into).")
            self.successResultOf(self.opening("web2"))
        self.assertEqual(self.events.names(), ["proxy.connect"] * 4)

    def test_53_user_on_a_node(self) -> None:
        """A lock on a person at a node is on that person, there."""
        self.lock(Lock("x", node="web1", user="alice"))
        self.assertEqual(
            self.refusal("web1"), f"{ALICE} is not authorized to connect to web1: locked by an administrator"
        )
        self.successResultOf(self.opening("web2"))

    def test_53_live_node(self) -> None:
        """What was connected to a node that is locked now is closed; the rest of the connection goes on."""
        channels = [self.successResultOf(self.opening(host)) for host in ("web1", "web2")]
        ended: list[Channel] = []
        for channel in channels:
            self.patch(channel.stream, "abandon", lambda channel=channel: ended.append(channel))  # type: ignore[attr-defined]
        self.lock(Lock("x", node="web1"))
        self.clock.advance(NODES_FIRST_S)
        self.assertEqual(ended, channels[:1])
        self.assertEqual(self.transport.disconnects, [])

    def test_gone(self) -> None:
        """Who leaves meanwhile is not cut off."""
        self.lock(Lock("x", user="alice"))
        self.connection.serviceStopped()
        self.clock.advance(NODES_FIRST_S)
        self.assertEqual((self.transport.disconnects, len(self.company)), ([], 0))
