"""Recordings reach auth however often it is away, and none holds up the others."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.put_aside import REFUSED
from teleport_conch.audit.upload import Upload
from teleport_conch.audit.upload_spool import BLOCK_BYTES, UploadSpool
from teleport_conch.audit.uploader import (
    BROKEN_OFF,
    MAX_AT_ONCE,
    MAX_RETRY_S,
    SLICES_IN_TURN,
    STOP_S,
    SYNC_S,
    Uploader,
)
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    ConnectionProblem,
    DiskLow,
    StorageError,
    StorageFull,
    TeleportError,
)
from tests.audit.shipping import SIDS, SampleAuth, at_once, slices_of


class UploaderCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.directory = Path(self.mktemp())
        self.auth = SampleAuth()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.uploader = self.made()

    def made(self) -> Uploader:
        """Of a process, which starts."""
        spool = UploadSpool(self.directory, at_once)
        uploader = Uploader(self.clock, spool, lambda: self.auth, self.emit, lambda seconds: seconds)
        uploader.startService()
        self.addCleanup(spool.close)
        return uploader

    def emit(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))

    def keep(self, upload: Upload, slices: list[bytes], start: int = 0) -> None:
        for index, encoded in enumerate(slices, start):
            self.successResultOf(Deferred.fromCoroutine(self.uploader.keep(upload, index, encoded)))

    def session(self, sid: str, *texts: bytes) -> list[bytes]:
        """One that has been, and what was recorded of it."""
        upload, slices = self.uploader.begin(sid, "alice"), slices_of(*texts)
        self.keep(upload, slices)
        self.uploader.end(upload)
        return slices

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())


class UploaderTests(UploaderCase):
    def test_at_once(self) -> None:
        """What is kept is sent, slice by slice, and forgotten with the last one."""
        slices = self.session(SIDS[0], b"one", b"two")
        self.assertEqual(self.auth.kept[SIDS[0]], slices)
        self.assertEqual((list(self.directory.iterdir()), self.uploader._uploads), ([], {}))

    def test_away(self) -> None:
        """While auth is away, slices wait; the tries come at growing distances, and the log has one line of it."""
        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")
        with capturedLogs() as lines:
            slices = self.session(SIDS[0], b"one", b"two")
            self.assertEqual(len(self.auth.asked), 1)
            for wait_s in (1, 2, 4):
                self.clock.advance(wait_s - 0.1)
                before = len(self.auth.asked)
                self.clock.advance(0.1)
                self.assertEqual(len(self.auth.asked), before + 1)
        told = [line for line in lines if "Recordings wait" in str(line["log_format"])]
        self.assertEqual([line["why"] for line in told], ["Auth is away."])
        self.auth.problem = lambda sid, index: None
        self.clock.advance(MAX_RETRY_S)
        self.assertEqual((self.auth.kept[SIDS[0]], self.files()), (slices, []))

    def test_disk_of_auth(self) -> None:
        """So do they while auth has no room."""
        self.auth.problem = lambda sid, index: DiskLow("No room.")
        slices = self.session(SIDS[0], b"one")
        self.auth.problem = lambda sid, index: None
        self.clock.advance(1)
        self.assertEqual((self.auth.kept[SIDS[0]], self.events), (slices, []))

    def test_one_at_a_time(self) -> None:
        """Of each recording one slice is on its way, and of all recordings no more than the bound; then the next."""
        self.auth.silent = True
        for sid in SIDS[: MAX_AT_ONCE + 2]:
            self.session(sid, b"one")
        self.assertEqual(self.auth.asked, [(sid, 0) for sid in SIDS[:MAX_AT_ONCE]])
        self.auth.silent = False
        for waiting in self.auth.waiting:
            waiting.callback(None)
        self.assertEqual(len(self.auth.kept), MAX_AT_ONCE + 2)
        self.assertTrue(all(len(slices) == 3 for slices in self.auth.kept.values()))

    def test_flood(self) -> None:
        """Sessions that show more than can be sent, as many as are sent at one time, hold up no other."""
        floods, other = SIDS[:MAX_AT_ONCE], SIDS[MAX_AT_ONCE]
        slices = slices_of(*(b"y\n" for _ in range(10 * SLICES_IN_TURN)), last=False)
        uploads = {sid: self.uploader.begin(sid, "alice") for sid in floods}

        def more(sid: str, index: int) -> None:
            if sid in uploads and index + 1 < len(slices):
                self.keep(uploads[sid], [slices[index + 1]], index + 1)

        self.auth.silent, self.auth.problem = True, more
        for upload in uploads.values():
            self.keep(upload, slices[:1])
        self.session(other, b"one")
        self.auth.silent = False
        for waiting in self.auth.waiting:
            waiting.callback(None)
        before = self.auth.asked.index((other, 0))
        self.assertLessEqual(before, MAX_AT_ONCE * SLICES_IN_TURN)
        self.assertEqual([len(self.auth.kept[sid]) for sid in floods], [len(slices)] * MAX_AT_ONCE)
        self.assertTrue(self.auth.is_complete(other))

    def test_shares(self) -> None:
        """While auth is away somebody who shows very much leaves as much room to others as they take, and hears so."""
        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")
        self.uploader.spool._max_bytes = 10 * BLOCK_BYTES
        slices = slices_of(*(b"y\n" for _ in range(10)), last=False)
        first, second = (self.uploader.begin(sid, "alice") for sid in SIDS[:2])
        self.keep(first, slices[:3])
        self.keep(second, slices[:3])
        for greedy in (first, second):
            refusal = self.failureResultOf(
                Deferred.fromCoroutine(self.uploader.keep(greedy, 3, slices[3])), StorageFull
            )
            self.assertEqual(
                refusal.value.sentence,
                "Recordings of alice wait on this node for the auth server, 24 KiB of them, and there is less room than"
                " that left for those of others.",
            )
        self.keep(self.uploader.begin(SIDS[2], "bob"), slices[:2])
        in_need = self.uploader.keep(first, 3, slices[3], emergency=True)
        self.successResultOf(Deferred.fromCoroutine(in_need))

    def test_refused_at_once(self) -> None:
        """Of a recording whose first slice auth refuses, there is nothing to put aside, and nothing to try again."""
        upload = self.uploader.begin(SIDS[0], "alice")
        self.uploader.refuse(upload, "Not yours.")
        self.uploader.end(upload)
        self.assertEqual((self.uploader._uploads, self.clock.getDelayedCalls()), ({}, []))
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_not_put_aside(self) -> None:
        """Where that fails it is tried again, and what lies there counts until it is gone."""
        self.auth.problem = lambda sid, index: BadParameter("No.")
        in_the_way = self.directory / REFUSED
        in_the_way.touch()
        slices = self.session(SIDS[0], b"one")
        self.assertEqual(self.uploader.spool.ends(SIDS[0]), (0, len(slices) - 1))
        in_the_way.unlink()
        self.clock.advance(1)
        self.assertEqual(len(self.files()), len(slices))
        self.assertTrue(all(name.startswith(f"{REFUSED}/") for name in self.files()))
        self.assertEqual((self.uploader._uploads, self.uploader.spool._bytes), ({}, 0))

    def test_refused(self) -> None:
        """One that auth refuses for good is put aside, with an event and a line in the log; the others go on."""
        self.auth.problem = lambda sid, index: AccessDenied("Not yours.") if (sid, index) == (SIDS[0], 1) else None
        with capturedLogs() as lines:
            slices = self.session(SIDS[0], b"one")
        self.assertEqual(self.events, [("session.recording.put_aside", {"sid": SIDS[0], "reason": "Not yours."})])
        self.assertIn(f"refused/{SIDS[0]}/000002.slice", self.files())
        self.assertTrue([line for line in lines if line.get("why") == "Not yours."])
        other = self.session(SIDS[1], b"two")
        self.assertEqual(self.auth.kept, {SIDS[0]: slices[:1], SIDS[1]: other})
        self.assertEqual([name for name in self.files() if not name.startswith("refused")], [])

    def test_refused_while_it_is_made(self) -> None:
        """It is kept on until its session is over, and auth is not asked any more."""
        self.auth.problem = lambda sid, index: BadParameter("No.") if index == 1 else None
        upload, slices = self.uploader.begin(SIDS[0], "alice"), slices_of(b"one", b"two", b"three")
        for index, encoded in enumerate(slices):
            self.keep(upload, [encoded], index)
        self.assertEqual((self.auth.asked, len(self.events)), ([(SIDS[0], 0), (SIDS[0], 1)], 1))
        self.uploader.end(upload)
        self.assertEqual(self.files(), [f"refused/{SIDS[0]}/00000{index}.slice" for index in range(len(slices))])

    def test_mistakes(self) -> None:
        """What nobody foresaw is in the log with its place, is tried again, and holds up nobody."""
        mistake = ValueError("oops")

        def broken(sid: str, index: int) -> TeleportError | None:
            if sid == SIDS[0]:
                raise mistake
            return None

        self.auth.problem = broken
        first, second = self.session(SIDS[0], b"one"), self.session(SIDS[1], b"two")
        self.assertEqual(self.flushLoggedErrors(ValueError)[0].value, mistake)
        self.assertEqual(self.auth.kept, {SIDS[1]: second})
        self.auth.problem = lambda sid, index: None
        self.clock.advance(1)
        self.assertEqual(self.auth.kept[SIDS[0]], first)

    def test_synced(self) -> None:
        """The disk is told to keep what was written, soon, and of many slices at once."""
        synced: list[int] = []

        async def sync(spool: UploadSpool) -> None:
            synced.append(1)

        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")
        self.patch(UploadSpool, "sync", sync)
        self.session(SIDS[0], b"one", b"two")
        self.clock.advance(SYNC_S)
        self.assertEqual(len(synced), 1)

    def test_not_synced(self) -> None:
        """A disk that does not keep is in the log."""

        async def sync(spool: UploadSpool) -> None:
            raise OSError(5, "Input/output error")

        self.patch(UploadSpool, "sync", sync)
        self.session(SIDS[0], b"one")
        self.clock.advance(SYNC_S)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_unusable(self) -> None:
        directory = Path(self.mktemp())
        directory.touch()
        spool = UploadSpool(directory, at_once)
        uploader = Uploader(self.clock, spool, lambda: self.auth, self.emit, lambda seconds: seconds)
        self.assertRaises(StorageError, uploader.startService)


class RestartTests(UploaderCase):
    """Another process goes on where one has ended."""

    def test_killed(self) -> None:
        """What lies there is sent, and says that its end is missing; one that had ended is complete."""
        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")
        upload, slices = self.uploader.begin(SIDS[0], "alice"), slices_of(b"one", b"two", last=False)
        self.keep(upload, slices)
        self.session(SIDS[1], b"whole")
        self.auth.problem = lambda sid, index: None
        self.made()
        self.assertEqual(self.auth.kept[SIDS[0]][:-1], slices)
        self.assertEqual(self.auth.end(SIDS[0]), {"exit": None, "complete": False, "reason": BROKEN_OFF})
        self.assertTrue(self.auth.is_complete(SIDS[1]))
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_killed_after_all_was_sent(self) -> None:
        """A recording of which auth has all that there is gets its end, too."""
        self.keep(self.uploader.begin(SIDS[0], "alice"), slices_of(b"one", last=False))
        self.assertEqual(len(self.auth.kept[SIDS[0]]), 2)
        self.made()
        self.assertEqual(self.auth.end(SIDS[0])["reason"], BROKEN_OFF)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_empty(self) -> None:
        """A folder without slices goes, and nobody is asked."""
        (self.directory / SIDS[0]).mkdir()
        self.made()
        self.assertEqual((self.auth.asked, list(self.directory.iterdir())), ([], []))

    def test_broken_off(self) -> None:
        """A session of which no more could be kept has an end that says why."""
        upload = self.uploader.begin(SIDS[0], "alice")
        self.keep(upload, slices_of(b"one", last=False))
        self.uploader.end(upload, "The disk was full.")
        self.assertEqual(self.auth.end(SIDS[0])["reason"], "The disk was full.")


class StopTests(UploaderCase):
    def test_sent(self) -> None:
        """What waits for its turn is sent before the end, for a while."""
        self.auth.silent = True
        for sid in SIDS[: MAX_AT_ONCE + 2]:
            self.session(sid, b"one")
        stopped = self.uploader.stopService()
        self.assertNoResult(stopped)
        self.auth.silent = False
        for waiting in self.auth.waiting:
            waiting.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(len(self.auth.kept), MAX_AT_ONCE + 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_slow(self) -> None:
        """What does not get there in time waits for the next start."""
        self.auth.silent = True
        slices = self.session(SIDS[0], b"one")
        stopped = self.uploader.stopService()
        self.clock.advance(STOP_S)
        self.successResultOf(stopped)
        self.assertEqual(len(self.files()), len(slices))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_away(self) -> None:
        """While auth is away there is nothing to wait for."""
        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")
        self.session(SIDS[0], b"one")
        self.successResultOf(self.uploader.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
