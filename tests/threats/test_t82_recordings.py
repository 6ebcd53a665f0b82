"""Threats 82, 83 and 85 on auth: recordings that are handed in wrongly, read by the wrong people, or cut short."""

from __future__ import annotations

import os
import zlib
from urllib.parse import quote

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.audit.recording import MAX_SLICE_BYTES, digest, read
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.recording import Recording, RecordingState
from tests.auth.fixture import AUTH, GATEWAY, NOW, WEB1, WEB2
from tests.auth.recordings.case import RECORDINGS, RecordingsTestCase
from tests.auth.recordings.samples import OTHER_SID, SID, encoded, end, output, sample, start
from tests.auth.recordings.test_files import Room


class T82Uploads(RecordingsTestCase):
    """Refused with a sentence and a code, kept nowhere, and in the log of events."""

    def check(self, piece: bytes, sid: str, status: int, code: str, sentence: str, peer: Peer | None = None) -> None:
        files = {path: path.read_bytes() for path in self.records.rglob("*")}
        answer = self.send(piece, quote(sid, safe=""), peer)
        self.assertEqual((answer.status, answer.code), (status, code), answer.body)
        self.assertIn(sentence, answer.sentence)
        event = self.the_refusal()
        self.assertEqual((event.fields["sid"], event.fields["error_code"]), (sid, code))
        self.assertEqual(event.fields["node_id"], WEB2 if peer is self.other else WEB1)
        self.assertEqual({path: path.read_bytes() for path in self.records.rglob("*")}, files)

    def test_names_of_other_files(self) -> None:
        """An id is a UUID, or it gets nowhere near a file."""
        for sid in ("...", f"{SID}.rec", "x" * 3000, SID.upper(), "-rf", "a\nb", "\x1b[2J", "\u202ex"):
            self.check(encoded(start()), sid, 400, "BAD_PARAMETER", "is not a valid session ID (it must be a UUID).")
        self.assertFalse(self.records.exists())

    def test_paths(self) -> None:
        """A name with a slash in it is another path, and there is no such route."""
        for sid in ("../../x", "..%2f..%2fx", "%2e%2e%2fx", f"{SID}/../{OTHER_SID}", ""):
            answer = self.call(self.node, "POST", f"/v1/namespaces/default/sessions/{sid}/slices", encoded(start()))
            self.assertEqual((answer.status, answer.code), (404, "NOT_FOUND"), sid)
        self.assertFalse(self.records.exists())

    def test_another_session_inside(self) -> None:
        self.check(encoded(start(OTHER_SID)), SID, 400, "BAD_PARAMETER", "of another session than the address")

    def test_another_hosts_session(self) -> None:
        """Neither begun, nor gone on with, nor ended, nor told how far it is."""
        on_the_host = "A session is recorded by the host on which it runs."
        self.check(encoded(start(server_id=WEB2)), SID, 403, "ACCESS_DENIED", on_the_host)
        made = sample()
        self.send(made.slices[0])
        for piece in made.slices:
            self.check(piece, SID, 403, "ACCESS_DENIED", "The recording is another host's.", self.other)
        for piece in made.slices[1:]:
            self.send(piece)
        self.check(made.slices[2], SID, 403, "ACCESS_DENIED", "The recording is another host's.", self.other)

    def test_second_upload(self) -> None:
        """What is complete stays what it is, whoever says otherwise, and whether or not auth was started anew."""
        self.hand_in(sample())
        for _ in range(2):
            other = encoded(start(), output(b"nothing happened"), end(), last=True)
            self.check(other, SID, 409, "RECORDING_CLOSED", "has come to its end already")
            self.open()

    def test_wrong_hash(self) -> None:
        made = sample()
        self.send(made.slices[0])
        for previous in (bytes(32), b"x" * 32, digest(made.slices[1])):
            forged = encoded(output(b"forged"), index=1, previous=previous)
            self.check(
                forged, SID, 409, "RECORDING_ORDER", "slice 1 is due, which names the one before it by its digest"
            )

    def test_oversize(self) -> None:
        self.check(
            bytes(MAX_SLICE_BYTES + 1), SID, 413, "TOO_LARGE", "A slice of a recording has at most 263168 bytes."
        )

    def test_bomb(self) -> None:
        """A slice that unpacks to more than slices hold is refused before it does."""
        piece = bytearray(encoded(start()))
        packed = zlib.compress(bytes(50 << 20), 9)
        head = bytes(piece[:12]) + (49 + len(packed)).to_bytes(4, "big") + bytes(piece[16:49])
        self.check(head + packed, SID, 400, "BAD_PARAMETER", "cannot be unpacked, or holds more than slices may")

    def test_noise(self) -> None:
        for noise in (b"", b"{}", os.urandom(300)):
            self.check(noise, SID, 400, "BAD_PARAMETER", "This is not a slice of a recording")

    def test_who_is_no_node(self) -> None:
        """People, proxies, and tctl on the auth host record nothing."""
        proxy = self.host(self.join(GATEWAY, "gate", "Proxy"))
        for peer in (proxy, self.admin(), self.person("alice", "admin"), None):
            path, own = f"/v1/namespaces/default/sessions/{SID}/slices", encoded(start(server_id=AUTH))
            answer = self.call(peer, "POST", path, own)
            self.assertEqual(answer.status, 401 if peer is None else 403)
        self.assertFalse(self.records.exists())

    def test_log_is_not_filled(self) -> None:
        """Of many refusals a minute the first ones are told."""
        for _ in range(200):
            self.send(b"noise")
        self.assertEqual(len(self.emitted.named("session.recording.refused")), 60)


class T83Readers(RecordingsTestCase):
    """Whoever may not play a recording gets nothing of it: neither the bytes, nor that it is there."""

    def setUp(self) -> None:
        super().setUp()
        self.hand_in(sample())
        self.emitted.events.clear()

    def shut(self, peer: Peer | None, path: str, method: str = "GET") -> None:
        answer = self.call(peer, method, path)
        wanted = (401, "UNAUTHENTICATED") if peer is None else (403, "ACCESS_DENIED")
        self.assertEqual((answer.status, answer.code), wanted)
        for secret in (b'alice"', b"tcrec", sample().slices[0][-20:]):
            self.assertNotIn(secret, answer.data)

    def test_without_login(self) -> None:
        for path in (RECORDINGS, f"{RECORDINGS}/{SID}", f"{RECORDINGS}/{SID}/stream?offset=0"):
            self.shut(None, path)

    def test_another_user(self) -> None:
        """Not shown in the list, not told of, not played; and why is in the log under a reference."""
        bob = self.person("bob")
        self.assertEqual(self.call(bob, "GET", RECORDINGS).items, [])
        for path in (f"{RECORDINGS}/{SID}", f"{RECORDINGS}/{SID}/stream?offset=0"):
            self.shut(bob, path)
        self.assertEqual([event.fields["user"] for event in self.emitted.named("api.denied")], ["bob", "bob"])
        self.assertEqual(self.emitted.named("session.recording.access"), [])

    def test_list_but_not_play(self) -> None:
        rule = Rule(("session",), ("list",))
        self.now(self.cluster.roles.shelf.create(Role("lists", allow=Conditions(rules=(rule,)))))
        who = self.person("eve", "lists")
        self.assertEqual([Recording.from_json(each).id for each in self.call(who, "GET", RECORDINGS).items], [SID])
        self.assertEqual(self.call(who, "GET", f"{RECORDINGS}/{SID}").status, 200)
        self.shut(who, f"{RECORDINGS}/{SID}/stream?offset=0")
        self.shut(who, f"{RECORDINGS}/{SID}", "DELETE")

    def test_hosts(self) -> None:
        """A node that was taken over does not read what was recorded on it, or elsewhere."""
        for peer in (self.node, self.other, self.host(self.join(GATEWAY, "gate", "Proxy"))):
            for path in (RECORDINGS, f"{RECORDINGS}/{SID}", f"{RECORDINGS}/{SID}/stream?offset=0"):
                self.shut(peer, path)
            self.shut(peer, f"{RECORDINGS}/{SID}", "DELETE")

    def test_sessions_are_something_else(self) -> None:
        """Who sees which sessions run does not play them for that."""
        rule = Rule(("ssh_session", "event"), ("*",))
        self.now(self.cluster.roles.shelf.create(Role("watches", allow=Conditions(rules=(rule,)))))
        for path in (RECORDINGS, f"{RECORDINGS}/{SID}", f"{RECORDINGS}/{SID}/stream?offset=0"):
            self.shut(self.person("eve", "watches"), path)

    def test_locked(self) -> None:
        """Somebody who is locked out plays nothing, not even their own."""
        self.now(self.cluster.locks.shelf.create(Lock("stolen", user="alice")))
        self.shut(self.person("alice"), f"{RECORDINGS}/{SID}/stream?offset=0")


class T85Crashes(RecordingsTestCase):
    """A disk that is full, a process that was killed, a clock that was set: what was acknowledged is whole."""

    def verified(self) -> int:
        """How many slices there are, each of which follows the one before."""
        return len(list(read([self.file().read_bytes()])))

    def test_killed_anywhere(self) -> None:
        """Auth dies at each byte of a slice: its node sends it again, and the chain holds."""
        made = sample()
        first, second, third = made.slices
        for length in range(0, len(second) + 1, 7):
            self.records.mkdir(parents=True, exist_ok=True)
            self.file().write_bytes(first + second[:length])
            self.open()
            for piece in (second, third):
                answer = self.send(piece)
                self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(self.verified(), 3)
            self.now(self.recordings.remove(SID))

    def test_node_that_died(self) -> None:
        """Its recording is never called complete; what there is of it can be played and verified."""
        self.send(sample().slices[0])
        self.clock.advance(24 * 3600)
        self.now(self.recordings.making.look())
        found = self.recording()
        self.assertEqual((found.state, found.complete), (RecordingState.INCOMPLETE, False))
        self.assertEqual((self.verified(), found.head), (1, digest(self.file().read_bytes()).hex()))

    def test_full_disk(self) -> None:
        """Refused with a code of its own, before the database on the same disk has no room; nothing is half there."""
        made, statvfs = sample(), os.statvfs
        self.send(made.slices[0])
        self.patch(os, "statvfs", lambda path: Room(0))
        self.assertEqual(self.send(made.slices[1]).code, "DISK_LOW")
        self.assertEqual(self.verified(), 1)
        self.patch(os, "statvfs", statvfs)
        for piece in made.slices[1:]:
            self.assertEqual(self.send(piece).status, 200)
        self.assertTrue(self.recording().complete)

    def test_clock_step(self) -> None:
        """Of the node: its slices have times of a clock that nobody sets. Of auth: nothing depends on it."""
        made = sample(started=0.0)
        self.send(made.slices[0])
        self.clocks = evolve(self.clocks, wall=lambda: NOW - 1e8)
        self.open()
        for piece in made.slices[1:]:
            self.assertEqual(self.send(piece).status, 200)
        self.assertEqual((self.verified(), self.recording().complete), (3, True))
        self.assertEqual((self.recording().created_at, self.recording().ended_at), (0.0, 60.0))
