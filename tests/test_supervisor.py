"""The supervisor with workers that do as the test says; with real ones it is in ``tests.interop.test_workers``."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactor, MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import StartError
from teleport_conch.ssh.monitor.orders import Settings
from teleport_conch.ssh.processes import launching
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.tracer import Sizes
from teleport_conch.starting import Reactor
from teleport_conch.supervisor import service, tracing
from teleport_conch.supervisor.account import give_log
from teleport_conch.supervisor.plan import Plan
from teleport_conch.supervisor.worker import Seat, Worker


class WorkerTests(SynchronousTestCase):
    def test_cannot_run(self) -> None:
        """An account that cannot run Python is named, with the file and what to do; nothing stays open."""
        program = Path(self.mktemp()).absolute()
        program.write_text("")
        account = pwd.getpwuid(os.geteuid())
        plan = Plan("The node", [], program, program, account, Settings(), words=[str(program)], environment={})
        self.patch(launching, "launch", lambda *_: None)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            before = len(os.listdir("/proc/self/fd"))
            reactor = cast(Reactor, MemoryReactor())
            refusal = self.assertRaises(
                StartError, Worker.start, reactor, plan, Seat(0, {"node": listening}), lambda worker: None
            )
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertRegex(
            refusal.sentence,
            f"The account {account.pw_name} cannot run {program}: .+. "
            "Install Python and this package where it may read them, such as below /opt.",
        )


class FakeWorker:
    """What a supervisor sees of one."""

    def __init__(self, seat: Seat, ended: Callable[[FakeWorker], None]) -> None:
        self.seat = seat.number
        self.served = self.told = False
        self.up: Deferred[None] = Deferred()
        self.retired: Deferred[None] = Deferred()
        self._ended = ended

    def serve(self) -> None:
        self.served = True
        self.up.callback(None)

    def retire(self) -> None:
        self.told = True

    def end(self) -> None:
        if not self.retired.called:
            self.retired.callback(None)
        self._ended(self)


class SupervisorTests(SynchronousTestCase):
    """Three seats, whose workers do as they are told here."""

    def setUp(self) -> None:
        self.workers: list[FakeWorker] = []
        self.stopped: list[str] = []
        self.patch(service, "Worker", self)
        self.patch(service, "stop_with", lambda _, failure: self.stopped.append(failure.value.sentence))
        self.patch(signal, "signal", lambda *_: None)
        self.clock = MemoryReactorClock()
        plan = Plan("The node", [], Path("data"), Path("state"), None, workers=3)
        self.supervisor = service.Supervisor(cast(Reactor, self.clock), plan)
        self.supervisor.startService()

    def start(self, reactor: object, plan: Plan, seat: Seat, ended: Callable[[FakeWorker], None]) -> FakeWorker:
        """In the place of :meth:`Worker.start`."""
        self.workers.append(FakeWorker(seat, ended))
        return self.workers[-1]

    def seats(self) -> list[int]:
        return [worker.seat for worker in self.workers]

    def all_up(self) -> None:
        self.workers[0].serve()
        self.workers[1].serve()
        self.workers[2].serve()

    def exchange(self, *numbers: int) -> None:
        """The workers of these seats leave, and their successors serve."""
        for number in numbers:
            old = next(worker for worker in self.workers if worker.told and not worker.retired.called)
            self.assertEqual(old.seat, number)
            old.retired.callback(None)
            self.workers[-1].serve()

    def test_leader_first(self) -> None:
        """The others start once the one that leads serves, as they follow what it keeps on disk."""
        self.assertEqual(self.seats(), [0])
        self.workers[0].serve()
        self.assertEqual(self.seats(), [0, 1, 2])
        self.assertNoResult(self.supervisor.started)
        self.workers[2].serve()
        self.workers[1].serve()
        self.successResultOf(self.supervisor.started)

    def test_never_served(self) -> None:
        """One that ends before it serves has said why, and the next one would say the same."""
        self.workers[0].end()
        self.assertEqual(self.stopped, ["The node could not be started; the reason stands above."])

    def test_replaced(self) -> None:
        """One that ends by itself is replaced in its seat, after a moment; the others are left alone."""
        self.all_up()
        self.workers[1].end()
        self.assertEqual(len(self.workers), 3)
        self.clock.advance(service.AGAIN_S)
        self.assertEqual((self.seats(), self.stopped), ([0, 1, 2, 1], []))
        self.assertFalse(any(worker.told for worker in self.workers))

    def test_hang_up(self) -> None:
        """One after the other is exchanged, each when its successor may start."""
        self.all_up()
        self.supervisor.hang_up()
        self.assertEqual([worker.told for worker in self.workers], [True, False, False])
        self.exchange(0, 1, 2)
        self.assertEqual(self.seats(), [0, 1, 2, 0, 1, 2])

    def test_hang_up_again(self) -> None:
        """What is asked for meanwhile is done once, afterwards: it may be about a newer configuration."""
        self.all_up()
        for _ in range(4):
            self.supervisor.hang_up()
        self.exchange(0, 1, 2, 0, 1, 2)
        self.assertEqual(len(self.workers), 9)
        self.assertFalse(any(worker.told for worker in self.workers[6:]))

    def test_stuck(self) -> None:
        """A worker that does not leave in time has a successor all the same."""
        self.all_up()
        self.supervisor.hang_up()
        self.clock.advance(service.RETIRE_S)
        self.assertEqual(self.seats(), [0, 1, 2, 0])

    def test_stop(self) -> None:
        """All are told at once; the supervisor goes when the last may be succeeded, and replaces nobody any more."""
        self.all_up()
        self.workers[1].end()
        stopping = self.supervisor.stopService()
        self.assertEqual([worker.told for worker in self.workers], [True, False, True])
        self.workers[0].end()
        self.assertNoResult(stopping)
        self.workers[2].end()
        self.successResultOf(stopping)
        self.clock.advance(service.AGAIN_S)
        self.assertEqual(self.seats(), [0, 1, 2])


class LogTests(SynchronousTestCase):
    """The file that root's supervisor and the account's workers write to."""

    def given(self, path: Path) -> list[int]:
        owners: list[int] = []
        self.patch(os, "fchown", lambda fd, uid, gid: owners.append(uid))
        self.patch(os, "fstat", lambda fd: os.stat_result([*os.stat(fd)[:4], 0, *os.stat(fd)[5:10]]))
        give_log(str(path), pwd.getpwnam("nobody"))
        return owners

    def test_given(self) -> None:
        """It becomes the account's."""
        path = Path(self.mktemp())
        path.write_text("")
        self.assertEqual(self.given(path), [pwd.getpwnam("nobody").pw_uid])

    def test_other_files(self) -> None:
        """What is another file's name, a folder or not there stays as it is."""
        path, link, second = Path(self.mktemp()), Path(self.mktemp()), Path(self.mktemp())
        path.write_text("")
        link.symlink_to(path.absolute())
        self.assertEqual(self.given(link), [])
        second.hardlink_to(path)
        for each in (path, second, path.parent, Path(self.mktemp())):
            self.assertEqual(self.given(each), [], each)


class TracingTests(SynchronousTestCase):
    """Whether the host can record what the programs of sessions do, before any worker is started."""

    SENTENCE = "ssh_service.enhanced_recording cannot be enabled here. This kernel has no tracepoint of that name."

    def refuse(self, sizes: Sizes) -> None:
        self.assertEqual(sizes, (8, 128, 8))
        raise Untraceable("This kernel has no tracepoint of that name.")

    def setUp(self) -> None:
        self.patch(tracing, "check", self.refuse)

    def test_asked_for(self) -> None:
        refusal = self.assertRaises(StartError, tracing.check_tracing, Settings(tracing=(8, 128, 8)))
        self.assertEqual(refusal.sentence, self.SENTENCE)

    def test_not_asked_for(self) -> None:
        """Nothing is tried, neither for a node that records nothing nor for a service without sessions."""
        tracing.check_tracing(Settings())
        tracing.check_tracing(None)

    def test_supervisor(self) -> None:
        """It does not begin."""
        plan = Plan("The node", [], Path("data"), Path("state"), None, Settings(tracing=(8, 128, 8)))
        supervisor = service.Supervisor(cast(Reactor, MemoryReactorClock()), plan)
        starting = Deferred.fromCoroutine(supervisor.start_up())
        self.assertEqual(self.failureResultOf(starting, StartError).value.sentence, self.SENTENCE)
