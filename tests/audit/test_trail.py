"""Events reach auth in order, however often it is away."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.event import Event
from teleport_conch.audit.log import EventLog
from teleport_conch.audit.spool import Spool
from teleport_conch.audit.trail import MAX_BATCH_EVENTS, MAX_RETRY_S, Trail
from teleport_conch.errors import BadParameter, ConnectionProblem, StorageError, TooLarge

Answer = Callable[[list[Event]], Awaitable[None]]


def in_thread(work: Callable[[], None]) -> Deferred[None]:
    return maybeDeferred(work)


class TrailTests(SynchronousTestCase):
    """Auth is :meth:`ship`, which answers what the test says."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.directory = Path(self.mktemp())
        self.shipped: list[list[str]] = []
        self.answer: Answer = lambda events: succeed(None)
        self.uids = 0
        self.trail = self.made()

    def made(self) -> Trail:
        trail = Trail(
            self.clock,
            self.directory,
            self.ship,
            {"cluster_name": "main", "server_id": "node-1"},
            in_thread=in_thread,
            random=lambda: 1.0,
            new_uid=self.new_uid,
        )
        self.addCleanup(trail._spool.close)
        return trail

    def new_uid(self) -> str:
        self.uids += 1
        return str(UUID(int=self.uids))

    def ship(self, events: list[Event]) -> Awaitable[None]:
        self.shipped.append([str(event.get("sid", event["event"])) for event in events])
        return self.answer(events)

    def emit(self, *sids: str) -> None:
        for sid in sids:
            self.trail.emit("resize", sid=sid, size="80:25")

    def away(self, events: list[Event]) -> Awaitable[None]:
        return fail(ConnectionProblem("Auth is away."))

    def taken(self, take: Callable[[list[Event]], object]) -> Answer:
        def answer(events: list[Event]) -> Awaitable[None]:
            take(events)
            return succeed(None)

        return answer

    def spooled(self) -> list[str]:
        return [path.name for path in self.directory.glob("0*.jsonl")]

    def test_ships(self) -> None:
        """Events that happen together go together, with the trail's defaults, and are then gone from the disk."""
        got: list[Event] = []
        self.answer = self.taken(got.extend)
        self.trail.startService()
        self.emit("a", "b")
        self.assertEqual(self.shipped, [])
        self.clock.advance(0.1)
        self.assertEqual(self.shipped, [["a", "b"]])
        self.assertEqual(
            got[0],
            {
                "event": "resize",
                "code": "T2002I",
                "time": "1970-01-01T00:16:40.000Z",
                "uid": "00000000-0000-0000-0000-000000000001",
                "ei": 0,
                "cluster_name": "main",
                "server_id": "node-1",
                "sid": "a",
                "size": "80:25",
            },
        )
        self.assertEqual(self.spooled(), [])

    def test_coroutine(self) -> None:
        """To ship may be a coroutine."""

        async def answer(events: list[Event]) -> None:
            await succeed(None)

        self.answer = answer
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.assertEqual(self.spooled(), [])

    def test_mistakes(self) -> None:
        """An event that the catalogue does not have is a mistake in the program, and nothing of it is kept."""
        self.assertRaises(ValueError, self.trail.emit, "resize", sid="a")
        self.assertRaises(ValueError, self.trail.emit, "no.such.event")
        self.assertFalse(self.directory.exists())

    def test_batches(self) -> None:
        """A batch is bounded, one is under way at a time, and they keep the order."""
        first: Deferred[None] = Deferred()
        self.answer = lambda events: first
        self.trail.startService()
        self.emit(*(f"{number}" for number in range(MAX_BATCH_EVENTS + 1)))
        self.clock.advance(0.1)
        self.emit("late")
        self.clock.advance(10)
        self.assertEqual([len(batch) for batch in self.shipped], [MAX_BATCH_EVENTS])
        self.answer = lambda events: succeed(None)
        first.callback(None)
        self.assertEqual(self.shipped[1:], [["200", "late"]])
        self.assertEqual(self.spooled(), [])

    def test_trickle(self) -> None:
        """Events that come while a small batch is under way gather again, and are not sent in ever smaller batches."""
        first: Deferred[None] = Deferred()
        self.answer = lambda events: first
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.emit("b")
        first.callback(None)
        self.emit("c")
        self.assertEqual(self.shipped, [["a"]])
        self.clock.advance(0.1)
        self.assertEqual(self.shipped, [["a"], ["b", "c"]])

    def test_retries(self) -> None:
        """While auth is away the same events are tried again, ever more rarely up to a bound; one line is logged."""
        self.answer = self.away
        with capturedLogs() as events:
            self.trail.startService()
            self.emit("a")
            tries: list[float] = []
            while len(tries) < 9:
                before = len(self.shipped)
                self.clock.advance(0.5)
                if len(self.shipped) > before:
                    tries.append(self.clock.seconds())
        gaps = [round(later - earlier) for earlier, later in pairwise(tries)]
        self.assertEqual(gaps, [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(set(map(tuple, self.shipped)), {("a",)})
        self.assertEqual([each["why"] for each in events], ["Auth is away."])
        self.answer = lambda events: succeed(None)
        self.emit("b")
        self.clock.advance(MAX_RETRY_S)
        self.assertEqual(self.shipped[-1], ["a", "b"])
        self.emit("c")
        self.clock.advance(0.1)
        self.assertEqual(self.shipped[-1], ["c"])

    def test_jitter(self) -> None:
        """The delay is shortened by chance, so that not all hosts come back at once."""
        self.answer = self.away
        self.trail._random = lambda: 0.0
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.clock.advance(0.5)
        self.assertEqual(len(self.shipped), 2)

    def test_no_answer(self) -> None:
        """Auth that does not answer is taken for away after a minute."""
        self.answer = lambda events: Deferred()
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.clock.advance(59.9)
        self.clock.advance(0.2)
        self.clock.advance(1)
        self.assertEqual(self.shipped, [["a"], ["a"]])

    def test_restart(self) -> None:
        """What a killed process had spooled, sent or not, is sent by the next one, in order; the log keeps it once."""
        log = EventLog(Path(self.mktemp()), self.clock)
        self.addCleanup(log.close)

        def answer(events: list[Event]) -> Awaitable[None]:
            log.append(events)
            return self.away(events)

        self.answer = answer
        self.trail.startService()
        self.emit("a", "b")
        self.clock.advance(0.1)
        self.assertEqual(self.shipped, [["a", "b"]])
        self.trail = self.made()
        self.answer = self.taken(log.append)
        self.emit("c")
        self.trail.startService()
        self.clock.advance(0)
        self.assertEqual(self.shipped, [["a", "b"], ["a", "b"], ["c"]])
        self.assertEqual([event["sid"] for event in log.search(0, 1e11)], ["a", "b", "c"])

    def test_refused(self) -> None:
        """One event that auth refuses is put aside, and all others arrive."""

        def answer(events: list[Event]) -> Awaitable[None]:
            if any(event["sid"] == "bad" for event in events):
                return fail(BadParameter("the event resize has no field 'size'."))
            return succeed(None)

        self.answer = answer
        self.trail.startService()
        self.emit("a", "b", "bad", "c")
        self.clock.advance(0.1)
        self.assertEqual(self.shipped, [["a", "b", "bad", "c"], ["a", "b"], ["bad", "c"], ["bad"], ["c"]])
        (line,) = (self.directory / "refused.jsonl").read_text().splitlines()
        self.assertEqual(json.loads(line)["sid"], "bad")
        self.assertEqual(self.spooled(), [])

    def test_too_large(self) -> None:
        """A batch that is too large for auth goes in smaller ones."""
        self.answer = lambda events: fail(TooLarge("too large")) if len(events) > 2 else succeed(None)
        self.trail.startService()
        self.emit("a", "b", "c", "d", "e")
        self.clock.advance(0.1)
        self.assertEqual([batch for batch in self.shipped if len(batch) <= 2], [["a", "b"], ["c"], ["d", "e"]])
        self.assertFalse((self.directory / "refused.jsonl").exists())

    def test_garbage(self) -> None:
        """A spooled line that is no JSON is left out, and holds nothing up."""
        self.directory.mkdir()
        (self.directory / "000000000001.jsonl").write_bytes(b"\xff\n[]\n" + b"[" * 100_000 + b"\n")
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.assertEqual(self.shipped, [["a"]])
        self.assertEqual(self.spooled(), [])

    def test_lost(self) -> None:
        """What cannot be spooled is lost, counted and logged once, and told as soon as there is room."""
        self.directory.touch()
        with capturedLogs() as events:
            self.emit("a", "b")
            self.assertFalse(self.trail.emit("resize", sid="c", size="80:25"))
            self.directory.unlink()
            self.assertTrue(self.trail.emit("resize", sid="d", size="80:25"))
        self.assertEqual(
            [str(each["log_format"]).format(**each) for each in events],
            [
                "Events are being lost, resize first: File exists",
                "3 events were lost while they could not be spooled.",
            ],
        )
        got: list[Event] = []
        self.answer = self.taken(got.extend)
        self.trail.startService()
        self.clock.advance(0)
        self.assertEqual([(event["event"], event.get("count")) for event in got], [("audit.lost", 3), ("resize", None)])
        self.assertEqual(self.trail.lost, 3)

    def test_flood(self) -> None:
        """What somebody in a session can make at will leaves half of the spool to all other events."""
        self.trail._spool = Spool(self.directory, 8000)
        whose: dict[str, Any] = {"user": "alice", "login": "root", "sid": "s", "pid": 1, "cgroup_id": 1}
        opened: dict[str, Any] = {"program": "cat", "path": "/etc/motd", "flags": "read", "return_code": 3}
        kept = [self.trail.emit("session.disk", **whose, **opened) for _ in range(100)]
        count = kept.index(False)
        self.assertEqual(kept, [True] * count + [False] * (100 - count))
        self.assertTrue(4000 - 500 < self.spooled_bytes() <= 4000)
        self.assertTrue(self.trail.emit("resize", sid="a", size="80:25"))
        got: list[Event] = []
        self.answer = self.taken(got.extend)
        self.trail.startService()
        self.clock.advance(0)
        names = [event["event"] for event in got]
        self.assertEqual(names, ["session.disk"] * count + ["audit.lost", "resize"])
        self.assertEqual(got[-2]["count"], 100 - count)

    def spooled_bytes(self) -> int:
        return sum((self.directory / name).stat().st_size for name in self.spooled())

    def test_start_refused(self) -> None:
        """A directory that cannot be used stops the start, with a sentence."""
        self.directory.touch()
        error = self.assertRaises(StorageError, self.trail.startService)
        self.assertEqual(error.sentence, f"Events cannot be spooled in {self.directory}: File exists.")

    def test_before_start(self) -> None:
        """Events that happen before the service runs are spooled, and sent when it does."""
        self.emit("a")
        self.clock.advance(10)
        self.assertEqual((self.shipped, len(self.spooled())), ([], 1))
        self.trail.startService()
        self.clock.advance(0)
        self.assertEqual(self.shipped, [["a"]])

    def test_syncs(self) -> None:
        """The disk is told within half a second, in a thread, once for all events since the last time."""
        works: list[Callable[[], None]] = []

        def later(work: Callable[[], None]) -> Deferred[None]:
            works.append(work)
            return Deferred()

        self.trail._in_thread = later
        self.emit("a", "b")
        self.clock.advance(0.4)
        self.emit("c")
        self.assertEqual(works, [])
        self.clock.advance(0.1)
        self.assertEqual(len(works), 1)
        works[0]()
        self.clock.advance(10)
        self.assertEqual(len(works), 1)

    def test_sync_fails(self) -> None:
        """A sync that fails is logged, and the events go on."""
        self.trail._in_thread = lambda work: fail(OSError(5, "Input/output error"))
        self.emit("a")
        self.clock.advance(0.5)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_stop(self) -> None:
        """Stopping sends what there is, and leaves nothing running."""
        self.trail.startService()
        self.emit("a")
        self.successResultOf(self.trail.stopService())
        self.assertEqual(self.shipped, [["a"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_waits(self) -> None:
        """Stopping waits for the batch under way and sends what came since."""
        first: Deferred[None] = Deferred()
        self.answer = lambda events: first
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.emit("b")
        stopped = self.trail.stopService()
        self.assertNoResult(stopped)
        self.answer = lambda events: succeed(None)
        first.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.shipped, [["a"], ["b"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_gives_up(self) -> None:
        """Auth that does not answer holds up stopping for five seconds; the events stay for the next start."""
        self.answer = lambda events: Deferred()
        self.trail.startService()
        self.emit("a")
        stopped = self.trail.stopService()
        self.clock.advance(4.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(len(self.spooled()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_away(self) -> None:
        """While auth is away stopping does not try it again."""
        self.answer = self.away
        self.trail.startService()
        self.emit("a")
        self.clock.advance(0.1)
        self.successResultOf(self.trail.stopService())
        self.assertEqual(self.shipped, [["a"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
