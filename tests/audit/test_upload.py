"""A recording reaches auth whole and in order, whatever auth has of it already."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import Slice, digest
from teleport_conch.audit.upload import Upload, is_for_good
from teleport_conch.audit.upload_spool import UploadSpool
from teleport_conch.errors import (
    AccessDenied,
    BadParameter,
    ConnectionProblem,
    DiskLow,
    HostLocked,
    LimitExceeded,
    RecordingClosed,
    RecordingOrder,
    TeleportError,
    TooLarge,
)
from tests.audit.shipping import SIDS, SampleAuth, at_once, slices_of

SID = SIDS[0]
CRASH = "The node ended in the middle of the session."


class UploadCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self) -> None:
        self.auth = SampleAuth()
        self.spool = UploadSpool(Path(self.mktemp()), at_once)
        self.spool.open()
        self.addCleanup(self.spool.close)

    def upload(self, live: bool = True, broken_off: str = "") -> Upload:
        return Upload(SID, self.spool, lambda: self.auth, live, broken_off)

    def keep(self, slices: list[bytes], start: int = 0) -> None:
        for index, encoded in enumerate(slices, start):
            self.successResultOf(Deferred.fromCoroutine(self.spool.keep(SID, index, encoded)))

    def catch_up(self, upload: Upload) -> None:
        self.successResultOf(Deferred.fromCoroutine(upload.catch_up()))

    def refused(self, upload: Upload, *kinds: type[TeleportError]) -> str:
        failure = self.failureResultOf(Deferred.fromCoroutine(upload.catch_up()), *kinds)
        return str(failure.value.sentence)


class UploadTests(UploadCase):
    def test_all(self) -> None:
        """What auth has taken goes from the disk, the newest slice last, and the folder with the last slice."""
        slices = slices_of(b"one", b"two")
        upload = self.upload()
        self.keep(slices[:2])
        self.catch_up(upload)
        self.assertEqual((self.auth.kept[SID], self.spool.ends(SID), upload.over), (slices[:2], (1, 1), False))
        self.keep(slices[2:], 2)
        self.catch_up(upload)
        self.assertEqual((self.auth.kept[SID], self.spool.recordings, upload.over), (slices, (), True))
        self.assertEqual(self.auth.asked, [(SID, index) for index in range(4)])

    def test_nothing(self) -> None:
        """Without anything to send, nothing is sent."""
        self.catch_up(self.upload())
        self.assertEqual(self.auth.asked, [])

    def test_away(self) -> None:
        """What auth did not take stays, and is sent the next time."""
        slices = slices_of(b"one", b"two")
        self.keep(slices)
        upload = self.upload()
        self.auth.problem = lambda sid, index: ConnectionProblem("Away.") if index == 2 else None
        self.assertEqual(self.refused(upload, ConnectionProblem), "Away.")
        self.assertEqual(self.spool.ends(SID), (1, 3))
        self.auth.problem = lambda sid, index: None
        self.catch_up(upload)
        self.assertEqual(self.auth.kept[SID], slices)

    def test_answer_lost(self) -> None:
        """A slice whose answer was lost is sent again, and is there once."""
        slices = slices_of(b"one", b"two")
        self.keep(slices)
        upload = self.upload()
        self.auth.lost_answers = ConnectionProblem("Lost.")
        for _ in range(3):
            self.refused(upload, ConnectionProblem)
        self.auth.lost_answers = None
        self.catch_up(upload)
        self.assertEqual((self.auth.kept[SID], upload.over), (slices, True))

    @given(st.integers(2, 7), st.data())
    def test_after_a_crash(self, count: int, data: st.DataObject) -> None:
        """Wherever a process was killed, the next one brings everything there, and then says what is missing."""
        self.start()
        slices = slices_of(*[b"shown"] * count, last=False)
        at_auth = data.draw(st.integers(0, len(slices)))
        oldest = data.draw(st.integers(0, max(0, at_auth - 1)))
        for encoded in slices[:at_auth]:
            self.successResultOf(Deferred.fromCoroutine(self.auth.send_slice(SID, encoded)))
        self.keep(slices[oldest:], oldest)
        upload = self.upload(live=False, broken_off=CRASH)
        self.catch_up(upload)
        self.assertEqual((self.auth.kept[SID][:-1], self.spool.recordings, upload.over), (slices, (), True))
        self.assertEqual(self.auth.end(SID), {"exit": None, "complete": False, "reason": CRASH})

    def test_closed_before(self) -> None:
        """A process that was killed after auth took the last slice, which says what is missing, leaves no riddle."""
        slices = slices_of(b"one", last=False)
        self.keep(slices)
        first = self.upload(live=False, broken_off=CRASH)
        self.auth.lost_answers = None
        self.catch_up(first)
        closed = list(self.auth.kept[SID])
        self.keep(slices[1:], 1)
        second = self.upload(live=False, broken_off=CRASH)
        self.catch_up(second)
        self.assertEqual((self.auth.kept[SID], second.over, self.spool.recordings), (closed, True, ()))

    def test_ended_before(self) -> None:
        """So does one that was killed after auth took the last slice of a session that had ended."""
        slices = slices_of(b"one", b"two")
        for encoded in slices:
            self.successResultOf(Deferred.fromCoroutine(self.auth.send_slice(SID, encoded)))
        self.keep(slices[2:], 2)
        upload = self.upload(live=False, broken_off=CRASH)
        self.catch_up(upload)
        self.assertEqual((self.auth.kept[SID], upload.over), (slices, True))

    def test_torn(self) -> None:
        """Slices that a cut of power took are missing, and the recording says so."""
        slices = slices_of(b"one", b"two", b"three")
        for damaged in (b"", bytes(len(slices[2])), slices[2][:-1], slices[2][:60] + bytes(len(slices[2]) - 60)):
            self.start()
            self.keep([*slices[:2], damaged, *slices[3:]])
            upload = self.upload(live=False, broken_off="")
            self.catch_up(upload)
            self.assertEqual(self.auth.kept[SID][:-1], slices[:2])
            self.assertEqual(self.auth.end(SID)["reason"], "The end of the recording was lost on the disk of the node.")

    def test_nothing_whole(self) -> None:
        """Where nothing is whole, nothing is sent."""
        self.keep([b""])
        self.catch_up(self.upload(live=False, broken_off=CRASH))
        self.assertEqual((self.auth.asked, self.spool.ends(SID)), ([], None))


class PastTheSpoolTests(UploadCase):
    """Slices that are in no spool."""

    def deliver(self, upload: Upload, encoded: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(upload.deliver(encoded))

    def test_alone(self) -> None:
        slices, upload = slices_of(b"one"), self.upload()
        for encoded in slices:
            self.successResultOf(self.deliver(upload, encoded))
        self.assertEqual((self.auth.kept[SID], upload.over), (slices, True))

    def test_behind_others(self) -> None:
        """It comes behind what lies in the spool, also where that is just being sent."""
        slices, upload = slices_of(b"one", b"two"), self.upload()
        self.keep(slices[:2])
        self.auth.silent = True
        catching_up, delivering = Deferred.fromCoroutine(upload.catch_up()), self.deliver(upload, slices[2])
        self.assertEqual(self.auth.asked, [(SID, 0)])
        self.auth.silent = False
        self.auth.waiting[0].callback(None)
        self.successResultOf(catching_up)
        self.successResultOf(delivering)
        self.assertEqual(self.auth.kept[SID], slices[:3])
        self.keep(slices[3:], 3)
        self.catch_up(upload)
        self.assertTrue(upload.over)
        self.assertEqual(self.spool.recordings, ())

    def test_crash_after(self) -> None:
        """After a crash, the end is put behind what only auth has."""
        slices, upload = slices_of(b"one", b"two", last=False), self.upload()
        self.keep(slices[:2])
        self.successResultOf(self.deliver(upload, slices[2]))
        after = self.upload(live=False, broken_off=CRASH)
        self.catch_up(after)
        self.assertEqual((self.auth.kept[SID][:-1], after.over), (slices, True))
        self.assertEqual(self.auth.end(SID)["reason"], CRASH)

    def test_not_taken(self) -> None:
        """A slice that auth has no use for is not taken for delivered."""
        slices, upload = slices_of(b"one", b"two"), self.upload()
        failure = self.failureResultOf(self.deliver(upload, slices[2]), RecordingOrder)
        self.assertEqual(
            failure.value.sentence,
            "Auth does not take slice 2 of the recording: slice 0 is due there.",
        )


class RefusedTests(UploadCase):
    def test_for_good(self) -> None:
        """Which refusals are final, and which ones end some day."""
        final = [kind("x") for kind in (BadParameter, AccessDenied, TooLarge, RecordingOrder, RecordingClosed)]
        passing = [kind("x") for kind in (HostLocked, LimitExceeded, DiskLow, ConnectionProblem, TeleportError)]
        self.assertEqual([is_for_good(each) for each in (*final, *passing)], [True] * 5 + [False] * 5)

    def test_gap(self) -> None:
        """Auth has lost slices that are not here any more."""
        slices = slices_of(b"one", b"two")
        self.keep(slices[2:], 2)
        why = self.refused(self.upload(), RecordingOrder)
        self.assertEqual(why, "Auth lacks slice 0 of the recording, and it is not on this node any more.")

    def test_restored(self) -> None:
        """What auth has lost and is here still is sent once more."""
        slices, upload = slices_of(b"one", b"two"), self.upload()
        self.keep(slices[:2])
        self.catch_up(upload)
        self.auth.kept[SID].pop()
        self.keep(slices[2:], 2)
        self.catch_up(upload)
        self.assertEqual((self.auth.kept[SID], upload.over), (slices, True))

    def test_another(self) -> None:
        """What auth has is another recording: nothing is put behind it, and nothing here is forgotten."""
        ours, theirs = slices_of(b"one", b"two"), slices_of(b"1", b"2", b"3")
        for at_auth in range(2, 5):
            for live in (True, False):
                self.start()
                self.auth.kept[SID] = theirs[:at_auth]
                self.keep(ours)
                self.refused(self.upload(live, "" if live else CRASH), RecordingOrder)
                self.assertEqual((self.auth.kept[SID], self.spool.ends(SID)), (theirs[:at_auth], (0, 3)))

    def test_another_that_is_closed(self) -> None:
        ours, theirs = slices_of(b"one", b"two"), slices_of(b"1")
        self.auth.kept[SID] = list(theirs)
        self.keep(ours[:3])
        self.refused(self.upload(live=False, broken_off=CRASH), RecordingClosed)
        self.assertEqual((self.auth.kept[SID], self.spool.ends(SID)), (theirs, (0, 2)))

    def test_no_facts(self) -> None:
        """A refusal that says nothing of what would be right is final."""
        self.keep(slices_of(b"one"))
        self.auth.problem = lambda sid, index: RecordingOrder("No.", next="1", head=None)
        self.assertEqual(self.refused(self.upload(), RecordingOrder), "No.")

    def test_chain_at_auth(self) -> None:
        """The chain is whole from the start to the end that was put behind it."""
        slices = slices_of(b"one", b"two", last=False)
        self.keep(slices)
        self.catch_up(self.upload(live=False, broken_off=CRASH))
        for before, after in zip(self.auth.kept[SID][:-1], self.auth.kept[SID][1:], strict=True):
            self.assertEqual(Slice.decode(after).previous, digest(before))
