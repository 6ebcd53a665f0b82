"""Threat 85 on a node: a full disk, a process that is killed in the middle of a record, and a clock that is set.

What auth does then is with the other threats of recordings; a real full disk is in tests/interop.
"""

from __future__ import annotations

import errno
import os

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from teleport_conch.audit import upload_spool
from teleport_conch.audit.recording import read
from teleport_conch.audit.uploader import BROKEN_OFF
from teleport_conch.errors import NotRecorded
from teleport_conch.node.recordings import Recorded
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.process_session import ProcessSession
from tests.audit.shipping import SIDS
from tests.node.test_active import SESSION
from tests.node.test_recordings import TERMINAL, RecordingsCase

SID = SIDS[0]


class T85RecordedSessions(RecordingsCase):
    def test_full_disk_at_the_start(self) -> None:
        """A session that could not be recorded does not start, and nothing of it is left."""
        process = self.process()
        self.patch(os, "write", no_space)
        recorder = process.recorder(Recorded(SESSION, TERMINAL, "main", False))
        assert recorder is not None
        starting = Deferred.fromCoroutine(recorder.begins(ProcessSession([recorder])))
        refusal = self.failureResultOf(starting, NotRecorded).value
        self.assertEqual(
            refusal.sentence,
            "The session would not be recorded, and is not started. The recording could not be written: No space left"
            " on device.",
        )
        self.assertEqual([path for path in self.folder.rglob("*") if path.is_file()], [])

    def test_full_disk_later(self) -> None:
        """What does not fit on the disk goes to auth, and the chain is whole."""
        recorder = self.session(self.process(), SID)
        self.patch(os, "write", no_space)
        recorder.output(b"shown")
        recorder.ended(ExitStatus(code=0))
        self.assertEqual((self.auth.shown(SID), self.auth.is_complete(SID)), (b"shown", True))
        self.assertEqual(len(list(read(self.auth.kept[SID]))), 2)

    def test_full_disk_and_no_auth(self) -> None:
        """Where there is no place at all for what a session shows, it does not go on."""
        process = self.process()
        recorder = process.recorder(Recorded(SESSION, TERMINAL, "main", False))
        assert recorder is not None
        session = ProcessSession([recorder])
        self.successResultOf(Deferred.fromCoroutine(session.begin()))
        self.away()
        self.patch(os, "write", no_space)
        session.output_received(b"shown")
        self.clock.pump([1.0] * 12)
        self.assertTrue(session._over)
        self.assertIn("session.recording.failed", self.events)
        self.back()
        self.assertFalse(self.auth.is_complete(SESSION.id))
        self.assertIn("could not be written", str(self.auth.end(SESSION.id)["reason"]))

    def test_killed_while_writing(self) -> None:
        """Wherever in a slice a process was killed: what is whole is kept, the chain verifies, the end is missing."""
        self.away()
        recorder = self.session(self.process(), SID)
        for text in (b"first", b"second"):
            recorder.output(text)
            self.clock.advance(2)
        folder = self.folder / "node" / SID
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        whole = kept["000002.slice"]
        self.auth.problem = lambda sid, index: None
        for size in (0, 1, 40, len(whole) // 2, len(whole) - 1):
            self.auth.kept.clear()
            folder.mkdir(exist_ok=True)
            for name, data in {**kept, "000002.slice": whole[:size]}.items():
                (folder / name).write_bytes(data)
            self.process()
            self.assertEqual(self.auth.shown(SID), b"first", size)
            self.assertFalse(self.auth.is_complete(SID))
            self.assertEqual(len(list(read(self.auth.kept[SID]))), 3)
        self.assertEqual(self.auth.end(SID)["reason"], BROKEN_OFF)

    def test_clock_is_set(self) -> None:
        """Times in a recording are of a clock that nobody sets: they do not run back when the host's does."""
        recorder = self.session(self.process(), SID)
        self.clock.advance(10)
        recorder.output(b"before")
        recorder._clock = Clock()  # that of the host, which is 1970 again
        self.clock.advance(5)
        recorder.output(b"after")
        recorder.ended(ExitStatus(code=0))
        times = [record.at_us for each in read(self.auth.kept[SID]) for record in each.records]
        self.assertEqual(times, [0, 10_000_000, 15_000_000, 15_000_000])

    def test_mark(self) -> None:
        """Long before the disk is full, recordings leave the rest of it to others."""
        self.assertEqual((upload_spool.MIN_FREE_BYTES, upload_spool.MIN_FREE_SHARE), (256 << 20, 0.05))


def no_space(fd: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
