"""A node's recordings from one process to the next."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.uploader import BROKEN_OFF
from teleport_conch.errors import ConnectionProblem
from teleport_conch.node.recorder import Recorder
from teleport_conch.node.recordings import STOP_S, Recorded, Recordings
from teleport_conch.rank import ALONE, Rank
from teleport_conch.resources.cluster import ClusterConfig
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.channel import TerminalRequest
from teleport_conch.ssh.session.process_session import ProcessSession
from tests.audit.shipping import SIDS, SampleAuth, at_once
from tests.node.test_active import SESSION

TERMINAL = TerminalRequest("xterm", 80, 24, 0, 0, b"")
DEAD = 2**22 + 1
"""Above the largest number of a process."""


class RecordingsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.auth = Clock(), SampleAuth()
        self.folder = Path(self.mktemp())
        self.events: list[str] = []

    def emit(self, name: str, **fields: object) -> None:
        self.events.append(name)

    def process(self, rank: Rank = ALONE) -> Recordings:
        """One that starts."""
        made = Recordings(
            self.clock,
            self.folder,
            lambda: self.auth,
            ClusterConfig,
            self.emit,
            rank,
            in_thread=at_once,
            monotonic=self.clock.seconds,
            uniform=lambda: 0.5,
        )
        made.startService()
        self.addCleanup(self.close, made)
        return made

    def close(self, made: Recordings) -> None:
        for uploader in made:
            uploader.spool.close()

    def session(self, process: Recordings, sid: str) -> Recorder:
        """A session that begins there."""
        recorder = process.recorder(Recorded(evolve(SESSION, id=sid), TERMINAL, "main", False))
        assert recorder is not None
        self.successResultOf(Deferred.fromCoroutine(recorder.begins(ProcessSession([recorder]))))
        return recorder

    def away(self) -> None:
        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")

    def back(self) -> None:
        self.auth.problem = lambda sid, index: None
        self.clock.advance(60)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


class RestartTests(RecordingsCase):
    def test_killed(self) -> None:
        """The next process of the same place sends what is there, and says that the end is missing."""
        self.away()
        self.session(self.process(), SIDS[0]).output(b"shown")
        self.clock.advance(2)
        self.auth.problem = lambda sid, index: None
        self.process()
        self.assertEqual((self.auth.shown(SIDS[0]), self.auth.end(SIDS[0])["reason"]), (b"shown", BROKEN_OFF))

    def test_leftovers(self) -> None:
        """What processes left that are gone for good is the leader's to send."""
        self.away()
        for name in ("node", "node.w1"):
            rank = Rank(0 if name == "node" else 1, 2)
            process = self.process(rank)
            self.session(process, SIDS[rank.number]).output(b"shown")
            self.clock.advance(2)
            (self.folder / name).rename(self.folder / f"node.{DEAD + rank.number}")
        self.auth.problem = lambda sid, index: None
        self.process(Rank(1, 2))
        self.assertEqual(self.auth.kept, {})
        self.process(Rank(0, 2))
        self.assertEqual([self.auth.shown(sid) for sid in SIDS[:2]], [b"shown", b"shown"])
        self.process(Rank(0, 2))
        self.assertEqual(self.folders(), ["node", "node.w1"])


class RetiredTests(RecordingsCase):
    def test_takes_along(self) -> None:
        """A process that leaves its place goes on recording its sessions; its successor does not touch them."""
        first = self.process()
        recorder = self.session(first, SIDS[0])
        self.successResultOf(Deferred.fromCoroutine(first.retire()))
        second = self.process()
        self.session(second, SIDS[1])
        self.assertEqual(self.folders(), ["node", f"node.{os.getpid()}"])
        recorder.output(b"shown")
        self.clock.advance(2)
        recorder.ended(ExitStatus(code=0))
        self.assertEqual((self.auth.shown(SIDS[0]), self.auth.is_complete(SIDS[0])), (b"shown", True))
        self.successResultOf(first.stopService())
        self.assertEqual(self.folders(), ["node"])

    def test_gone(self) -> None:
        """What it could not send when it was gone is a leftover."""
        first = self.process()
        recorder = self.session(first, SIDS[0])
        self.away()
        self.successResultOf(Deferred.fromCoroutine(first.retire()))
        recorder.output(b"shown")
        recorder.ended(ExitStatus(code=0))
        self.successResultOf(first.stopService())
        self.assertEqual(self.folders(), [f"node.{os.getpid()}"])
        (self.folder / f"node.{os.getpid()}").rename(self.folder / f"node.{DEAD}")
        self.auth.problem = lambda sid, index: None
        self.process()
        self.assertEqual((self.auth.shown(SIDS[0]), self.auth.is_complete(SIDS[0])), (b"shown", True))

    def test_leaves_the_others(self) -> None:
        """What it was sending for processes that are gone is its successor's."""
        self.away()
        first = self.process()
        self.session(first, SIDS[0])
        (self.folder / "node").rename(self.folder / f"node.{DEAD}")
        second = self.process()
        self.assertEqual(len(list(second)), 2)
        self.successResultOf(Deferred.fromCoroutine(second.retire()))
        self.assertEqual(len(list(second)), 1)

    def test_cannot(self) -> None:
        """A folder that cannot be renamed is in the log; what is recorded goes on."""
        process = self.process()
        recorder = self.session(process, SIDS[0])
        (self.folder / f"node.{os.getpid()}").touch()
        self.successResultOf(Deferred.fromCoroutine(process.retire()))
        recorder.ended(ExitStatus(code=0))
        self.assertTrue(self.auth.is_complete(SIDS[0]))


class StopTests(RecordingsCase):
    def test_ended(self) -> None:
        """A node that is stopped waits for the ends of its sessions, and sends them."""
        process = self.process()
        recorder = self.session(process, SIDS[0])
        recorder.output(b"shown")
        stopped = process.stopService()
        self.assertNoResult(stopped)
        recorder.ended(None)
        self.successResultOf(stopped)
        self.assertEqual((self.auth.shown(SIDS[0]), self.auth.is_complete(SIDS[0])), (b"shown", True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_for_ever(self) -> None:
        """Not longer than a few seconds; the next start says what is missing."""
        process = self.process()
        recorder = self.session(process, SIDS[0])
        stopped = process.stopService()
        self.clock.advance(STOP_S)
        self.successResultOf(stopped)
        recorder.ended(None)
        self.process()
        self.assertFalse(self.auth.is_complete(SIDS[0]))

    def test_idle(self) -> None:
        self.successResultOf(self.process().stopService())


class HeadingTests(RecordingsCase):
    def test_long_names(self) -> None:
        """The start of a recording has room for its names."""
        session = evolve(SESSION, id=SIDS[0], user="u" * 20_000)
        recorder = self.process().recorder(Recorded(session, TERMINAL, "main", False))
        assert recorder is not None
        self.successResultOf(Deferred.fromCoroutine(recorder.begins(ProcessSession([recorder]))))
        self.assertEqual(len(self.auth.kept), 1)
