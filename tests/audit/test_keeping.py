"""Where slices go, and what happens where there is no place for them."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.keeping import DELIVER_S, Keeping
from teleport_conch.audit.upload_spool import UploadSpool
from teleport_conch.audit.uploader import Uploader
from teleport_conch.errors import BadParameter, ConnectionProblem, DiskLow, NotRecorded, StorageFull
from tests.audit.shipping import SIDS, SampleAuth, at_once, slices_of

SID = SIDS[0]
DISK = 100 << 20
NO_DISK = "The disk for recordings on this node has 0 KiB left, and 5120 KiB are kept for other things."


class KeepingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.auth, self.free = Clock(), SampleAuth(), DISK
        self.directory = Path(self.mktemp())
        self.events: list[str] = []
        spool = UploadSpool(self.directory, at_once, sizes=lambda folder: (DISK, self.free))
        self.uploader = Uploader(self.clock, spool, lambda: self.auth, self.emit, lambda seconds: seconds)
        self.uploader.startService()
        self.addCleanup(spool.close)

    def emit(self, name: str, **fields: object) -> None:
        self.events.append(name)

    def keeping(self, at_auth: bool = False, emergency: bool = False) -> Keeping:
        return Keeping(self.clock, self.uploader, self.uploader.begin(SID, "alice"), at_auth, emergency)

    def begin(self, keeping: Keeping, encoded: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(keeping.begin(encoded))

    def keep(self, keeping: Keeping, encoded: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(keeping.keep(encoded))

    def keep_rest(self, keeping: Keeping, encoded: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(keeping.keep_rest(encoded))

    def refusal(self, kept: Deferred[None]) -> str:
        failure = self.failureResultOf(kept, NotRecorded)
        return str(failure.value.sentence)

    def begun(self, at_auth: bool = False, emergency: bool = False) -> tuple[Keeping, list[bytes]]:
        """A session that is recorded, and its slices."""
        keeping, slices = self.keeping(at_auth, emergency), slices_of(b"one", b"two", b"three")
        self.successResultOf(self.begin(keeping, slices[0]))
        return keeping, slices

    def away(self) -> None:
        self.auth.problem = lambda sid, index: ConnectionProblem("Auth is away.")

    def back(self) -> None:
        self.auth.problem = lambda sid, index: None
        self.clock.advance(60)


class SpooledTests(KeepingCase):
    def test_away(self) -> None:
        """A session begins and goes on without auth, and nothing of it is lost."""
        self.away()
        keeping, slices = self.begun()
        for encoded in slices[1:]:
            self.successResultOf(self.keep(keeping, encoded))
        keeping.end()
        self.back()
        self.assertEqual(self.auth.kept[SID], slices)

    def test_no_room_at_the_start(self) -> None:
        """Without room on the disk it does not start, also where auth would take it."""
        self.free = 0
        keeping = self.keeping()
        why = self.refusal(self.begin(keeping, slices_of()[0]))
        self.assertEqual(why, f"The session would not be recorded, and is not started. {NO_DISK}")
        keeping.end()
        self.assertEqual((self.auth.kept, self.uploader._uploads), ({}, {}))

    def test_no_room_later(self) -> None:
        """A session under way hands its slices to auth while there is no room, behind those on the disk."""
        self.away()
        keeping, slices = self.begun()
        self.back()
        self.free = 0
        self.successResultOf(self.keep(keeping, slices[1]))
        self.assertEqual((self.auth.kept[SID], self.uploader.spool.ends(SID)), (slices[:2], (0, 0)))
        self.free = DISK
        for encoded in slices[2:]:
            self.successResultOf(self.keep(keeping, encoded))
        keeping.end()
        self.assertEqual(self.auth.kept[SID], slices)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_no_room_anywhere(self) -> None:
        """Where auth does not take them either, for so long, that is the end; what is left goes wherever it can."""
        keeping, slices = self.begun()
        self.away()
        self.free = 0
        kept = self.keep(keeping, slices[1])
        self.clock.pump([1.0] * int(DELIVER_S - 1))
        self.assertNoResult(kept)
        self.clock.advance(1)
        self.assertEqual(
            self.refusal(kept),
            f"The session cannot be recorded any more. {NO_DISK} The auth server did not take the recording within 10"
            " seconds: Auth is away.",
        )
        self.failureResultOf(self.keep_rest(keeping, slices[1]), StorageFull)
        self.free = (DISK >> 6) * 2
        self.successResultOf(self.keep_rest(keeping, slices[1]))

    def test_emergency(self) -> None:
        """A session of an emergency uses what others leave."""
        self.free = (DISK >> 6) * 2
        self.refusal(self.begin(self.keeping(), slices_of()[0]))
        keeping, slices = self.begun(emergency=True)
        self.away()
        self.successResultOf(self.keep(keeping, slices[1]))

    def test_refused(self) -> None:
        """What auth refuses for good is kept on all the same, and then put aside."""
        self.auth.problem = lambda sid, index: BadParameter("No.")
        keeping, slices = self.begun()
        for encoded in slices[1:]:
            self.successResultOf(self.keep(keeping, encoded))
        keeping.end()
        self.assertEqual(len(list((self.directory / "refused" / SID).iterdir())), len(slices))


class AtAuthTests(KeepingCase):
    """The mode in which auth takes everything at once."""

    def test_taken(self) -> None:
        """Nothing is on the disk."""
        keeping, slices = self.begun(at_auth=True)
        for encoded in slices[1:]:
            self.successResultOf(self.keep(keeping, encoded))
            self.assertEqual(list(self.directory.iterdir()), [])
        keeping.end()
        self.assertEqual((self.auth.kept[SID], self.uploader._uploads), (slices, {}))

    def test_away_at_the_start(self) -> None:
        """It does not start without auth; there is one try."""
        self.away()
        why = self.refusal(self.begin(self.keeping(at_auth=True), slices_of()[0]))
        self.assertEqual(why, "The session would not be recorded, and is not started. Auth is away.")
        self.assertEqual((len(self.auth.asked), self.clock.getDelayedCalls()), (1, []))

    def test_silent_at_the_start(self) -> None:
        """Nor does it wait for ever."""
        self.auth.silent = True
        begun = self.begin(self.keeping(at_auth=True), slices_of()[0])
        self.clock.advance(DELIVER_S - 0.1)
        self.assertNoResult(begun)
        self.clock.advance(0.1)
        self.assertEqual(
            self.refusal(begun),
            "The session would not be recorded, and is not started. The auth server did not take the recording within"
            " 10 seconds: The auth server did not answer.",
        )

    def test_started_again(self) -> None:
        """An auth server that starts again within the time costs nothing."""
        keeping, slices = self.begun(at_auth=True)
        self.auth.problem = lambda sid, index: DiskLow("No room.")
        kept = self.keep(keeping, slices[1])
        self.clock.pump([1.0] * 5)
        self.assertNoResult(kept)
        self.auth.problem = lambda sid, index: None
        self.clock.advance(1)
        self.successResultOf(kept)
        self.assertEqual(self.auth.kept[SID], slices[:2])

    def test_answer_lost(self) -> None:
        """A slice whose answer was lost is sent again, and is there once."""
        keeping, slices = self.begun(at_auth=True)
        self.auth.lost_answers = ConnectionProblem("Lost.")
        kept = self.keep(keeping, slices[1])
        self.auth.lost_answers = None
        self.clock.advance(1)
        self.successResultOf(kept)
        self.assertEqual(self.auth.kept[SID], slices[:2])

    def test_away_later(self) -> None:
        """It ends without auth; what is left goes to the disk, and from there to auth."""
        keeping, slices = self.begun(at_auth=True)
        self.away()
        kept = self.keep(keeping, slices[1])
        self.clock.pump([1.0] * 10)
        self.assertEqual(
            self.refusal(kept),
            "The session cannot be recorded any more. The auth server did not take the recording within 10 seconds:"
            " Auth is away.",
        )
        for encoded in slices[1:]:
            self.successResultOf(self.keep_rest(keeping, encoded))
        keeping.end()
        self.back()
        self.assertEqual(self.auth.kept[SID], slices)

    def test_refused(self) -> None:
        """A refusal for good ends it at once, with an event."""
        keeping, slices = self.begun(at_auth=True)
        self.auth.problem = lambda sid, index: BadParameter("No.")
        self.assertEqual(self.refusal(self.keep(keeping, slices[1])), "The session cannot be recorded any more. No.")
        self.assertEqual(self.events, ["session.recording.put_aside"])
        self.assertEqual(self.refusal(self.keep(keeping, slices[1])), "The session cannot be recorded any more. No.")
        self.assertEqual(len(self.events), 1)
