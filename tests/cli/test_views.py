"""Resources as tables."""

from __future__ import annotations

from unittest import mock

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.cli import views
from teleport_conch.resources.access_request import AccessRequest
from teleport_conch.resources.bot import Bot
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.recording import Recording, RecordingState
from teleport_conch.resources.server import CommandLabel, Presence, Server, State
from teleport_conch.resources.session import ActiveSession
from teleport_conch.resources.token import JoinToken
from teleport_conch.resources.user import User

NOW = 1_795_372_262.0  # 2026-11-22 18:31:02 UTC
WEB1 = Server(
    kind="node",
    name="1111",
    hostname="web1",
    addr="10.0.0.5:3022",
    labels={"env": "prod"},
    cmd_labels={"up": CommandLabel(("uptime",), 60.0, "3 days")},
    presence=Presence(State.ONLINE, NOW - 4),
)
DB1 = Server("node", "2222", "db1", "10.0.0.6:3022", presence=Presence(State.LATE, NOW - 100_000, "no route \x1b[31m"))


class ViewTests(SynchronousTestCase):
    maxDiff = None

    def test_nodes(self) -> None:
        """Teleport's columns, state and last seen, and why a proxy cannot get there."""
        self.assertEqual(
            views.node_table([WEB1, DB1], NOW),
            "Nodename UUID Address       Labels             State             Last seen\n"
            "-------- ---- ------------- ------------------ ----------------- ----------------------------------\n"
            "web1     1111 10.0.0.5:3022 env=prod,up=3 days online            2026-11-22 18:30:58 UTC (4s ago)\n"
            "db1      2222 10.0.0.6:3022                    late, unreachable 2026-11-21 14:44:22 UTC (1d3h ago)\n"
            "\ndb1 cannot be reached by a proxy: no route \\x1b[31m\n",
        )

    def test_never_seen(self) -> None:
        """A host that has not beaten yet was never seen."""
        self.assertEqual(views.presence_cells(Presence(State.UNKNOWN), NOW), ("unknown", "never"))

    def test_proxies(self) -> None:
        """Proxies show where people reach them."""
        proxy = Server("proxy", "33", "p1", "10.0.0.7:3023", ("p.example.com:3023",), presence=WEB1.presence)
        proxy = evolve(proxy, web_public_addrs=("w.example.com:3080",), web_addr="10.0.0.7:3080")
        self.assertEqual(
            views.proxy_table([proxy], NOW).splitlines()[2],
            "p1       33   10.0.0.7:3023 p.example.com:3023 w.example.com:3080 online 2026-11-22 18:30:58 UTC (4s ago)",
        )

    def test_tokens(self) -> None:
        """Tokens go by their ids; static ones never expire."""
        digest = "0123456789abcdef" * 4
        dynamic = JoinToken(digest, ("Node", "Proxy"), "alice", NOW, NOW + 1799)
        static = JoinToken("f" * 64, ("Node",), "configuration", NOW)
        self.assertEqual(
            views.token_table([static, dynamic], NOW),
            "Token        Type       Expiry Time (UTC)            Made by\n"
            "------------ ---------- ---------------------------- -------------\n"
            "ffffffffffff Node       never                        configuration\n"
            "0123456789ab Node,Proxy 22 Nov 26 19:01 UTC (29m59s) alice\n",
        )

    def test_fitting(self) -> None:
        """On a terminal the column that says more than is needed gives way; elsewhere nothing is missing."""
        long = "x" * 300
        role = Role("dev", allow=Conditions(rules=(Rule((long,), ("list",)),)))
        request = AccessRequest("r-1", "alice", ("dba",), NOW, NOW + 60, request_reason=long)
        made = (
            lambda: views.role_table([role]),
            lambda: views.user_table([User("alice", ("access",), {"logins": (long,)})], NOW),
            lambda: views.lock_table([Lock("l-1", user="eve", message=long)], NOW),
            lambda: views.request_table([request]),
            lambda: views.bot_table([Bot("ci", ("access",), (long,), NOW, "bob", 2)], NOW),
            lambda: views.proxy_table([Server("proxy", "33", "p1", "10.0.0.7:3023", web_addr=long)], NOW),
        )
        for table in made:
            self.assertIn(long, table())
            with mock.patch.object(views, "terminal_width", lambda stream: 120):
                fitted = table()
            self.assertNotIn(long, fitted)
            self.assertIn("xx…", fitted)
            self.assertIn(max(map(len, fitted.splitlines())), (119, 120), fitted)

    def test_recordings(self) -> None:
        """80 columns are enough for ids that can be copied; what names somebody gives way, first the account."""
        sid = "0c2b8d3c-9c2b-4a4f-8f2e-8d38b1d85f00"
        user, node = "alice.liddell@example.com", "web1.eu-central.example.com"
        made = [
            Recording(sid, user, "root", "1111", node, NOW, state=RecordingState.INCOMPLETE),
            Recording(sid, "al", "root", "1111", "web1", NOW, NOW + 60, state=RecordingState.COMPLETE),
        ]
        self.assertIn(f"{user} root@{node} ", views.recording_table(made))
        with mock.patch.object(views, "terminal_width", lambda stream: 80):
            heads, _, *rows = views.recording_table(made).splitlines()
            short = views.recording_table(made[1:]).splitlines()[2]
        self.assertLessEqual(max(map(len, (heads, *rows))), 80)
        self.assertEqual(rows[0], f"{sid} alic… root@we… 2026-11-22 18:31 incomplete")
        self.assertEqual(short, f"{sid} al   root@web1 2026-11-22 18:31 1m")

    def test_sessions(self) -> None:
        """Who, as whom, where, from where, since when."""
        session = ActiveSession("5e55", "alice", "root", "1111", "web1", "73.2.2.1:42146", NOW - 60, NOW)
        self.assertEqual(
            views.session_table([session], NOW).splitlines()[2],
            "5e55 alice root  web1 73.2.2.1:42146 2026-11-22 18:30:02 UTC (1m ago)",
        )

    def test_events(self) -> None:
        """What has no column is a detail; what says nothing is left out."""
        event = {
            "time": "2026-11-22T18:31:02.123Z",
            "code": "T3002I",
            "event": "exec",
            "user": "alice",
            "login": "root",
            "server_id": "1111",
            "server_hostname": "web1",
            "uid": "u",
            "ei": 3,
            "success": True,
            "command": "rm\n-rf",
            "exitCode": "0",
            "error": "",
            "interactive": False,
            "participants": ["alice", "bob"],
            "server_labels": {"env": "prod"},
        }
        self.assertEqual(
            views.event_table([event]).splitlines()[2],
            "2026-11-22T18:31:02.123Z T3002I exec  alice root  web1 command=rm\\n-rf exitCode=0 interactive=false"
            " participants=alice,bob server_labels=env=prod",
        )

    def test_events_of_hosts(self) -> None:
        """An event about a node names it where no session does; an event without anything is a line, too."""
        self.assertIn("web7", views.event_table([{"event": "node.join", "node_name": "web7"}]))
        self.assertEqual(len(views.event_table([{}]).splitlines()), 3)
