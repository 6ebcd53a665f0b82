"""Accepting on a Unix socket that somebody else has bound."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from pathlib import Path

from twisted.internet.task import Clock

from teleport_conch.ssh.forwarding.unix_port import REST_S, UnixPort
from tests.ssh.engine import fds, sockets
from tests.ssh.streams import FarEnds, StreamCase


class UnixPortTests(StreamCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="_c")  # the paths of sockets are short
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "s"
        self.ends, self.clock = FarEnds(b"hello"), Clock()
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self.path))
        self.path.chmod(0o600)
        server.listen()
        self.port = UnixPort(fds, sockets, self.clock, server.detach(), self.ends)
        self.addCleanup(self.end)

    async def end(self) -> None:
        self.port.stop()
        for end in self.ends.made:
            end.transport.abortConnection()
        await self.until(lambda: all("lost" in end.ends for end in self.ends.made))

    def connect(self) -> socket.socket:
        program = socket.socket(socket.AF_UNIX)
        self.addCleanup(program.close)
        program.connect(str(self.path))
        return program

    async def test_connections(self) -> None:
        """Many at once; the path, and its mode, stay as they are."""
        programs = [self.connect() for _ in range(40)]
        await self.until(lambda: len(self.ends.made) == 40)
        await self.turns()
        self.assertEqual({program.recv(5) for program in programs}, {b"hello"})
        self.assertEqual(stat.S_IMODE(self.path.lstat().st_mode), 0o600)
        self.port.stop()
        self.port.stop()
        self.assertTrue(self.path.exists())
        self.assertRaises(ConnectionRefusedError, self.connect)

    async def test_no_descriptors(self) -> None:
        """Where none are left it rests, instead of asking again and again, and goes on later."""

        class Exhausted:
            accepts = 0

            def accept(self) -> None:
                self.accepts += 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            def fileno(self) -> int:
                return -1

        real, exhausted = self.port._socket, Exhausted()
        program = self.connect()
        self.port._socket = exhausted  # type: ignore[assignment]  # all that doRead uses
        self.port.doRead()
        self.port._socket = real
        fds.removeReader(self.port)
        await self.turns()
        self.assertEqual((self.ends.made, exhausted.accepts), ([], 1))
        self.clock.advance(REST_S)
        await self.until(lambda: len(self.ends.made) == 1)
        await self.turns()
        self.assertEqual(program.recv(5), b"hello")
