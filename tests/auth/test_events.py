"""Events over the API: hosts hand in their own, and who may reads them."""

from __future__ import annotations

import os
from pathlib import Path

from teleport_conch.audit.event import build
from teleport_conch.audit.log import EventLog
from teleport_conch.errors import StorageFull
from tests.auth.fixture import AUTH, NOW, WEB1, WEB2, ClusterTestCase, Log
from tests.auth.recordings.test_files import Room


def event(number: int = 0, server_id: str = WEB1) -> dict[str, object]:
    fields = {"user": "alice", "login": "root", "command": "id\x1b[2J", "server_id": server_id}
    return build("exec", True, fields, NOW, f"00000000-0000-4000-8000-{number:012}")


REVERSED = "Nothing lies between from and to: from is the later one. Without to, it ends now."


class EventTests(ClusterTestCase):
    def test_handed_in(self) -> None:
        """What a host sends is kept before it hears so."""
        peer = self.host(self.join())
        answer = self.call(peer, "POST", "/v1/events", {"items": [event(1), event(2)]})
        self.assertEqual(answer.body, {"message": "ok", "new": 2})
        self.assertEqual(self.log.kept, [event(1), event(2)])

    def test_another_hosts(self) -> None:
        """A host speaks of itself; one event that is not its own has all of them refused."""
        peer = self.host(self.join())
        answer = self.call(peer, "POST", "/v1/events", {"items": [event(1), event(2, WEB2)]})
        self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
        self.assertIn("is not from the host that sent it", answer.sentence)
        self.assertEqual(self.log.kept, [])

    def test_what_auth_alone_knows(self) -> None:
        """A host that was taken over does not write into the log that somebody got a certificate, or was removed."""
        peer = self.host(self.join())
        for name, fields in (("user.delete", {"name": "alice", "user": "bob"}), ("bot.create", {"name": "x"})):
            about: dict[str, object] = {"roles": ["admin"], "user": "bob", "server_id": WEB1, **fields}
            if name == "user.delete":
                del about["roles"]
            forged = build(name, True, about, NOW, "00000000-0000-4000-8000-000000000001")
            answer = self.call(peer, "POST", "/v1/events", {"items": [event(1), forged]})
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
            self.assertIn(f"the event {name} is one of auth's own, which no host hands in.", answer.sentence)
        self.assertEqual(self.log.kept, [])

    def test_reference_of_another(self) -> None:
        """What a reference leads to is the first event that had it."""
        peer, other = self.host(self.join()), self.host(self.join(WEB2, "web2"))
        for uuid, host, why in ((WEB1, peer, "the label env"), (WEB2, other, "nothing of interest")):
            fields = {"user": "alice", "error": "no", "server_id": uuid, "reference": "7k2m9xqd", "trace": [why]}
            told = build("auth", False, fields, NOW, f"00000000-0000-4000-8000-0000000000{uuid[:2]}")
            self.assertEqual(self.call(host, "POST", "/v1/events", {"items": [told]}).status, 200)
        found = self.call(self.admin(), "GET", "/v1/denials/7k2m9xqd")
        self.assertEqual(found.body["trace"], ["the label env"])

    def test_no_events(self) -> None:
        """What is no list of events."""
        peer = self.host(self.join())
        for body, sentence in (
            ({}, "request.items has to be a list"),
            ({"items": {}}, "request.items has to be a list"),
            ({"items": ["x"]}, "an event has to be an object"),
            ({"items": [{"event": "nonsense"}]}, "an event has to be an object with the name of an event"),
            ({"items": [event(number) for number in range(501)]}, "at most 500 events"),
        ):
            self.assertIn(sentence, self.call(peer, "POST", "/v1/events", body).sentence)

    def test_full_disk(self) -> None:
        """What could not be kept is not acknowledged."""
        peer = self.host(self.join())

        def full(events: object) -> int:
            raise StorageFull("The disk is full: the events were not kept; make room there.")

        self.patch(Log, "append", lambda log, events: full(events))
        answer = self.call(peer, "POST", "/v1/events", {"items": [event()]})
        self.assertEqual((answer.status, answer.code), (507, "STORAGE_FULL"))

    def test_low_disk(self) -> None:
        """What hosts say leaves room for auth's own events and its database; it is not lost, and may come again."""
        peer, with_room = self.host(self.join()), os.statvfs
        self.patch(Log, "check_room", EventLog(Path(), self.clock).check_room)
        self.patch(os, "statvfs", lambda path: Room((127 << 20) // 4096))
        answer = self.call(peer, "POST", "/v1/events", {"items": [event()]})
        self.assertEqual((answer.status, answer.code), (507, "DISK_LOW"))
        self.assertEqual(
            answer.sentence,
            "The disk of the auth server has 127 MiB left, and events of hosts leave 128 MiB of it free: they wait"
            " there until there is room.",
        )
        self.assertEqual(self.log.kept, [])
        self.patch(os, "statvfs", with_room)
        self.assertEqual(self.call(peer, "POST", "/v1/events", {"items": [event()]}).status, 200)

    def test_search(self) -> None:
        """From, to, names and a limit; by default the newest 500 of all time."""
        self.call(self.admin(), "GET", "/v1/events?from=1&to=2.5&event=exec&event=port&limit=7")
        self.call(self.admin(), "GET", "/v1/events")
        self.assertEqual(self.log.searches, [(1.0, 2.5, ("exec", "port"), 7), (0.0, NOW + 1, (), 500)])

    def test_search_for_nonsense(self) -> None:
        """Numbers that are none, and more than can be answered."""
        for query, sentence in (
            ("from=yesterday", "The parameter from has to be a number."),
            ("to=nan", "The parameter to has to be a number."),
            ("from=2&to=1", REVERSED),
            (
                f"from={NOW + 60}",
                REVERSED,
            ),
            (
                "event=exec&event=session.strat",
                "There is no event 'session.strat'; did you mean session.start or session.data or session.disk?",
            ),
            ("event=x%1b", "There is no event 'x\\x1b'; the page about events in the manual has them all."),
            ("limit=0", "A search answers 1 to 10000 events, and not 0."),
            ("limit=10001", "A search answers 1 to 10000 events, and not 10001."),
            ("limit=-1", "A search answers 1 to 10000 events, and not -1."),
        ):
            self.assertEqual(self.call(self.admin(), "GET", f"/v1/events?{query}").sentence, sentence)

    def test_of_auth_itself(self) -> None:
        """tctl hands in what it did, as the auth host."""
        answer = self.call(self.admin(), "POST", "/v1/events", {"items": [event(1, AUTH)]})
        self.assertEqual(answer.body["new"], 1)
