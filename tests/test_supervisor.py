"""The supervisor where it cannot start what it should; what it does otherwise is in ``tests.interop.test_workers``."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path
from typing import cast

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import StartError
from teleport_conch.ssh.monitor.orders import Settings
from teleport_conch.ssh.processes import monitored
from teleport_conch.starting import Reactor
from teleport_conch.supervisor.plan import Plan
from teleport_conch.supervisor.worker import Seat, Worker


class WorkerTests(SynchronousTestCase):
    def test_cannot_run(self) -> None:
        """An account that cannot run Python is named, with the file and what to do; nothing stays open."""
        program = Path(self.mktemp()).absolute()
        program.write_text("")
        account = pwd.getpwuid(os.geteuid())
        plan = Plan("The node", [], program, program, account, Settings(), words=[str(program)], environment={})
        self.patch(monitored, "launch", lambda *_: None)
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
