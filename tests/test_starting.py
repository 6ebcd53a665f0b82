"""Starting: ports that are taken are said with who has them, and a pid file lives as long as its service."""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_conch.errors import PortInUse
from teleport_conch.starting import COLLECTED_OBJECTS, PidFile, StartingService, as_part, holder_of, listen


class ListenTests(TestCase):
    async def test_port_in_use(self) -> None:
        """The sentence names the service, the port, and the process that has it."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            factory = Factory.forProtocol(Protocol)
            try:
                await listen(reactor, f"tcp:{port}:interface=127.0.0.1", factory, "The node")
            except PortInUse as refusal:
                sentence = refusal.sentence
            else:
                self.fail("the port was given away twice")
        self.assertIn(f"The node cannot listen on port {port} of 127.0.0.1: it is in use by ", sentence)
        self.assertIn(f"(pid {os.getpid()})", sentence)

    def test_free_port(self) -> None:
        """Nobody is named for a port that nobody has."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
        self.assertEqual(holder_of(port), "")


class PidFileTests(SynchronousTestCase):
    def test_written_and_removed(self) -> None:
        """The file holds the number of the process while the service runs, and is gone afterwards."""
        path = Path(self.mktemp())
        service = PidFile(path)
        service.startService()
        self.assertEqual(path.read_text(), f"{os.getpid()}\n")
        service.stopService()
        self.assertFalse(path.exists())

    def test_unwritable(self) -> None:
        """A pid file that cannot be written is logged, and stops nothing."""
        service = PidFile(Path("/proc/nowhere/pid"))
        service.startService()
        service.stopService()


class Ready(StartingService):
    async def start_up(self) -> None:
        """There is nothing to do."""


class CollectorTests(SynchronousTestCase):
    def test_spared(self) -> None:
        """Once a service is up, the garbage collector looks at what is new, and more rarely."""
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        gc.unfreeze()
        service = as_part(Ready(reactor))
        service.startService()
        self.addCleanup(service.stopService)
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertEqual(gc.get_threshold()[0], COLLECTED_OBJECTS)
