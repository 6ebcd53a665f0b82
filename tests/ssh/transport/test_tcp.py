"""Sending at once what was written."""

from __future__ import annotations

from twisted.internet.abstract import FileDescriptor
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.transport.tcp import push
from tests.ssh.processes.test_pipes import Turns


class Socket(FileDescriptor):
    """A connection that takes so many bytes of a write."""

    connected = True

    def __init__(self, room: int = 1 << 20) -> None:
        super().__init__(Turns())
        self.room = room
        self.took: list[bytes] = []

    def writeSomeData(self, data: bytes) -> int:
        self.took.append(bytes(data[: self.room]))
        return len(self.took[-1])


class PushTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """What was written is one write, and the reactor has nothing left to do."""
        socket = Socket()
        socket.write(b"one ")
        socket.write(b"two")
        self.assertEqual(socket.took, [])
        push(socket)
        self.assertEqual((socket.took, socket.reactor.getWriters()), ([b"one two"], []))

    def test_full(self) -> None:
        """Where the socket did not take all of it, the reactor goes on, and nothing is tried in between."""
        socket = Socket(room=3)
        socket.write(b"abcdef")
        push(socket)
        socket.write(b"g")
        push(socket)
        self.assertEqual((socket.took, socket.reactor.getWriters()), ([b"abc"], [socket]))

    def test_ending(self) -> None:
        """The end behind what was written is the reactor's, as are connections that are none any more."""
        for how in ("disconnecting", "disconnected"):
            socket = Socket()
            socket.write(b"bye")
            socket.disconnecting, socket.connected = how == "disconnecting", how != "disconnected"
            push(socket)
            self.assertEqual(socket.took, [])

    def test_others(self) -> None:
        """What is no connection of Twisted's sends by itself."""
        push(object())
