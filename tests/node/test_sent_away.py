"""Guests who may not stay: what ends, and what the person and the audit log read (threat 53)."""

from __future__ import annotations

import os
import socket

from twisted.conch.ssh import connection as conch

from teleport_conch import wire
from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.locks import Locks
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.errors import ConnectionProblem
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.resources.lock import Lock
from teleport_conch.ssh.connection.channel import ChannelRefused
from tests.certs import samples
from tests.node.guests import USER, NodeCase
from tests.node.test_guest import role
from tests.ssh import messages

LOCKED = (
    f"user alice@{samples.CLUSTER} is not authorized to login as {USER}@web1: locked by an administrator (ask the desk)"
)
NO_ROLE = f"user alice@{samples.CLUSTER} is not authorized to login as {USER}@web1: access to server denied"


class SentAwayTests(NodeCase):
    async def running(self) -> int:
        """A session that would go on for long."""
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"exec", wire.text("echo ready; sleep 600")))
        await self.until(lambda: b"ready" in b"".join(payload for _, payload in self.transport.sent))
        self.transport.take()
        return channel

    async def changed(self) -> None:
        """What is known of people is another."""
        self.company.changed()
        await self.turns()

    def said(self) -> str:
        """What the person reads on stderr."""
        sent = [payload for number, payload in self.transport.sent if number == conch.MSG_CHANNEL_EXTENDED_DATA]
        return b"".join(payload[12:] for payload in sent).decode()

    def assert_sent_away(self, reason: str) -> None:
        self.assertEqual(self.said(), f"\r\n{reason}\r\n")
        self.assertEqual(self.transport.disconnects, [(11, reason.encode())])
        event = self.events.last("client.disconnect")
        self.assertEqual(
            (event["code"], event["reason"], event["user"], event["login"]), ("T3006I", reason, "alice", USER)
        )

    async def test_53_lock(self) -> None:
        """A lock ends the session of whoever it is on, who reads why in the session and as the reason of the end."""
        await self.enter()
        await self.running()
        self.cluster.locks = Locks((Lock("x", user="bob"),))
        await self.changed()
        self.assertEqual(self.transport.disconnects, [])
        self.cluster.locks = Locks((Lock("x", login=USER, message="ask the desk"),))
        await self.changed()
        self.assert_sent_away(LOCKED)

    async def test_53_message(self) -> None:
        """What the lock's maker wrote is printed inert (threat 111)."""
        await self.enter()
        await self.running()
        self.cluster.locks = Locks((Lock("x", node="web1", message="\x1b]0;pwned\x07\u202e"),))
        await self.changed()
        ((_, reason),) = self.transport.disconnects
        self.assertTrue(reason.decode().isprintable(), reason)
        self.assertTrue(self.said().strip().isprintable())

    async def test_role(self) -> None:
        """A role that does not allow the login any more does the same."""
        await self.enter()
        await self.running()
        self.give(role(Options()))
        await self.changed()
        self.assertEqual(self.transport.disconnects, [])
        self.give()
        await self.changed()
        self.assert_sent_away(NO_ROLE)

    async def test_nothing_opens(self) -> None:
        """Nor does anything open between the change and the end."""
        await self.enter()
        self.give()
        self.assertEqual(await self.open_refused(b"session"), (1, NO_ROLE))

    async def test_without_a_session(self) -> None:
        """A connection without a session (ssh -N) ends as well."""
        await self.enter()
        self.give()
        await self.changed()
        self.assertEqual(self.transport.disconnects, [(11, NO_ROLE.encode())])

    async def test_auth_is_away(self) -> None:
        """Where what is known is too old nothing new opens, and what runs goes on."""
        guest = await self.enter()
        await self.running()

        def known() -> None:
            raise ConnectionProblem("What is known of the cluster is too old.")

        guest.known = known  # type: ignore[assignment]  # it never answers
        await self.changed()
        self.assertEqual(self.transport.disconnects, [])
        self.receive(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"session", 41, 1 << 20, 1 << 15))
        await self.until(lambda: bool(self.transport.sent))
        self.assertEqual(self.transport.take()[-1][0], conch.MSG_CHANNEL_OPEN_FAILURE)

    async def test_gone(self) -> None:
        """Who has left is not looked at again."""
        await self.enter()
        self.connection.serviceStopped()
        self.give()
        await self.changed()
        self.assertEqual((self.transport.disconnects, len(self.company)), ([], 0))

    async def test_forwards_end(self) -> None:
        """Who may stay, and may forward no more, keeps the session and loses what was connected and listened on."""
        await self.enter()
        await self.running()
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]
        self.receive(
            conch.MSG_CHANNEL_OPEN,
            messages.open_channel(b"direct-tcpip", 42, 1 << 20, 1 << 15, where_to(port)),
        )
        await self.until(lambda: bool(self.transport.sent))
        self.assertEqual(self.transport.take()[-1][0], conch.MSG_CHANNEL_OPEN_CONFIRMATION)
        there, _ = listening.accept()
        self.addCleanup(there.close)
        self.give(role(Options(port_forwarding=False)))
        await self.changed()
        there.settimeout(10)
        await self.until(lambda: conch.MSG_CHANNEL_CLOSE in [number for number, _ in self.transport.sent])
        self.assertEqual(there.recv(1), b"")
        self.assertEqual((self.transport.disconnects, len(self.sessions.running)), ([], 1))

    async def test_agent_ends(self) -> None:
        """So does the socket of the agent, whose own permission it is."""
        guest = await self.enter()
        self.give(role(Options(forward_agent=True)))
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"auth-agent-req@openssh.com"))
        (path,) = [each.path for each in guest._agents.values()]
        await self.changed()
        self.assertTrue(os.path.exists(path))
        self.give(role(Options(forward_agent=False)))
        await self.changed()
        await self.until(lambda: not os.path.exists(path))


class TimesTests(NodeCase):
    """What the roles and the cluster say about time reaches the connection."""

    async def test_idle(self) -> None:
        """A change of the cluster's setting counts for those who are there."""
        await self.enter()
        self.configuration = ClusterConfig(client_idle_timeout_s=0.001)
        await self.until(lambda: bool(self.changed_and_over()))
        self.assertEqual(self.transport.disconnects, [(11, b"client reported no activity")])

    def changed_and_over(self) -> bool:
        self.company.changed()
        return bool(self.transport.disconnects)

    async def test_activity(self) -> None:
        """Opening a channel and sending data is activity; asking whether we are there, and our output, is not."""
        guest = await self.enter()
        seen: list[str] = []
        self.connection.on_activity = lambda: seen.append("active")
        keepalive = wire.text("keepalive@openssh.com") + wire.boolean(True)
        self.receive(conch.MSG_GLOBAL_REQUEST, keepalive)
        self.assertEqual(seen, [])
        channel = await self.session()
        self.assertEqual(len(seen), 1)
        self.pty(channel)
        self.assertTrue(self.ask(channel, b"exec", wire.text("echo out; cat")))
        await self.until(lambda: b"out" in b"".join(payload for _, payload in self.transport.sent))
        self.receive(conch.MSG_CHANNEL_WINDOW_ADJUST, wire.uint32(channel) + wire.uint32(1))
        self.assertEqual(len(seen), 1)
        self.receive(conch.MSG_CHANNEL_DATA, wire.uint32(channel) + wire.string(b"x\n"))
        self.assertEqual(len(seen), 2)
        self.assertIs(self.guest, guest)

    async def test_activity_without_a_terminal(self) -> None:
        """Output that goes to a program (a download) is activity."""
        await self.enter()
        seen: list[str] = []
        self.connection.on_activity = lambda: seen.append("active")
        await self.run_command(b"exec", "echo out")
        self.assertEqual(len(seen), 2)

    async def test_max_sessions(self) -> None:
        """The smallest max_sessions of the roles bounds the sessions of one connection."""
        await self.enter()
        allow = Conditions(logins=(USER,), node_labels=EVERY_NODE)
        self.give(Role("test", Options(max_sessions=1), allow))
        await self.session()
        refused = await self.open_refused(b"session")
        self.assertEqual(refused, (4, "too many session channels: max_sessions is 1"))
        event = self.events.last("session.rejected")
        self.assertEqual((event["code"], event["reason"], event["max"]), ("T1006W", "max_sessions limit reached", 1))

    async def test_why_max_sessions(self) -> None:
        """The person has a reference, under which whoever asks for it finds whose option it is."""
        await self.enter()
        allow = Conditions(logins=(USER,), node_labels=EVERY_NODE)
        self.give(Role("test", Options(max_sessions=1), allow))
        await self.session()
        opening = self.start(self.guest.open_channel(b"session", b""))
        refusal = self.failureResultOf(opening, ChannelRefused).value
        event = self.events.last("session.start")
        self.assertEqual(event["code"], "T2000W")
        reference = event["reference"]
        self.assertEqual(refusal.sentence, f"too many session channels: max_sessions is 1 (reference {reference})")
        trace = event["trace"]
        assert isinstance(trace, list)
        self.assertEqual(trace[1], "limit: 1 are open, and max_sessions is 1")
        self.assertEqual(trace[-1], "to allow it: close one, or raise max_sessions of test")

    async def test_fewer_sessions(self) -> None:
        """Fewer than there are: the next one is refused, and those that run go on."""
        await self.enter()
        channels = [await self.session() for _ in range(2)]
        allow = Conditions(logins=(USER,), node_labels=EVERY_NODE)
        self.give(Role("test", Options(max_sessions=1), allow))
        self.company.changed()
        await self.open_refused(b"session")
        for channel in channels:
            self.assertTrue(self.ask(channel, b"exec", wire.text("true")))
        self.assertEqual(self.transport.disconnects, [])


def where_to(port: int) -> bytes:
    return wire.text("127.0.0.1") + wire.uint32(port) + wire.text("127.0.0.1") + wire.uint32(1)
