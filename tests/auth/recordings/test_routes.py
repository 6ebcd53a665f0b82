"""Lists of recordings, playing and removing them: who may, and what is told."""

from __future__ import annotations

from collections.abc import Sequence

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, succeed

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_ONLY, Rule
from teleport_conch.auth.limits import PLAYING_REMEMBERED_S, STREAM_BYTES
from teleport_conch.auth.recordings import index, recordings
from teleport_conch.auth.routes import recording_routes
from teleport_conch.resources.recording import Recording
from tests.auth.fixture import NOW, WEB1, WEB2, Answered
from tests.auth.recordings.case import RECORDINGS, RecordingsTestCase
from tests.auth.recordings.samples import OTHER_SID, SID, encoded, output, sample, start

THIRD_SID = f"2{SID[1:]}"


class ListTests(RecordingsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.hand_in(sample(started=NOW - 300))
        self.hand_in(sample(OTHER_SID, user="bob", server_id=WEB2, started=NOW - 200), OTHER_SID, self.other)
        self.hand_in(sample(THIRD_SID, started=NOW - 100), THIRD_SID)

    def ids(self, answer: Answered) -> list[str]:
        self.assertEqual(answer.status, 200, answer.body)
        return [Recording.from_json(each).id for each in answer.items]

    def listed(self, query: str = "") -> list[str]:
        return self.ids(self.call(self.admin(), "GET", f"{RECORDINGS}{query}"))

    def test_newest_first(self) -> None:
        self.assertEqual(self.listed(), [THIRD_SID, OTHER_SID, SID])

    def test_some(self) -> None:
        """By time, user and node, and so many."""
        for query, wanted in (
            (f"?from={NOW - 200}", [THIRD_SID, OTHER_SID]),
            (f"?to={NOW - 200}", [SID]),
            ("?to=1e308", [THIRD_SID, OTHER_SID, SID]),
            ("?from=-1e308&to=-1e308", []),
            (f"?from={NOW - 250}&to={NOW - 100}", [OTHER_SID]),
            ("?user=alice", [THIRD_SID, SID]),
            ("?user=eve", []),
            (f"?node={WEB2}", [OTHER_SID]),
            ("?node=web1", [THIRD_SID, OTHER_SID, SID]),
            ("?limit=2", [THIRD_SID, OTHER_SID]),
            ("?user=alice&limit=1", [THIRD_SID]),
        ):
            self.assertEqual(self.listed(query), wanted, query)

    def test_wrong(self) -> None:
        for query, sentence in (
            ("?limit=0", "A list has 1 to 10000 recordings, and not 0."),
            ("?limit=10001", "A list has 1 to 10000 recordings, and not 10001."),
            ("?from=1e308", "Nothing lies between from and to: from is the later one. Without to, it ends now."),
            ("?from=yesterday", "The parameter from has to be a number."),
            ("?to=nan", "The parameter to has to be a number."),
        ):
            answer = self.call(self.admin(), "GET", f"{RECORDINGS}{query}")
            self.assertEqual((answer.status, answer.sentence), (400, sentence))
        answer = self.call(self.admin(), "GET", "/v1/namespaces/other/recordings")
        self.assertEqual(answer.sentence, "There is no namespace 'other'; there is default.")

    def at_once(self, size: int) -> list[float]:
        """Have a list read in pieces; the answer counts how often others have their turn."""
        turns: list[float] = []

        def turn(timers: object, seconds: float) -> Deferred[None]:
            turns.append(seconds)
            return succeed(None)

        self.patch(index, "RECORDINGS_AT_ONCE", size)
        self.patch(recordings, "RECORDINGS_AT_ONCE", size)
        self.patch(recordings, "deferLater", turn)
        return turns

    def test_pages(self) -> None:
        """What is read in pieces is the same list, and between them others have their turn."""
        for size, expected in ((1, 3), (2, 1), (3, 1), (4, 0)):
            turns = self.at_once(size)
            self.assertEqual(self.listed(), [THIRD_SID, OTHER_SID, SID])
            self.assertEqual(turns, [0] * expected)

    def test_too_many(self) -> None:
        """A search through everything there ever was is refused, and says what to do."""
        self.at_once(1)
        self.patch(recording_routes, "MAX_RECORDINGS_SEARCHED", 2)
        answer = self.call(self.admin(), "GET", f"{RECORDINGS}?user=eve")
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        self.assertEqual(answer.sentence, "More than 2 recordings would have to be looked at: say from and to.")
        self.assertEqual(self.listed("?limit=1"), [THIRD_SID])

    def test_nobody_keeps_others_waiting(self) -> None:
        """Who has long lists in progress gets no further one, and others get theirs."""
        turns: list[Deferred[None]] = []

        def turn(timers: object, seconds: float) -> Deferred[None]:
            turns.append(Deferred())
            return turns[-1]

        self.at_once(1)
        self.patch(recordings, "deferLater", turn)
        for name in ("alice", "alice", "bob"):
            self.peer = self.person(name)
            agent = RequestTraversalAgent(self.gate.resource())
            agent.request(b"GET", f"https://teleport.cluster.local{RECORDINGS}".encode())
            agent.flush()
        self.assertEqual(len(turns), 3)
        answer = self.call(self.person("alice"), "GET", RECORDINGS)
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        sentence = "2 lists of recordings of this caller are in progress; try again in a few seconds."
        self.assertEqual(answer.sentence, sentence)
        while turns:
            turns.pop().callback(None)
        self.at_once(100)
        self.assertEqual(self.ids(self.call(self.person("alice"), "GET", RECORDINGS)), [THIRD_SID, SID])

    def test_whose(self) -> None:
        """Everybody sees the sessions that they were in, auditors and administrators all."""
        for who, wanted in (
            (self.person("alice"), [THIRD_SID, SID]),
            (self.person("bob"), [OTHER_SID]),
            (self.person("eve"), []),
            (self.person("eve", "auditor"), [THIRD_SID, OTHER_SID, SID]),
            (self.person("eve", "admin"), [THIRD_SID, OTHER_SID, SID]),
        ):
            self.assertEqual(self.ids(self.call(who, "GET", RECORDINGS)), wanted)

    def test_one(self) -> None:
        answer = self.call(self.person("bob"), "GET", f"{RECORDINGS}/{OTHER_SID}")
        self.assertEqual((answer.status, Recording.from_json(answer.body).user), (200, "bob"))

    def test_none(self) -> None:
        """Who may list all hears that there is none, and everybody else no more than of another's."""
        nobodys = f"3{SID[1:]}"
        answer = self.call(self.admin(), "GET", f"{RECORDINGS}/{nobodys}")
        self.assertEqual((answer.status, answer.sentence), (404, f"There is no recording of a session {nobodys}."))
        answer = self.call(self.admin(), "GET", f"{RECORDINGS}/s-1")
        self.assertEqual(
            (answer.status, answer.sentence), (400, "'s-1' is not a valid session ID (it must be a UUID).")
        )
        for sid in (nobodys, OTHER_SID, "s-1"):
            answer = self.call(self.person("alice"), "GET", f"{RECORDINGS}/{sid}")
            self.assertEqual((answer.status, answer.code), (403, "ACCESS_DENIED"))
            said = answer.sentence.partition(" (reference")[0]
            named = "" if sid == "s-1" else f" {sid}"
            self.assertEqual(said, f"user alice is not authorized to list session{named}: access denied")


class ConditionTests(RecordingsTestCase):
    """Rules about recordings, with conditions; a role that denies wins."""

    def setUp(self) -> None:
        super().setUp()
        self.hand_in(sample())
        self.hand_in(sample(OTHER_SID, user="bob", server_id=WEB2), OTHER_SID, self.other)

    def made(self, name: str, rules: Sequence[Rule], deny: Sequence[Rule] = ()) -> str:
        role = Role(name, allow=Conditions(rules=tuple(rules)), deny=Conditions(rules=tuple(deny)))
        self.now(self.cluster.roles.shelf.create(role))
        return name

    def statuses(self, *roles: str) -> tuple[list[str], list[int]]:
        """What eve sees in the list, and the answers when she plays each."""
        eve = self.person("eve", *roles)
        answer = self.call(eve, "GET", RECORDINGS)
        listed = [Recording.from_json(each).id for each in answer.items] if answer.status == 200 else []
        return sorted(listed), [self.stream(eve, sid=sid).status for sid in (SID, OTHER_SID)]

    def test_conditions(self) -> None:
        on_web2 = f'equals(resource.spec.server_id, "{WEB2}")'
        of_bob = 'contains(resource.participants, "bob")'
        for name, rules, listed, played in (
            ("all", [Rule(("session",), READ_ONLY)], [SID, OTHER_SID], [200, 200]),
            ("list", [Rule(("session",), ("list",))], [SID, OTHER_SID], [403, 403]),
            ("read", [Rule(("session",), ("read",))], [], [200, 200]),
            ("host", [Rule(("session",), READ_ONLY, on_web2)], [OTHER_SID], [403, 200]),
            ("part", [Rule(("session",), READ_ONLY, of_bob)], [OTHER_SID], [403, 200]),
            ("some", [Rule(("session",), ("list",)), Rule(("session",), ("read",), of_bob)], None, [403, 200]),
            ("active", [Rule(("ssh_session",), READ_ONLY)], [], [403, 403]),
        ):
            found = self.statuses(self.made(name, rules))
            self.assertEqual(found, ([SID, OTHER_SID] if listed is None else listed, played), name)

    def test_denied(self) -> None:
        """Whatever another role allows."""
        self.made("no-bob", (), [Rule(("session",), ("list", "read"), 'contains(resource.participants, "bob")')])
        self.assertEqual(self.statuses("auditor", "no-bob"), ([SID], [200, 403]))
        self.made("none", (), [Rule(("session",), ("*",))])
        self.assertEqual(self.statuses("auditor", "none"), ([], [403, 403]))
        self.made("no-play", (), [Rule(("session",), ("read",))])
        self.assertEqual(self.statuses("auditor", "no-play"), (sorted([SID, OTHER_SID]), [403, 403]))

    def test_refusals_are_explained(self) -> None:
        """With a reference, under which the trace says what would have allowed it."""
        self.emitted.events.clear()
        self.made("list", [Rule(("session",), ("list",))])
        answer = self.stream(self.person("eve", "list"))
        [event] = self.emitted.named("api.denied")
        self.assertEqual(
            answer.sentence,
            f"user eve is not authorized to read session {SID}: access denied (reference {event.fields['reference']})",
        )
        self.assertEqual((event.fields["verb"], event.fields["kind"], event.fields["user"]), ("read", "session", "eve"))
        self.assertIn("read on session", str(event.fields["trace"]))


class PlayTests(RecordingsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sample = sample()
        self.hand_in(self.sample)
        self.emitted.events.clear()

    def test_stream(self) -> None:
        """The bytes of the file from a byte on; nothing at its end."""
        whole, alice = self.sample.whole, self.person("alice")
        for offset in (0, 7, len(whole) - 1, len(whole), len(whole) + 9):
            answer = self.stream(alice, offset)
            self.assertEqual((answer.status, answer.data), (200, whole[offset:]))
        self.assertEqual(answer.headers.getRawHeaders("content-type"), ["application/octet-stream"])
        self.assertEqual(answer.headers.getRawHeaders("cache-control"), ["no-store"])

    def test_in_pieces(self) -> None:
        self.patch(recording_routes, "PLAYING_REMEMBERED_S", 0.0)
        noise = bytes(range(256)) * 1000
        made = sample(OTHER_SID, server_id=WEB1)
        made.slices.pop()
        for number in range(6):
            made.add(output(bytes(noise[number:] + noise[:number])[:200_000], 3_000_000))
        self.hand_in(made, OTHER_SID)
        found = b""
        while piece := self.stream(self.person("alice"), len(found), OTHER_SID).data:
            self.assertLessEqual(len(piece), STREAM_BYTES)
            found += piece
        self.assertEqual(found, made.whole)

    def test_wrong_offset(self) -> None:
        for offset in ("-1", "0.5"):
            answer = self.stream(self.person("alice"), offset)
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
            self.assertIn("is the byte from which on to read, a whole number", answer.sentence)

    def test_as_far_as_it_is(self) -> None:
        """Of a recording that is being made, what is acknowledged, and nothing that is being written."""
        first = encoded(start(OTHER_SID, user="bob"), output())
        self.send(first, OTHER_SID)
        self.file(OTHER_SID).write_bytes(first + b"half a slice")
        self.assertEqual(self.stream(self.person("bob"), sid=OTHER_SID).data, first)
        self.assertEqual(self.stream(self.person("bob"), len(first), OTHER_SID).data, b"")

    def test_an_event(self) -> None:
        """Who played whose: once for each who reads, however many pieces they read, and wherever they begin."""
        alice, auditor = self.person("alice"), self.person("eve", "auditor")
        for offset in (5, 0, 10):
            self.stream(alice, offset)
        self.stream(auditor)
        first, second = self.emitted.named("session.recording.access")
        self.assertEqual((first.fields["user"], second.fields["user"]), ("alice", "eve"))
        for event in (first, second):
            self.assertEqual((event.fields["sid"], event.fields["name"]), (SID, "alice"))
        self.clock.advance(PLAYING_REMEMBERED_S)
        self.stream(alice)
        self.assertEqual(len(self.emitted.named("session.recording.access")), 3)

    def test_event_that_cannot_be_kept(self) -> None:
        """Nobody plays anything without it; nor does the next try count as told."""
        self.emitted.full = True
        for _ in range(2):
            answer = self.stream(self.person("alice"))
            self.assertEqual((answer.status, answer.code), (507, "STORAGE_FULL"))
            self.assertIn("No recording is played, as the event that says so cannot be kept.", answer.sentence)
        self.emitted.full = False
        self.assertEqual(self.stream(self.person("alice")).status, 200)
        self.assertEqual(len(self.emitted.named("session.recording.access")), 1)

    def test_many_players(self) -> None:
        """What is remembered is bounded; who is forgotten makes another event, and never none."""
        self.patch(recording_routes, "PLAYERS_REMEMBERED", 1)
        for name in ("alice", "eve", "alice"):
            self.stream(self.person(name, "auditor"))
        self.assertEqual(len(self.emitted.named("session.recording.access")), 3)

    def test_lost_file(self) -> None:
        self.file().unlink()
        answer = self.stream(self.person("alice"))
        self.assertEqual((answer.status, answer.code), (404, "NOT_FOUND"))
        self.assertIn("is not on the auth server", answer.sentence)


class RemoveTests(RecordingsTestCase):
    def remove(self, sid: str = SID) -> Answered:
        return self.call(self.person("eve", "admin"), "DELETE", f"{RECORDINGS}/{sid}")

    def test_remove(self) -> None:
        """For ever: file and list; the event says what it was."""
        made = sample()
        self.hand_in(made)
        whole = self.recording()
        self.assertEqual(self.remove().status, 200)
        self.assertFalse(self.file().exists())
        self.assertEqual(self.call(self.admin(), "GET", RECORDINGS).items, [])
        self.assertEqual(self.remove().sentence, f"There is no recording of a session {SID}.")
        [event] = self.emitted.named("session.recording.delete")
        self.assertEqual((event.fields["user"], event.fields["name"], event.fields["sid"]), ("eve", "alice", SID))
        self.assertEqual((event.fields["sha256"], event.fields["bytes"]), (whole.head, whole.size))

    def test_being_made(self) -> None:
        self.send(sample().slices[0])
        for _ in range(2):
            answer = self.remove()
            self.assertEqual((answer.status, answer.code), (409, "IN_USE"))
            self.assertEqual(
                answer.sentence, f"The session {SID} is still being recorded; its recording can be removed afterwards."
            )
            self.open()  # also where auth only knows it from its file
        self.assertTrue(self.file().exists())

    def test_rest_of_it(self) -> None:
        """What a node still has of it is refused, and makes no other recording of it."""
        made = sample()
        self.send(made.slices[0])
        self.clock.advance(25 * 3600)
        self.now(self.recordings.making.look())
        self.assertEqual(self.remove().status, 200)
        answer = self.send(made.slices[1])
        self.assertEqual((answer.status, answer.code), (409, "RECORDING_ORDER"))
        self.assertFalse(self.file().exists())

    def test_lost_and_damaged(self) -> None:
        """What cannot be played can be removed."""
        self.hand_in(sample())
        self.file().unlink()
        self.assertEqual(self.remove().status, 200)
        self.hand_in(sample())
        self.file().write_bytes(b"x" * 300)
        self.assertEqual(self.remove().status, 200)
        self.assertFalse(self.file().exists())
