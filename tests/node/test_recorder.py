"""What a terminal showed is recorded, all of it, or the session ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from attrs import define, field
from hypothesis import given
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.recording import MAX_SLICE_BYTES, MAX_SLICE_RAW, Kind, Record, Slice, read
from teleport_conch.errors import NotRecorded, StorageFull
from teleport_conch.node import recorder as module
from teleport_conch.node.recorder import MAX_WAITING_BYTES, SLICE_BYTES, SLICE_S, Recorder
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.session.channel import SessionChannel
from teleport_conch.ssh.session.process_session import ProcessSession
from tests.audit.shipping import at_once
from tests.audit.test_slicing import HAPPENED

HEADING = {"session": {"id": "x"}, "cols": 80, "rows": 24}
GONE = "The session cannot be recorded any more. The disk is gone."


@define
class SampleKeeping:
    """Keeps slices, unless it is told not to.

    :ivar busy: the disk does not answer as long as it is set.
    """

    slices: list[bytes] = field(factory=list)
    rest: list[bytes] = field(factory=list)
    problem: NotRecorded | None = None
    rest_problem: StorageFull | None = None
    busy: Deferred[None] | None = None
    ends: list[str] = field(factory=list)

    async def begin(self, encoded: bytes) -> None:
        await self.keep(encoded)

    async def keep(self, encoded: bytes) -> None:
        if self.busy is not None:
            await self.busy
        if self.problem is not None:
            raise self.problem
        self.slices.append(encoded)

    async def keep_rest(self, encoded: bytes) -> None:
        if self.rest_problem is not None:
            raise self.rest_problem
        self.rest.append(encoded)

    def end(self, broken_off: str = "") -> None:
        self.ends.append(broken_off)

    def records(self) -> list[Record]:
        """Of a whole recording."""
        return [record for each in read([*self.slices, *self.rest]) for record in each.records]

    def shown(self) -> bytes:
        slices = map(Slice.decode, [*self.slices, *self.rest])
        return b"".join(record.data for each in slices for record in each.records if record.kind is Kind.OUTPUT)


@define
class SampleProcess:
    """A process of a session, as far as it is held."""

    calls: list[str] = field(factory=list)
    on_input_drained: Callable[[], None] = lambda: None

    def pause_output(self) -> None:
        self.calls.append("pause")

    def resume_output(self) -> None:
        self.calls.append("resume")

    def hang_up(self) -> None:
        self.calls.append("hang up")

    def write(self, data: bytes) -> bool:
        return True

    def resize(self, rows: int, cols: int, xpixel: int, ypixel: int) -> None:
        """Nothing to do."""


@define
class SampleChannel:
    """A channel of a party: what was said to it."""

    told: list[bytes] = field(factory=list)
    status: ExitStatus | None = None

    def registerProducer(self, producer: object) -> None:
        """Somebody who may be paused, and is not."""

    def unregisterProducer(self) -> None:
        """Nor is anybody any more."""

    def write(self, data: bytes) -> None:
        """Output, which is looked at in the recording."""

    def write_extended(self, kind: int, data: bytes) -> None:
        self.told.append(data)

    def finish(self, status: ExitStatus | None = None) -> None:
        self.status = self.status or status


class RecorderCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self, emergency: bool = False) -> None:
        """A session that has not begun."""
        self.clock, self.keeping = Clock(), SampleKeeping()
        self.process, self.channel = SampleProcess(), SampleChannel()
        self.failures: list[str] = []
        clock = self.clock
        self.recorder = Recorder(clock, clock.seconds, at_once, self.keeping, HEADING, self.failures.append, emergency)
        self.session = ProcessSession([self.recorder])
        self.session.join(cast(SessionChannel, self.channel))

    def begin(self, emergency: bool = False) -> None:
        self.start(emergency)
        self.successResultOf(Deferred.fromCoroutine(self.session.begin()))
        self.session.attach(cast(Process, self.process))

    def show(self, data: bytes) -> None:
        self.session.output_received(data)

    def end(self, code: int | None = 0, signal: str | None = None) -> None:
        self.session.exited(ExitStatus(code, signal))


class RecorderTests(RecorderCase):
    def test_whole(self) -> None:
        """A start, output and sizes with their times, an end; no input, and no errors beside the terminal."""
        self.begin()
        self.assertEqual([each.kind for each in self.keeping.records()], [Kind.START])
        self.clock.advance(0.5)
        self.show(b"$ ")
        self.session.type(b"secret")
        self.clock.advance(0.25)
        self.session.resize(132, 50, 0, 0)
        self.end(3)
        found = [(each.kind, each.at_us) for each in self.keeping.records()]
        self.assertEqual(found, [(Kind.START, 0), (Kind.OUTPUT, 500_000), (Kind.RESIZE, 750_000), (Kind.END, 750_000)])
        start, output, size, end = self.keeping.records()
        self.assertEqual(start.fields(), HEADING)
        self.assertEqual((output.data, size.fields()), (b"$ ", {"cols": 132, "rows": 50}))
        self.assertEqual(end.fields(), {"exit": "3", "complete": True, "reason": ""})
        self.assertEqual((self.keeping.ends, self.failures, self.clock.getDelayedCalls()), ([""], [], []))
        self.successResultOf(self.recorder.done)

    def test_ends(self) -> None:
        """By a signal; and where the client has gone nobody knows."""
        self.begin()
        self.end(None, "KILL")
        self.assertEqual(self.keeping.records()[-1].fields()["exit"], "SIGKILL")
        self.begin()
        (party,) = self.session._parties
        self.session.leave(party)
        self.assertEqual(self.keeping.records()[-1].fields(), {"exit": None, "complete": True, "reason": ""})

    def test_soon(self) -> None:
        """What was shown is kept after a moment, and nothing where nothing was."""
        self.begin()
        self.clock.advance(10 * SLICE_S)
        self.show(b"one")
        self.clock.advance(SLICE_S / 2)
        self.show(b"two")
        self.assertEqual(len(self.keeping.slices), 1)
        self.clock.advance(SLICE_S / 2)
        self.assertEqual((len(self.keeping.slices), self.keeping.shown()), (2, b"onetwo"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.show(b"three")
        self.clock.advance(SLICE_S)
        self.assertEqual((len(self.keeping.slices), self.keeping.shown()), (3, b"onetwothree"))

    def test_flood(self) -> None:
        """A flood is kept as it comes."""
        self.begin()
        self.show(bytes(SLICE_BYTES))
        self.assertEqual(len(self.keeping.slices), 2)
        self.show(bytes(3 * MAX_SLICE_RAW))
        self.assertGreaterEqual(len(self.keeping.shown()), 3 * MAX_SLICE_RAW)
        self.assertLess(self.recorder._slicing.waiting_bytes, SLICE_BYTES)

    def test_held(self) -> None:
        """While too much waits for the disk, the session's output is held; then it goes on, and nothing is lost."""
        self.begin()
        self.keeping.busy = Deferred()
        chunk, shown = bytes(range(256)) * 256, 0
        while not self.process.calls:
            self.show(chunk)
            shown += len(chunk)
        self.assertTrue(MAX_WAITING_BYTES < shown < MAX_WAITING_BYTES + 2 * MAX_SLICE_RAW + len(chunk))
        self.assertEqual(self.process.calls, ["pause"])
        busy, self.keeping.busy = self.keeping.busy, None
        busy.callback(None)
        self.assertEqual(self.process.calls, ["pause", "resume"])
        self.end()
        self.assertEqual(self.keeping.shown(), chunk * (shown // len(chunk)))

    def test_sizes(self) -> None:
        """Nor does a client that changes its size all the time fill the memory: the last size is recorded, in time."""
        for ends_busy in (False, True):
            self.begin()
            busy: Deferred[None] = Deferred()
            self.keeping.busy = busy
            self.show(bytes(MAX_WAITING_BYTES + SLICE_BYTES + MAX_SLICE_RAW))
            waiting = self.recorder._slicing.waiting_bytes
            for cols in range(1, 1000):
                self.session.resize(cols, 24, 0, 0)
            self.assertEqual(self.recorder._slicing.waiting_bytes, waiting)
            if ends_busy:
                self.end()
            self.keeping.busy = None
            busy.callback(None)
            if not ends_busy:
                self.show(b"later")
                self.end()
            records = self.keeping.records()
            sizes = [record.fields() for record in records if record.kind is Kind.RESIZE]
            self.assertEqual(sizes, [{"cols": 999, "rows": 24}])
            self.assertEqual(records[-2].data == b"later", not ends_busy)

    @given(HAPPENED)
    def test_anything(self, happened: list[bytes | tuple[int, int] | None]) -> None:
        """Whatever is shown, whenever: the recording is whole, and shows the same."""
        self.begin()
        shown, sizes = b"", []
        for each in happened:
            if isinstance(each, bytes):
                self.show(each)
                shown += each
            elif each is not None:
                self.session.resize(*each, 0, 0)
                sizes.append(each)
            else:
                self.clock.advance(SLICE_S * 0.7)
        self.end()
        records = self.keeping.records()
        resized = [each.fields() for each in records if each.kind is Kind.RESIZE]
        self.assertEqual((self.keeping.shown(), [(each["cols"], each["rows"]) for each in resized]), (shown, sizes))
        self.assertEqual((records[0].kind, records[-1].kind), (Kind.START, Kind.END))

    def test_never_started(self) -> None:
        """A recording of a session that failed to start after all has an end."""
        self.start()
        self.successResultOf(Deferred.fromCoroutine(self.session.begin()))
        self.session.abandon()
        self.assertEqual([each.kind for each in self.keeping.records()], [Kind.START, Kind.END])
        self.assertEqual(self.keeping.ends, [""])


class NotRecordedTests(RecorderCase):
    def test_refused(self) -> None:
        """What cannot be recorded from its start on does not start."""
        self.keeping.problem = NotRecorded("No disk.")
        refusal = self.failureResultOf(Deferred.fromCoroutine(self.session.begin()), NotRecorded).value
        self.assertEqual(refusal.sentence, "No disk.")
        self.session.abandon()
        self.assertEqual((self.keeping.slices, self.failures), ([], []))
        self.successResultOf(self.recorder.done)

    def test_others_refuse(self) -> None:
        """Where another observer refuses the start, nothing is kept, and nobody waits for an end."""
        self.start()
        self.session.abandon()
        self.assertEqual((self.keeping.slices, self.keeping.ends), ([], [""]))
        self.successResultOf(self.recorder.done)

    def test_mistakes_at_the_start(self) -> None:
        """Nor where it fails for a mistake of the program."""
        self.patch(Slice, "encode", lambda slice_: 1 / 0)
        self.failureResultOf(Deferred.fromCoroutine(self.session.begin()), ZeroDivisionError)
        self.session.abandon()
        self.assertEqual(self.keeping.ends, [""])
        self.successResultOf(self.recorder.done)

    def test_closed(self) -> None:
        """A session whose output cannot be kept is closed: its people read why, and what it showed is kept."""
        self.begin()
        self.show(b"seen")
        self.keeping.problem = NotRecorded(GONE)
        self.clock.advance(SLICE_S)
        self.assertEqual(self.channel.told, [f"\r\n{GONE}\r\n".encode()])
        self.assertEqual((self.channel.status, self.process.calls), (ExitStatus(code=255), ["hang up"]))
        self.assertEqual((self.failures, self.keeping.ends), ([GONE], [""]))
        self.assertEqual(self.keeping.records()[-1].fields(), {"exit": None, "complete": True, "reason": ""})
        self.assertEqual(self.keeping.shown(), b"seen")
        self.session.exited(ExitStatus(code=129))
        self.assertEqual((self.failures, len(self.keeping.ends)), ([GONE], 1))

    def test_nowhere(self) -> None:
        """Where there is no place for that, either, the recording is broken off, and says why."""
        self.begin()
        self.show(b"seen")
        self.keeping.problem, self.keeping.rest_problem = NotRecorded(GONE), StorageFull("Full.")
        self.clock.advance(SLICE_S)
        self.assertEqual((self.channel.status, self.process.calls), (ExitStatus(code=255), ["hang up"]))
        self.assertEqual((self.failures, self.keeping.ends, self.keeping.rest), ([GONE], [GONE], []))
        self.successResultOf(self.recorder.done)

    def test_at_the_end(self) -> None:
        """A session that has ended by itself cannot be closed; what is left of it is kept elsewhere."""
        self.begin()
        self.show(b"seen")
        self.keeping.problem = NotRecorded(GONE)
        self.end(0)
        self.assertEqual((self.channel.told, self.channel.status), ([], ExitStatus(code=0)))
        self.assertEqual((self.keeping.shown(), self.keeping.ends), (b"seen", [""]))

    def test_full(self) -> None:
        """A recording that reaches its bound ends its session, and is whole."""
        self.patch(module, "MAX_RECORDING_BYTES", 20 * MAX_SLICE_BYTES)
        self.begin()
        random = bytes(hash((number, "x")) % 256 for number in range(MAX_SLICE_RAW))
        while not self.channel.told:
            self.show(random)
        self.assertEqual(self.channel.told, [b"\r\nThe recording of the session has reached 5 MiB, and it ends.\r\n"])
        self.assertEqual(self.process.calls, ["hang up"])
        self.assertTrue(self.keeping.records()[-1].fields()["complete"])
        self.assertLess(sum(map(len, self.keeping.slices)), 20 * MAX_SLICE_BYTES)
        self.assertEqual(len(self.failures), 1)

    def test_too_many_slices(self) -> None:
        """So does one of as many slices as there may be."""
        self.patch(module, "MAX_SLICES", module.RESERVED_SLICES + 2)
        self.begin()
        for _ in range(2):
            self.assertEqual(self.channel.told, [])
            self.show(b"x")
            self.clock.advance(SLICE_S)
        self.assertEqual(len(self.channel.told), 1)

    def test_mistakes(self) -> None:
        """A mistake in the program is in the log, and ends the session like anything else that keeps from recording."""
        self.begin()
        self.patch(Slice, "encode", lambda slice_: 1 / 0)
        self.show(b"x")
        self.clock.advance(SLICE_S)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        sentence = "The session cannot be recorded any more, for a mistake in the program of this node."
        self.assertEqual((self.channel.told, self.failures), ([f"\r\n{sentence}\r\n".encode()], [sentence]))
        self.assertEqual(self.keeping.ends, [sentence])


class EmergencyTests(RecorderCase):
    """Logins for emergencies are recorded where that is possible, and let in where it is not."""

    def test_recorded(self) -> None:
        self.begin(emergency=True)
        self.show(b"seen")
        self.end()
        self.assertEqual((self.keeping.shown(), self.failures), (b"seen", []))

    def test_not_from_the_start(self) -> None:
        """It starts all the same, and that it is not recorded is told."""
        self.start(emergency=True)
        self.keeping.problem = NotRecorded("No disk.")
        self.successResultOf(Deferred.fromCoroutine(self.session.begin()))
        self.session.attach(cast(Process, self.process))
        self.show(bytes(2 * MAX_WAITING_BYTES))
        self.clock.advance(SLICE_S)
        self.end()
        self.assertEqual((self.keeping.slices, self.failures, self.process.calls), ([], ["No disk."], []))
        self.assertEqual(self.channel.status, ExitStatus(code=0))

    def test_not_any_more(self) -> None:
        """It goes on, is not held, and the recording is broken off."""
        self.begin(emergency=True)
        busy: Deferred[None] = Deferred()
        self.keeping.busy = busy
        self.show(bytes(2 * MAX_WAITING_BYTES))
        self.assertEqual(self.process.calls, ["pause"])
        self.keeping.problem = NotRecorded(GONE)
        busy.callback(None)
        self.assertEqual((self.process.calls, self.channel.told), (["pause", "resume"], []))
        self.show(bytes(2 * MAX_WAITING_BYTES))
        self.end()
        self.assertEqual((self.failures, self.keeping.ends), ([GONE], [GONE]))
        self.assertEqual(self.channel.status, ExitStatus(code=0))

    def test_mistakes_at_the_start(self) -> None:
        self.patch(Slice, "encode", lambda slice_: 1 / 0)
        self.begin(emergency=True)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((self.keeping.slices, len(self.failures), self.process.calls), ([], 1, []))

    def test_mistakes_while_it_is_held(self) -> None:
        """It is released."""
        self.begin(emergency=True)
        busy: Deferred[None] = Deferred()
        self.keeping.busy = busy
        self.show(bytes(2 * MAX_WAITING_BYTES))
        self.patch(Slice, "encode", lambda slice_: 1 / 0)
        busy.callback(None)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.process.calls, ["pause", "resume"])

    def test_mistakes(self) -> None:
        self.begin(emergency=True)
        self.patch(Slice, "encode", lambda slice_: 1 / 0)
        self.show(b"x")
        self.clock.advance(SLICE_S)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual((self.channel.told, self.process.calls, len(self.failures)), ([], [], 1))


class ThreadTests(RecorderCase):
    """Compressing is done elsewhere, one slice at a time."""

    def test_one_at_a_time(self) -> None:
        self.begin()
        waiting: list[Deferred[None]] = []

        def in_thread(work: Callable[[], object]) -> Deferred[object]:
            waiting.append(Deferred())
            return waiting[-1].addCallback(lambda _: work())

        self.recorder._in_thread = in_thread  # type: ignore[assignment]  # one answer is as good as another
        for _ in range(3):
            self.show(bytes(SLICE_BYTES))
        self.end()
        self.assertEqual(len(waiting), 1)
        for number in range(4):
            if number < len(waiting):
                waiting[number].callback(None)
        self.assertEqual(len(self.keeping.shown()), 3 * SLICE_BYTES)
        self.assertEqual(self.keeping.records()[-1].kind, Kind.END)
        self.assertEqual(self.keeping.ends, [""])
