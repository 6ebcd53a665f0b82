"""Sessions with PAM: one process lets the person in, and holds the first session."""

from __future__ import annotations

import os
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import cast

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.monitor.admissions import MAX_WAITING_KEEPERS, WAIT_S, Admissions
from teleport_conch.ssh.monitor.keeper import Keeper
from teleport_conch.ssh.monitor.loop import Loop
from teleport_conch.ssh.monitor.orders import Program, Settings, Terminal
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.process import Process
from tests.ssh.monitor.servers import Heard, MonitorCase, reactor

SERVICE = "other"
"""What PAM falls back to, which every host has that has PAM."""


@define
class Timers:
    """The part of a loop that is about time."""

    due: dict[int, tuple[float, Callable[[], None]]] = field(factory=dict)
    last: int = 0

    def after(self, seconds: float, due: Callable[[], None]) -> int:
        self.last += 1
        self.due[self.last] = seconds, due
        return self.last

    def forget(self, number: int) -> None:
        self.due.pop(number, None)


@define(eq=False)
class Child:
    """A child that waits."""

    open: bool = True
    dismissed: bool = False

    def dismiss(self) -> None:
        self.dismissed = True


class WaitingTests(SynchronousTestCase):
    """How long a child waits for a session, and how many do."""

    def setUp(self) -> None:
        self.timers = Timers()
        self.admissions = Admissions(cast(Loop, self.timers))

    def add(self, number: int) -> Child:
        child = Child()
        self.admissions.add(number, cast(Keeper, child))
        return child

    def test_taken(self) -> None:
        """The first session gets it, the next does not, and no deadline is left."""
        child = self.add(7)
        self.assertIs(self.admissions.take(7), child)
        self.assertIsNone(self.admissions.take(7))
        self.assertEqual((child.dismissed, self.timers.due), (False, {}))

    def test_none(self) -> None:
        """A login of which nobody waits."""
        self.add(7)
        self.assertIsNone(self.admissions.take(0))
        self.assertEqual(len(self.timers.due), 1)

    def test_given_up(self) -> None:
        """After its time it is told to end, and no session gets it."""
        child = self.add(7)
        ((seconds, due),) = self.timers.due.values()
        due()
        self.assertEqual((seconds, child.dismissed, self.admissions.take(7)), (WAIT_S, True, None))

    def test_ended(self) -> None:
        """One that has ended by itself starts nothing."""
        self.add(7).open = False
        self.assertIsNone(self.admissions.take(7))

    def test_many(self) -> None:
        """The oldest makes room."""
        first, *others = [self.add(number) for number in range(1, MAX_WAITING_KEEPERS + 2)]
        self.assertEqual((first.dismissed, any(each.dismissed for each in others)), (True, False))
        self.assertEqual(len(self.timers.due), MAX_WAITING_KEEPERS)

    def test_close(self) -> None:
        """All end, without waiting for anything."""
        children = [self.add(number) for number in (1, 2)]
        self.admissions.close()
        self.assertEqual(([each.dismissed for each in children], self.timers.due), ([True, True], {}))


def children(pid: int) -> set[int]:
    """The processes that a process has started."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(each) for each in (task / "children").read_text().split()}
    return found


class SessionTests(MonitorCase):
    """With PAM itself."""

    settings = Settings(pam_service=SERVICE, login_records=False, greeting=False)

    def setUp(self) -> None:
        if os.geteuid() != 0 or not Path("/etc/pam.d", SERVICE).exists():
            raise unittest.SkipTest("this needs root, and a host with PAM")

    def waiting(self) -> set[int]:
        """The children of the starter, which is the child of the monitor, which is our youngest."""
        (starter,) = children(max(children(os.getpid())))
        return children(starter)

    async def test_same_child(self) -> None:
        """What let the person in is the parent of the first session; the next session has another."""
        login = await self.logged_in(await self.ready_monitor())
        (waiting,) = self.waiting()
        parents = []
        for _ in range(2):
            heard, status = await self.run_to_end(login, Program("echo $PPID", {}))
            self.assertEqual((status, heard.error), (ExitStatus(code=0), b""))
            parents.append(int(heard.output))
        self.assertEqual(parents[0], waiting)
        self.assertNotEqual(parents[1], waiting)

    async def test_terminal(self) -> None:
        """A terminal reaches it, too, and is the session's controlling one."""
        login = await self.logged_in(await self.ready_monitor())
        heard = Heard()
        wanted = Program(
            "echo $PPID; test $(tty) = $SSH_TTY && echo same > /dev/tty", {}, Terminal("vt", 9, 9, 0, 0, b"")
        )
        (waiting,) = self.waiting()
        Process(reactor, reactor, await login.spawn(wanted), heard)
        self.assertEqual(await heard.ended, ExitStatus(code=0))
        self.assertEqual(heard.output.split(), [str(waiting).encode(), b"same"])

    async def test_killed(self) -> None:
        """Where it has ended meanwhile, the session is started by another."""
        login = await self.logged_in(await self.ready_monitor())
        (waiting,) = self.waiting()
        os.kill(waiting, 9)
        while waiting in self.waiting():
            pass
        self.assertEqual((await self.run_to_end(login, Program("exit 3", {})))[1], ExitStatus(code=3))
