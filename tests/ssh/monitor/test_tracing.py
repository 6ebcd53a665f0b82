"""Sessions that the kernel records, from the order to the last record."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast
from unittest import SkipTest

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied, LimitExceeded
from teleport_conch.ssh.monitor.host import Refusal
from teleport_conch.ssh.monitor.loop import Loop
from teleport_conch.ssh.monitor.orders import Program, Settings
from teleport_conch.ssh.monitor.traced import NOTHING, Telling, Traced
from teleport_conch.ssh.monitor.tracing import LOOK_S, MAX_EARLY_TURNS, TURN_BYTES, TURN_S, Tracing
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.monitored import MonitoredLogin
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.tracer import Tracer, Unseen
from tests.ssh.monitor.servers import Heard, MonitorCase, reactor
from tests.ssh.tracing.following import EVERYTHING, commands, opened, shared_tracer

RECORDED = Settings(login_records=False, greeting=False, tracing=(8, 128, 8))


def record(number: int, size: int = layout.AFTER_HEAD) -> bytes:
    """One of a session, of which nobody reads more than that."""
    return layout.HEAD.pack(layout.OPENED, number, 0, 0, 0, 0, 0, b"").ljust(size, b"\0")


@define
class Rings:
    """A ring of the kernel, and its counts."""

    kept: list[bytes] = field(factory=list)
    counts: dict[int, Unseen] = field(factory=dict)
    full: bool = False
    threads: int = 99
    size: int = 64 << 10
    closed: bool = False

    @property
    def rings(self) -> Mapping[int, Rings]:
        return {layout.DISK: self}

    def fileno(self) -> int:
        return 98

    def records(self, max_bytes: int) -> list[bytes]:
        taken: list[bytes] = []
        while self.kept and sum(map(len, taken)) < max_bytes:
            taken.append(self.kept.pop(0))
        return taken

    def follow(self, number: int, kinds: int) -> None:
        if self.full:
            raise OSError(7, "too many")
        self.counts[number] = Unseen(dict.fromkeys(layout.KINDS, 0), 0)

    def unseen(self, number: int) -> Unseen:
        return self.counts[number]

    def forget(self, number: int) -> None:
        del self.counts[number]

    def close(self) -> None:
        self.closed = True


@define
class Turns:
    """A loop whose turns the test takes."""

    watched: dict[int, Callable[[int], None]] = field(factory=dict)
    due: list[tuple[float, Callable[[], None]]] = field(factory=list)

    def watch(self, fd: int, ready: Callable[[int], None]) -> None:
        self.watched[fd] = ready

    def unwatch(self, fd: int) -> None:
        self.watched.pop(fd, None)

    def after(self, seconds: float, due: Callable[[], None]) -> int:
        self.due.append((seconds, due))
        return 0

    def pass_time(self, seconds: float) -> None:
        ready = [due for after, due in self.due if after <= seconds]
        self.due = [each for each in self.due if each[0] > seconds]
        for due in ready:
            due()


@define
class Told:
    """Who is told about sessions."""

    heard: bool = True
    told: list[tuple[int, Traced]] = field(factory=list)
    ended: list[int] = field(factory=list)
    lost: list[Traced] = field(factory=list)

    def lose(self, number: int, traced: Traced) -> None:
        self.lost.append(traced)

    def tell(self, number: int, traced: Traced) -> None:
        self.told.append((number, traced))

    def end(self, number: int) -> None:
        self.ended.append(number)


class TurnTests(SynchronousTestCase):
    """When the rings are read, and what is told."""

    def setUp(self) -> None:
        self.rings, self.turns, self.told = Rings(), Turns(), Told()
        self.tracing = Tracing(cast(Loop, self.turns), cast(Tracer, self.rings), cast(Telling, self.told))

    def begin(self, number: int) -> None:
        """A session that its server knows of."""
        self.tracing.begin(number, layout.DISK)
        self.tracing.started(number)

    def ready(self) -> None:
        self.turns.watched[98](select.POLLIN)

    def test_grouped(self) -> None:
        """A turn tells each session once, and nothing of those that are not followed."""
        for number in (1, 2):
            self.begin(number)
        self.rings.kept = [record(1), record(2), record(3), record(1)]
        self.ready()
        self.assertEqual(
            self.told.told,
            [(1, Traced(layout.DISK, [record(1), record(1)])), (2, Traced(layout.DISK, [record(2)]))],
        )

    def test_bounded(self) -> None:
        """A turn takes so much, and the next one is a while later."""
        self.begin(1)
        self.rings.kept = [record(1, TURN_BYTES // 4)] * 6
        self.ready()
        self.assertEqual(([len(traced.records) for _, traced in self.told.told], self.turns.watched), ([4], {}))
        self.turns.pass_time(TURN_S)
        self.ready()
        self.assertEqual([len(traced.records) for _, traced in self.told.told], [4, 2])

    def test_early(self) -> None:
        """What a session does before its server knows of it is told when it does, as far as there is room."""
        self.tracing.begin(1, layout.DISK)
        self.rings.kept = [record(1, TURN_BYTES)] * (MAX_EARLY_TURNS + 1)
        while self.rings.kept:
            self.ready()
            self.turns.pass_time(TURN_S)
        self.assertEqual((self.told.told, len(self.told.lost)), ([], 1))
        self.tracing.started(1)
        self.assertEqual(len(self.told.told), MAX_EARLY_TURNS)

    def test_not_heard(self) -> None:
        """While nobody listens, records stay in the ring."""
        self.begin(1)
        self.rings.kept, self.told.heard = [record(1)], False
        self.ready()
        self.assertEqual((len(self.rings.kept), self.told.told), (1, []))
        self.turns.pass_time(TURN_S)
        self.told.heard = True
        self.ready()
        self.assertEqual(len(self.told.told), 1)

    def test_end(self) -> None:
        """At the end everything is told that is there, with what was counted; and a second end is none."""
        self.begin(1)
        self.rings.kept = [record(1, TURN_BYTES)] * 2
        self.rings.counts[1] = Unseen({layout.COMMAND: 1, layout.DISK: 2, layout.NETWORK: 3}, 4)
        self.tracing.end(1)
        self.tracing.end(1)
        self.assertEqual([(len(traced.records), traced.unseen) for _, traced in self.told.told], [
            (1, NOTHING), (1, NOTHING), (0, (1, 2, 3, 4)),
        ])  # fmt: skip
        self.assertEqual((self.told.ended, self.rings.counts), ([1], {}))

    def test_unseen(self) -> None:
        """What was counted is told every so often, and each time only what is new."""
        self.begin(1)
        for disk in (2, 2, 5):
            self.rings.counts[1] = Unseen({layout.COMMAND: 0, layout.DISK: disk, layout.NETWORK: 0}, 0)
            self.turns.pass_time(LOOK_S)
        self.assertEqual([traced.unseen for _, traced in self.told.told], [(0, 2, 0, 0), (0, 3, 0, 0)])
        self.tracing.end(1)
        self.turns.pass_time(LOOK_S)
        self.assertEqual(self.turns.due, [])

    def test_full(self) -> None:
        self.rings.full = True
        refusal = self.assertRaises(Refusal, self.tracing.begin, 1, layout.DISK)
        self.assertEqual(refusal.code, LimitExceeded.code)
        self.assertEqual(refusal.sentence, "This host records what 16384 sessions do, and no more.")

    def test_close(self) -> None:
        """Nothing is read any more, also not by a turn that was due."""
        self.ready()
        self.tracing.close()
        self.turns.pass_time(TURN_S)
        self.assertEqual((self.turns.watched, self.rings.closed), ({}, True))


class RecordedTests(MonitorCase):
    """With a real monitor and this machine's kernel."""

    settings = RECORDED

    def setUp(self) -> None:
        shared_tracer()  # skips where the kernel does not allow it

    async def recorded(self, login: MonitoredLogin, program: Program) -> tuple[list[bytes], list[tuple[int, ...]]]:
        """All records of a session, and what was said to be unseen."""
        heard, told = Heard(), list[Traced]()
        running = await login.spawn(program)
        running.on_traced = told.append
        process = Process(reactor, reactor, running, heard)
        process.end_input()
        self.assertEqual(await heard.ended, ExitStatus(code=0), heard.error)
        records = [record for traced in told for record in traced.records]
        return records, [traced.unseen for traced in told if traced.unseen != NOTHING]

    async def test_from_the_first(self) -> None:
        """From the shell that it begins with to the last program before it ends, all of it before the end is told."""
        login = await self.logged_in(await self.ready_monitor())
        found, unseen = await self.recorded(login, Program("/bin/cat /etc/hostname; /bin/true", {}, traced=EVERYTHING))
        self.assertEqual(unseen, [])
        started = [each.path for each in commands(found)]
        self.assertEqual(started[-2:], ["/bin/cat", "/bin/true"])
        self.assertIn(started[0], ("/bin/sh", "/bin/bash"))
        self.assertIn("/etc/hostname", [each.path for each in opened(found)])

    async def test_while_it_runs(self) -> None:
        """What it does is told while it goes on."""
        login = await self.logged_in(await self.ready_monitor())
        heard, seen = Heard(), Deferred[None]()
        running = await login.spawn(Program("/bin/true; read line", {}, traced=layout.COMMAND))

        def traced(told: Traced) -> None:
            if any(b"/bin/true" in record for record in told.records) and not seen.called:
                seen.callback(None)

        running.on_traced = traced
        process = Process(reactor, reactor, running, heard)
        await seen
        self.assertFalse(heard.ended.called)
        process.end_input()
        await heard.ended

    async def test_not_asked_for(self) -> None:
        """Kinds that the session does not want, and sessions that want none."""
        login = await self.logged_in(await self.ready_monitor())
        found, _ = await self.recorded(login, Program("/bin/cat /etc/hostname", {}, traced=layout.COMMAND))
        self.assertEqual((bool(commands(found)), opened(found)), (True, []))
        self.assertEqual(await self.recorded(login, Program("/bin/cat /etc/hostname", {})), ([], []))

    async def test_too_many(self) -> None:
        """More than its share is counted, and said before the end."""
        login = await self.logged_in(await self.ready_monitor())
        script = "i=0; while [ $i -lt 9000 ]; do : < /dev/null; i=$((i+1)); done"
        found, unseen = await self.recorded(login, Program(script, {}, traced=layout.DISK))
        counted = sum(each[1] for each in unseen)
        self.assertGreater(counted, 0)
        self.assertGreaterEqual(len(found) + counted, 9000)

    async def test_off(self) -> None:
        """A host that records nothing starts no session that is to be recorded, and any other."""
        login = await self.logged_in(await self.ready_monitor(Settings(login_records=False, greeting=False)))
        self.assertEqual(
            await self.refused(self.spawn(login, EVERYTHING), AccessDenied),
            "This host cannot record what the programs of a session do, as roles of this login ask for.",
        )
        self.assertEqual((await self.run_to_end(login, Program("exit 3", {})))[1], ExitStatus(code=3))

    async def spawn(self, login: MonitoredLogin, kinds: int) -> None:
        await login.spawn(Program("exit", {}, traced=kinds))


class WithPamTests(RecordedTests):
    """The same where PAM opens the session: its own programs are no part of it."""

    settings = RECORDED._replace(pam_service="other")

    def setUp(self) -> None:
        super().setUp()
        if not Path("/etc/pam.d/other").exists():
            raise SkipTest("this needs a host with PAM")

    async def test_second(self) -> None:
        """What let the person in holds the first session, and another process the next one: both are followed."""
        login = await self.logged_in(await self.ready_monitor())
        for _ in range(2):
            found, _ = await self.recorded(login, Program("/bin/true", {}, traced=layout.COMMAND))
            self.assertEqual([each.path for each in commands(found)][-1], "/bin/true")
