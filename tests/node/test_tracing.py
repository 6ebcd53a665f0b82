"""What the kernel has recorded of a session, in the audit log."""

from __future__ import annotations

import os
from typing import cast

from attrs import define, evolve, field
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import EVERY_NODE
from teleport_conch.access.options import Options
from teleport_conch.access.roles import Role
from teleport_conch.errors import AccessDenied
from teleport_conch.node.tracing import GARBLED, NOT_FOLLOWED, TOO_FAST, Tracing, kinds_of
from teleport_conch.ssh.monitor.orders import Program
from teleport_conch.ssh.monitor.traced import NOTHING, Traced
from teleport_conch.ssh.processes.monitored import MonitoredLogin
from teleport_conch.ssh.processes.running import Running
from teleport_conch.ssh.tracing import layout
from tests.node.guests import USER, Events, NodeCase
from tests.ssh.tracing.test_records import head, socket, texts

FACTS = {"sid": "0", "user": "alice", "login": "root"}


class TracingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events = Events()
        self.tracing = Tracing(self.events.emit, FACTS)

    def told(self, kind: int, *records: bytes, unseen: tuple[int, ...] = NOTHING) -> list[dict[str, object]]:
        """The events that follow, without what every one has."""
        self.events.kept.clear()
        self.tracing.traced(Traced(kind, records, unseen))
        common = {"time", "uid", "ei", "server_id"}
        for event in self.events.kept:
            self.assertEqual({key: event.pop(key) for key in FACTS}, FACTS)
        return [{key: value for key, value in event.items() if key not in common} for event in self.events.kept]

    def test_command(self) -> None:
        """One event for the call and what came of it, also where these come apart."""
        asked = head(layout.STARTING) + texts(b"/bin/cat", b"cat", b"/etc/motd")
        self.assertEqual(self.told(layout.COMMAND, asked), [])
        done = head(layout.HAS_STARTED) + texts(b"/usr/bin/cat")
        expected = {
            "event": "session.command",
            "code": "T4000I",
            "pid": 10,
            "ppid": 9,
            "cgroup_id": 77,
            "program": "cat",
            "path": "/usr/bin/cat",
            "argv": ["cat", "/etc/motd"],
            "return_code": 0,
        }
        self.assertEqual(self.told(layout.COMMAND, done), [expected])

    def test_incomplete(self) -> None:
        """What is missing of the arguments is said."""
        asked = head(layout.STARTING) + texts(b"/x", b"x", flags=layout.MORE | layout.UNREAD)
        (event,) = self.told(layout.COMMAND, asked, head(layout.NOT_STARTED, result=-2))
        self.assertEqual(
            (event["argv"], event["return_code"], event["reason"]),
            (["x"], -2, "It had more than 32 arguments. The path or an argument could not be read, and is empty."),
        )
        (event,) = self.told(layout.COMMAND, head(layout.HAS_STARTED) + texts(b"/x"))
        self.assertEqual((event["argv"], event["reason"]), ([], "Its arguments were not seen."))

    def test_file(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        (event,) = self.told(layout.DISK, head(layout.OPENED, result=3) + texts(b"new\x1b\xff", flags=flags))
        expected = {
            "event": "session.disk",
            "code": "T4001I",
            "pid": 10,
            "cgroup_id": 77,
            "program": "cat",
            "path": "new\x1b\\udcff",
            "flags": "read,write,create,exclusive",
            "return_code": 3,
        }
        self.assertEqual(event, expected)

    def test_connection(self) -> None:
        (event,) = self.told(layout.NETWORK, head(layout.CONNECTED) + socket(10, "::1", "2001:db8::2"))
        expected = {
            "event": "session.network",
            "code": "T4002I",
            "pid": 10,
            "cgroup_id": 77,
            "program": "cat",
            "src_addr": "::1",
            "dst_addr": "2001:db8::2",
            "dst_port": 22,
            "version": 6,
        }
        self.assertEqual(event, expected)

    def test_unseen(self) -> None:
        """How many of what are missing, and why; what cannot be read does not keep the others from being told."""
        good = head(layout.OPENED) + texts(b"/x")
        found = self.told(layout.DISK, b"?", good, head(layout.OPENED), unseen=(1, 2, 0, 4))
        self.assertEqual(
            [(event["event"], event.get("kind"), event.get("count"), event.get("reason")) for event in found],
            [
                ("session.disk", None, None, None),
                ("session.unseen", "command", 1, TOO_FAST),
                ("session.unseen", "disk", 2, TOO_FAST),
                ("session.unseen", "process", 4, NOT_FOLLOWED),
                ("session.unseen", "disk", 2, GARBLED),
            ],
        )

    def test_kinds(self) -> None:
        self.assertEqual(kinds_of(()), 0)
        self.assertEqual(kinds_of(("command", "disk", "network")), sum(layout.KINDS))


@define
class Unable:
    """A monitor's login, on a host that records nothing after all."""

    asked: list[Program] = field(factory=list)

    async def spawn(self, program: Program) -> Running:
        self.asked.append(program)
        raise AccessDenied("This host cannot.")

    def leave(self) -> None:
        """Nothing to do."""


class AskingTests(NodeCase):
    """What a node asks to be recorded."""

    async def asked(self, traces: bool, *wanted: str) -> int:
        """The kinds that a session is ordered with, which is refused then."""
        self.policy = evolve(self.policy, room=evolve(self.room, traces=traces))
        guest = await self.enter()
        self.give(Role("test", Options(enhanced_recording=wanted), Conditions(logins=(USER,), node_labels=EVERY_NODE)))
        login = Unable()
        guest.login = cast(MonitoredLogin, login)
        channel = await self.session()
        self.assertTrue(self.ask(channel, b"shell"))
        self.assertEqual(self.outcome(await self.until_closed()), ("", "This host cannot.\r\n", 255))
        return login.asked[0].traced

    async def test_roles(self) -> None:
        """What the roles ask for."""
        self.assertEqual(await self.asked(True, "disk", "network"), layout.DISK | layout.NETWORK)

    async def test_no_roles(self) -> None:
        self.assertEqual(await self.asked(True), 0)

    async def test_off(self) -> None:
        """A node that records nothing asks for nothing."""
        self.assertEqual(await self.asked(False, "command"), 0)

    async def test_refused(self) -> None:
        """One that should record and cannot starts nothing, and says so in the log."""
        await self.asked(True, "command")
        event = self.events.last("session.start")
        self.assertEqual((event["success"], event["error"]), (False, "This host cannot."))
