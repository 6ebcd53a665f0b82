"""How recordings come to auth: what is acknowledged, what is refused, and what becomes of what does not end."""

from __future__ import annotations

import os
from collections.abc import Callable

from attrs import define, evolve
from twisted.internet.defer import Deferred

from teleport_conch.audit.recording import NO_DIGEST, digest
from teleport_conch.auth.limits import (
    RECORDING_SILENT_S,
    RECORDINGS_LOOKED_AT_S,
    SLICES_IN_PROGRESS,
    SLICES_OF_A_HOST_IN_PROGRESS,
    SLICES_OF_A_RECORDING_WAITING,
)
from teleport_conch.auth.recordings import making as module
from teleport_conch.auth.recordings.files import Files
from teleport_conch.auth.recordings.index import Index
from teleport_conch.auth.recordings.recordings import Recordings
from teleport_conch.errors import StorageError, StorageFull, TeleportError
from teleport_conch.resources.recording import RecordingState
from teleport_conch.resources.session import ActiveSession
from teleport_conch.storage.memory import MemoryBackend
from tests.auth.fixture import ADDRESS, NOW, WEB1, WEB2
from tests.auth.recordings.case import RecordingsTestCase
from tests.auth.recordings.samples import OTHER_SID, SID, encoded, end, output, sample, start
from tests.auth.recordings.test_files import Room

ZEROS = NO_DIGEST.hex()


class TakeTests(RecordingsTestCase):
    def test_in_order(self) -> None:
        """Each slice is answered with what is due next, and is on the disk by then."""
        made, size = sample(), 0
        for number, each in enumerate(made.slices, 1):
            size += len(each)
            answer = self.send(each)
            self.assertEqual(answer.body, {"next": number, "head": digest(each).hex()})
            self.assertEqual(self.file().read_bytes(), made.whole[:size])

    def test_what_is_listed(self) -> None:
        """From the first slice on, and as far as it has come."""
        made = sample()
        self.send(made.slices[0])
        first = self.recording()
        self.assertEqual((first.user, first.server_id, first.created_at), ("alice", WEB1, NOW))
        self.assertEqual((first.state, first.ended_at, first.slices), (RecordingState.RECORDING, None, 1))
        self.send(made.slices[1])
        self.assertEqual(self.recording().size, len(made.slices[0] + made.slices[1]))
        self.clock.advance(100)
        self.send(made.slices[2])
        last = self.recording()
        self.assertEqual((last.state, last.complete, last.reason), (RecordingState.COMPLETE, True, ""))
        self.assertEqual((last.ended_at, last.size, last.slices), (NOW + 60, len(made.whole), 3))
        self.assertEqual(last.head, digest(made.slices[2]).hex())

    def test_upload_is_an_event(self) -> None:
        """With the digest that stands for the whole recording."""
        made = sample()
        self.hand_in(made)
        [event] = self.emitted.events
        self.assertEqual((event.name, event.success), ("session.upload", True))
        self.assertEqual(
            event.fields,
            {
                "sid": SID,
                "user": "alice",
                "login": "root",
                "node_id": WEB1,
                "node_name": "web1",
                "sha256": digest(made.slices[2]).hex(),
                "bytes": len(made.whole),
                "url": f"recordings/{SID}",
                "reason": None,
            },
        )

    def test_sent_again(self) -> None:
        """Whoever did not hear the answer sends once more, and hears it."""
        made = sample()
        for number, each in enumerate(made.slices, 1):
            for _ in range(3):
                self.assertEqual(self.send(each).body, {"next": number, "head": digest(each).hex()})
        self.assertEqual(self.file().read_bytes(), made.whole)
        self.assertEqual(len(self.emitted.events), 1, "one upload, and nothing refused")

    def test_order(self) -> None:
        """Another slice than the one that is due: the answer says which."""
        made = sample()
        answer = self.send(made.slices[1])
        self.assertEqual((answer.status, answer.code), (409, "RECORDING_ORDER"))
        self.assertEqual(self.facts(answer.body), (0, ZEROS))
        self.send(made.slices[0])
        for wrong in (
            made.slices[2],
            encoded(start(), output(b"another beginning")),
            encoded(output(), index=1, previous=b"p" * 32),
            encoded(output(), index=1),
        ):
            answer = self.send(wrong)
            self.assertEqual((answer.status, answer.code), (409, "RECORDING_ORDER"))
            self.assertEqual(self.facts(answer.body), (1, digest(made.slices[0]).hex()))
        self.assertEqual(self.file().read_bytes(), made.slices[0])

    def facts(self, body: object) -> tuple[object, object]:
        assert isinstance(body, dict)
        return body["error"]["next"], body["error"]["head"]

    def test_read_once(self) -> None:
        """A file is read through once, however often something is sent to a recording that is over."""
        read, find = list[str](), Files.find

        def counted(files: Files, session_id: str) -> object:
            read.append(session_id)
            return find(files, session_id)

        first = encoded(start(), output())
        last = encoded(end(complete=False, reason="It was cut."), index=1, previous=digest(first), last=True)
        self.send(first)
        self.send(last)
        self.patch(Files, "find", counted)
        for _ in range(3):
            self.assertEqual(self.send(last).status, 200)
            self.assertEqual(self.send(first).code, "RECORDING_CLOSED")
        self.assertEqual(read, [SID])
        self.patch(module, "RECORDINGS_REMEMBERED", 0)
        self.hand_in(sample(OTHER_SID), OTHER_SID)
        self.assertEqual(self.send(encoded(start(OTHER_SID)), OTHER_SID).code, "RECORDING_CLOSED")
        self.assertEqual(list(self.recordings.making._others), [OTHER_SID], "the oldest is forgotten")

    def test_after_a_removal(self) -> None:
        """What was known of a recording goes with it."""
        made = sample()
        self.hand_in(made)
        self.send(made.slices[2])
        self.call(self.admin(), "DELETE", f"/v1/namespaces/default/recordings/{SID}")
        answer = self.send(made.slices[2])
        self.assertEqual((answer.code, self.facts(answer.body)), ("RECORDING_ORDER", (0, ZEROS)))

    def test_after_the_end(self) -> None:
        made = sample()
        self.hand_in(made)
        another = encoded(output(at_us=70_000_000), index=3, previous=digest(made.slices[2]))
        answer = self.send(another)
        self.assertEqual((answer.status, answer.code), (409, "RECORDING_CLOSED"))
        self.assertEqual(answer.sentence, "The recording has come to its end already, and takes no more.")
        self.assertEqual(self.file().read_bytes(), made.whole)

    def test_back_in_time(self) -> None:
        made = sample()
        self.send(made.slices[0])
        answer = self.send(encoded(output(at_us=999), index=1, previous=digest(made.slices[0])))
        self.assertEqual((answer.status, answer.sentence), (400, "Slice 1 of the recording runs back in time."))

    def test_clock_of_the_node(self) -> None:
        """A session does not begin in the future; what goes on in it is counted from its start."""
        made = sample(started=NOW + 86_400)
        self.send(made.slices[0])
        self.clock.advance(60)
        for each in made.slices[1:]:
            self.send(each)
        self.assertEqual((self.recording().created_at, self.recording().ended_at), (NOW, NOW + 60))

    def test_end_in_the_future(self) -> None:
        """Nothing ends later than it is told."""
        self.send(encoded(start(started=NOW - 5), end(at_us=(1 << 64) - 1), last=True))
        self.assertEqual((self.recording().created_at, self.recording().ended_at), (NOW - 5, NOW))

    def test_incomplete(self) -> None:
        """A node that restarted says so, and the event does, too."""
        self.send(encoded(start(), output()))
        why = "The node was restarted."
        last = encoded(end(complete=False, reason=why), index=1, previous=digest(self.file().read_bytes()), last=True)
        self.send(last)
        self.assertEqual((self.recording().state, self.recording().reason), (RecordingState.INCOMPLETE, why))
        [event] = self.emitted.named("session.upload")
        self.assertEqual(event.fields["reason"], why)

    def test_too_long(self) -> None:
        made = sample()
        self.send(made.slices[0])
        self.patch(module_of_made(), "MAX_RECORDING_BYTES", len(made.whole) - 1)
        self.assertEqual(self.send(made.slices[1]).status, 200)
        answer = self.send(made.slices[2])
        self.assertEqual((answer.status, answer.code), (413, "TOO_LARGE"))
        self.assertEqual(answer.sentence, f"A recording has at most {len(made.whole) - 1} bytes.")


def module_of_made() -> object:
    from teleport_conch.auth.recordings import made

    return made


class DiskTests(RecordingsTestCase):
    def test_low(self) -> None:
        """Nothing is kept, and it is told once; when there is room, the node goes on where it was."""
        made = sample()
        self.send(made.slices[0])
        with_room = os.statvfs
        self.patch(os, "statvfs", lambda path: Room(0))
        for each in (made.slices[1], made.slices[1], encoded(start(OTHER_SID))):
            sid = OTHER_SID if each not in made.slices else SID
            answer = self.send(each, sid)
            self.assertEqual((answer.status, answer.code), (507, "DISK_LOW"))
        self.assertEqual(self.the_refusal().fields["error_code"], "DISK_LOW")
        self.assertEqual(self.send(made.slices[0]).status, 200, "what is on the disk is acknowledged all the same")
        self.assertEqual(self.call(self.admin(), "GET", "/v1/namespaces/default/recordings").items[1:], [])
        self.patch(os, "statvfs", with_room)
        self.send(made.slices[1])
        self.send(made.slices[2])
        self.assertTrue(self.recording().complete)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_status(self) -> None:
        """What ``tctl status`` says, and says no more when there is room."""
        with_room = os.statvfs
        self.assertEqual(self.refusal_in_status(), "")
        self.patch(os, "statvfs", lambda path: Room(0))
        low = "The disk of the auth server is nearly full: recordings wait on the nodes until there is room."
        self.assertEqual(self.refusal_in_status(), low)
        self.patch(os, "statvfs", with_room)
        self.assertEqual(self.refusal_in_status(), "")

    def test_status_of_no_folder(self) -> None:
        self.records.touch()
        unusable = "The folder for recordings on the auth server cannot be used: recordings wait on the nodes."
        self.assertEqual(self.refusal_in_status(), unusable)

    def refusal_in_status(self) -> object:
        return self.call(self.person("alice"), "GET", "/v1/status").body["recordings_refused"]

    def test_full(self) -> None:
        """What could not be written is not acknowledged, and may come again."""
        made, real = sample(), Files.append
        self.send(made.slices[0])

        def full(files: Files, session_id: str, size: int, piece: bytes) -> None:
            real(files, session_id, size, piece[:20])  # and a part of it was
            raise StorageFull("The disk is full: the recording was not kept; make room there.")

        self.patch(Files, "append", full)
        answer = self.send(made.slices[1])
        self.assertEqual((answer.status, answer.code), (507, "STORAGE_FULL"))
        self.patch(Files, "append", real)
        self.send(made.slices[1])
        self.send(made.slices[2])
        self.assertEqual(self.file().read_bytes(), made.whole)
        self.assertEqual(self.emitted.named("session.recording.refused"), [])

    def test_damaged(self) -> None:
        """Nothing is added to a file that is not what it was, for good."""
        made = sample()
        self.send(made.slices[0])
        self.send(made.slices[1])
        self.file().write_bytes(made.slices[0] + b"x" * len(made.slices[1]))
        answer = self.send(made.slices[2])
        self.assertEqual(answer.status, 200, "the size is what it was, and nobody reads a file for each slice")
        self.open()
        answer = self.send(made.slices[2])
        self.assertEqual((answer.status, answer.code), (409, "RECORDING_CLOSED"))
        self.assertIn("is damaged, and nothing is added to it", answer.sentence)


class RestartTests(RecordingsTestCase):
    """What counts is in the files: an auth server that crashed at any moment goes on from there."""

    def look(self) -> None:
        self.now(self.recordings.making.look())

    def test_in_the_middle(self) -> None:
        made = sample()
        for number, each in enumerate(made.slices, 1):
            self.open()
            self.assertEqual(self.send(each).body["next"], number)
        self.assertEqual(self.file().read_bytes(), made.whole)
        self.assertTrue(self.recording().complete)

    def test_torn(self) -> None:
        """A slice that was not acknowledged comes again, and its torn beginning is gone."""
        made = sample()
        self.send(made.slices[0])
        self.file().write_bytes(made.slices[0] + made.slices[1][:50])
        self.open()
        self.assertEqual(self.recording().size, len(made.slices[0]))
        self.send(made.slices[1])
        self.send(made.slices[2])
        self.assertEqual(self.file().read_bytes(), made.whole)

    def test_written_and_not_answered(self) -> None:
        made = sample()
        self.send(made.slices[0])
        self.file().write_bytes(made.slices[0] + made.slices[1])
        self.open()
        self.assertEqual(self.send(made.slices[1]).body["next"], 2)

    def test_before_the_file(self) -> None:
        """It is listed first; where its file was never made, it is listed no more."""
        self.patch(Files, "append", lambda *arguments: self.fail_with(StorageError("killed")))
        self.send(encoded(start()))
        self.open()
        self.look()
        answer = self.call(self.admin(), "GET", "/v1/namespaces/default/recordings")
        self.assertEqual(answer.items, [])

    def fail_with(self, reason: TeleportError) -> None:
        raise reason

    def test_before_the_end_was_listed(self) -> None:
        """The last slice was acknowledged, and the list follows, with the event."""
        made = sample()
        finish = self.patch(Index, "finish", lambda index, recording: self.never_written())
        self.hand_in(made)
        self.assertEqual(self.emitted.named("session.upload"), [])
        self.assertEqual(self.recording().state, RecordingState.RECORDING)
        finish.restore()
        self.open()
        self.look()
        self.assertEqual(self.recording().state, RecordingState.COMPLETE)
        self.look()
        self.assertEqual(len(self.emitted.named("session.upload")), 1)
        self.assertEqual(self.now(self.recordings.making._index.open_ids()), [])

    async def never_written(self) -> None:
        raise StorageError("The database cannot be written.")

    def test_list_that_knows_less(self) -> None:
        """A storage that was restored is older than the files: each is found by its id, and listed from then on."""
        made = sample()
        self.send(made.slices[0])
        self.hand_in(sample(OTHER_SID), OTHER_SID)
        self.backend = MemoryBackend(self.clock)
        self.open()
        self.node = self.host(self.join())
        self.assertEqual(self.call(self.admin(), "GET", "/v1/namespaces/default/recordings").items, [])
        self.send(made.slices[1])
        self.assertTrue(self.recording(OTHER_SID).complete)
        self.assertEqual(len(self.call(self.admin(), "GET", "/v1/namespaces/default/recordings").items), 2)


class SilenceTests(RecordingsTestCase):
    def test_given_up(self) -> None:
        """Nothing came for a day: it is incomplete, which is an event, and what comes later is taken all the same."""
        made = sample()
        self.send(made.slices[0])
        self.clock.advance(RECORDING_SILENT_S - 1)
        self.now(self.recordings.making.look())
        self.assertEqual(self.emitted.named("session.recording.incomplete"), [])
        self.clock.advance(1)
        self.now(self.recordings.making.look())
        self.now(self.recordings.making.look())
        [event] = self.emitted.named("session.recording.incomplete")
        self.assertEqual((event.fields["sid"], event.fields["reason"]), (SID, "Nothing came of it for 24 hours."))
        given_up = self.recording()
        self.assertEqual((given_up.state, given_up.ended_at), (RecordingState.INCOMPLETE, NOW + 0.001))
        self.send(made.slices[1])
        self.assertEqual((self.recording().state, self.recording().reason), (RecordingState.RECORDING, ""))
        self.send(made.slices[2])
        self.assertTrue(self.recording().complete)

    def test_each_slice_counts(self) -> None:
        made = sample()
        self.send(made.slices[0])
        self.clock.advance(RECORDING_SILENT_S - 1)
        self.send(made.slices[1])
        self.clock.advance(RECORDING_SILENT_S - 1)
        self.now(self.recordings.making.look())
        self.assertEqual(self.recording().state, RecordingState.RECORDING)

    def test_quiet_session(self) -> None:
        """A session that goes on may be silent for as long as it likes."""
        self.send(sample().slices[0])
        self.clock.advance(RECORDING_SILENT_S)
        running = ActiveSession(SID, "alice", "root", WEB1, "web1", "192.0.2.7:4000", NOW, NOW)
        self.now(self.cluster.sessions.put(running))
        self.now(self.recordings.making.look())
        self.assertEqual(self.recording().state, RecordingState.RECORDING)

    def test_after_a_restart(self) -> None:
        """Auth that was away looks when the file was written last."""
        self.send(sample().slices[0])
        self.open()
        os.utime(self.file(), (NOW, NOW + 1 - RECORDING_SILENT_S))
        self.now(self.recordings.making.look())
        self.assertEqual(self.recording().state, RecordingState.RECORDING)
        self.clock.advance(1)
        self.now(self.recordings.making.look())
        self.assertEqual(self.recording().state, RecordingState.INCOMPLETE)

    def test_damaged(self) -> None:
        """What nobody can read is given up at once."""
        self.send(sample().slices[0])
        self.file().write_bytes(b"x" * 300)
        self.open()
        self.now(self.recordings.making.look())
        self.assertIn("is damaged", self.recording().reason)

    def test_periodic(self) -> None:
        """From the start of the service to its end, every ten minutes."""
        self.send(sample().slices[0])
        self.recordings.start()
        self.clock.advance(0)
        for _ in range(int(RECORDING_SILENT_S / RECORDINGS_LOOKED_AT_S)):
            self.clock.advance(RECORDINGS_LOOKED_AT_S)
        self.assertEqual(len(self.emitted.named("session.recording.incomplete")), 1)
        self.now(self.recordings.stop())
        self.now(self.recordings.stop())


@define
class Slow:
    """A thread that answers when it is told to."""

    waiting: list[Deferred[None]]

    def __call__(self, call: Callable[[], object]) -> Deferred[object]:
        done: Deferred[None] = Deferred()
        self.waiting.append(done)
        return done.addCallback(lambda _: call())


class AtOnceTests(RecordingsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.slow = Slow([])
        self.recordings = Recordings.of(
            self.clocks,
            Files(self.records),
            self.backend,
            self.slow,  # type: ignore[arg-type]  # slow as it is
            self.emitted,
            self.cluster.sessions.host_of,
        )

    def take(self, piece: bytes, sid: str = SID, host: str = WEB1) -> Deferred[object]:
        return Deferred.fromCoroutine(self.recordings.making.take(sid, piece, host, ADDRESS))

    def finish(self) -> None:
        while self.slow.waiting:
            self.slow.waiting.pop(0).callback(None)

    def test_one_after_the_other(self) -> None:
        """Slices that come all at once are taken in their order, and each waits for the one before."""
        made = sample()
        taken = [self.take(each) for each in made.slices]
        self.assertEqual(len(self.slow.waiting), 1)
        self.finish()
        self.assertEqual([getattr(self.successResultOf(each), "index", None) for each in taken], [1, 2, 3])
        self.assertEqual(self.file().read_bytes(), made.whole)

    def test_crowd(self) -> None:
        """A recording has a short queue, and so have all of them; who is refused may try again."""
        self.patch(module, "SLICES_OF_A_HOST_IN_PROGRESS", SLICES_IN_PROGRESS + 1)
        first = sample().slices[0]
        taken = [self.take(first) for _ in range(1 + SLICES_OF_A_RECORDING_WAITING)]
        refused = self.failureResultOf(self.take(first)).value
        self.assertEqual(
            (refused.code, refused.sentence),
            ("LIMIT_EXCEEDED", "Too much waits for this recording; try again in a few seconds."),
        )
        for number in range(SLICES_IN_PROGRESS - len(taken)):
            sid = f"{number:08x}{SID[8:]}"
            taken.append(self.take(encoded(start(sid)), sid))
        refused = self.failureResultOf(self.take(encoded(start(OTHER_SID)), OTHER_SID)).value
        self.assertEqual(refused.code, "LIMIT_EXCEEDED")
        self.assertEqual(refused.sentence, "256 slices of recordings are in progress; try again in a few seconds.")
        self.assertEqual(len(self.slow.waiting), 4, "threads are left for others")
        self.finish()
        for each in taken:
            self.successResultOf(each)
        self.assertEqual(self.recordings.making._turns, {})

    def test_crowd_of_a_host(self) -> None:
        """A host that sends as much as it can does not take the places of the others."""
        taken = []
        for number in range(SLICES_OF_A_HOST_IN_PROGRESS):
            sid = f"{number:08x}{SID[8:]}"
            taken.append(self.take(encoded(start(sid)), sid))
        refused = self.failureResultOf(self.take(sample().slices[0])).value
        self.assertEqual(refused.code, "LIMIT_EXCEEDED")
        self.assertEqual(
            refused.sentence, "32 slices of this host's recordings are in progress; try again in a few seconds."
        )
        other = self.take(encoded(start(OTHER_SID, server_id=WEB2)), OTHER_SID, WEB2)
        self.finish()
        for each in (*taken, other):
            self.successResultOf(each)


class OwnTests(RecordingsTestCase):
    def test_bound_of_a_host(self) -> None:
        """What is being made is counted for each host, and what has ended is not."""
        self.patch(module, "MAX_RECORDINGS_PER_HOST", 1)
        self.send(sample().slices[0])
        answer = self.send(encoded(start(OTHER_SID)), OTHER_SID)
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))
        self.assertEqual(answer.sentence, "A host makes at most 1 recordings at one time.")
        theirs = encoded(start(OTHER_SID, server_id=WEB2))
        self.assertEqual(self.send(theirs, OTHER_SID, self.other).status, 200)
        for each in sample().slices[1:]:
            self.send(each)
        third = f"2{SID[1:]}"
        self.assertEqual(self.send(encoded(start(third)), third).status, 200)

    def test_where_the_session_runs(self) -> None:
        """A session that another host has announced is that one's to record."""
        theirs = ActiveSession(SID, "alice", "root", WEB2, "web2", "192.0.2.7:4000", NOW, NOW)
        self.now(self.cluster.sessions.put(theirs))
        answer = self.send(encoded(start()))
        self.assertEqual((answer.status, answer.code), (403, "ACCESS_DENIED"))
        self.now(self.cluster.sessions.put(evolve(theirs, id=OTHER_SID, server_id=WEB1)))
        self.assertEqual(self.send(encoded(start(OTHER_SID)), OTHER_SID).status, 200)
