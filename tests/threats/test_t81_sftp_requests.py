"""Threat 81: SFTP requests that want too much, or are none: a flood of handles, 4 GB at once, INIT again and again."""

from __future__ import annotations

import os
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teleport_conch.ssh.sftp import codec, handles, messages
from teleport_conch.ssh.sftp.messages import BAD_MESSAGE, FAILURE, FLAG_READ, OK, OP_UNSUPPORTED
from tests.ssh.sftp import driving

MOST_MEMORY_KB = 32 << 10
"""Of a server at any time: an interpreter, its buffers, and the most handles."""


class T81Requests(driving.ServerCase):
    """What a client is told, and how much it can make the server keep."""

    def test_handle_flood(self) -> None:
        """Files are opened until the limit; then each further one is refused, and one that is closed makes room."""
        path = self.write("file")
        opened = []
        kind, found = self.server.ask(messages.OPEN, path, FLAG_READ, codec.Attributes())
        while kind == messages.HANDLE:
            opened.append(found[0])
            kind, found = self.server.ask(messages.OPEN, path, FLAG_READ, codec.Attributes())
        self.assertEqual((kind, found[0]), (messages.STATUS, FAILURE))
        self.assertIn(found[1], (b"Too many open files", b"more than 4096 files are open"))
        self.assertLessEqual(len(opened), handles.MAX_OPEN)
        self.assertEqual(len(set(opened)), len(opened))
        self.assertEqual(self.server.status(messages.OPENDIR, b"."), FAILURE)
        self.assertEqual(self.server.status(messages.CLOSE, opened[0]), OK)
        self.assertEqual(self.server.ask(messages.OPENDIR, b".")[0], messages.HANDLE)
        self.assert_small()

    def test_four_gigabytes_at_once(self) -> None:
        """A read of 4 GB is answered with what one message can hold, however often it is asked for."""
        with open(self.folder / "large", "wb") as file:
            file.truncate(1 << 33)
        handle = self.server.open(self.path("large"), FLAG_READ)
        for at in (0, 1 << 32):
            _, (data,) = self.server.ask(messages.READ, handle, at, 2**32 - 1)
            self.assertEqual(data, bytes(messages.MAX_DATA_BYTES))
        self.assert_small()

    def test_places_that_no_file_has(self) -> None:
        handle = self.server.open(self.write("file"), FLAG_READ)
        self.assertEqual(self.server.status(messages.READ, handle, 2**64 - 1, 10), BAD_MESSAGE)
        self.assertEqual(self.server.ask(messages.READ, handle, 0, 10), (messages.DATA, [b"data"]))

    def test_init_again(self) -> None:
        """Is answered again, as by OpenSSH, and changes nothing."""
        handle = self.server.open(self.write("file"), FLAG_READ)
        for _ in range(3):
            self.assertEqual(self.server.begin(), self.extensions)
        self.assertEqual(self.server.ask(messages.READ, handle, 0, 10), (messages.DATA, [b"data"]))

    def test_unknown_requests(self) -> None:
        """Each number that no request has is answered, by its id, that there is none."""
        requests = set(range(messages.OPEN, messages.SYMLINK + 1)) | {messages.INIT, messages.EXTENDED}
        for kind in set(range(256)) - requests:
            self.server.send(codec.string(bytes((kind,)) + b"\xff\xff\xff\xff" + b"rest"))
            expected = (messages.STATUS, 2**32 - 1, [OP_UNSUPPORTED, b"Operation unsupported", b""])
            self.assertEqual(self.server.receive(), expected, kind)

    def test_same_id_twice(self) -> None:
        """Ids are the client's own affair: each request is answered with its own."""
        self.server.send(2 * codec.message(messages.REALPATH, 7, b"/"))
        self.assertEqual([self.server.receive()[1] for _ in range(2)], [7, 7])

    def test_malformed(self) -> None:
        """A request that is cut off inside its frame is answered, and the next one, too."""
        for kind in range(messages.OPEN, messages.SYMLINK + 1):
            self.server.send(codec.string(bytes((kind,)) + struct.pack(">II", 5, 2**32 - 1)))
            number, found = self.server.receive()[1:]
            self.assertEqual((number, found[0]), (5, BAD_MESSAGE), kind)
        for name in (struct.pack(">I", 9), b"\0\0", b""):
            self.server.send(codec.string(bytes((messages.EXTENDED,)) + struct.pack(">I", 6) + name))
            number, found = self.server.receive()[1:]
            self.assertEqual((number, found[0]), (6, BAD_MESSAGE))
        self.assertEqual(self.server.status(messages.EXTENDED, messages.USERS_GROUPS, codec.pack("ss", b"123", b"")), 5)
        self.assertEqual(self.server.ask(messages.REALPATH, b"/")[0], messages.NAME)

    def test_many_users(self) -> None:
        """A question whose answer would not fit into a message is refused."""
        many = codec.pack("ss", bytes(200_000), b"")
        self.assertEqual(self.server.status(messages.EXTENDED, messages.USERS_GROUPS, many), FAILURE)

    def test_too_long(self) -> None:
        """What is longer than a message can be ends the session: nothing behind it could be understood."""
        self.server.send(
            codec.message(messages.REALPATH, 1, b"/") + struct.pack(">IB", messages.MAX_PACKET_BYTES + 1, 3)
        )
        self.assertEqual(self.server.receive()[1], 1)
        self.assertEqual(self.server.end(), (1, "sftp: the client sent a message of 262145 bytes.\n"))

    def test_empty(self) -> None:
        self.server.send(bytes(4))
        self.assertEqual(self.server.end(), (1, "sftp: the client sent a message of 0 bytes.\n"))

    def test_without_init(self) -> None:
        """Nothing is done for a client that does not begin as the protocol says."""
        for frame in (
            codec.message(messages.MKDIR, 1, b"made", codec.Attributes()),
            codec.string(bytes((messages.INIT,))),
            codec.string(b"SSH-"),
        ):
            server = self.serve()
            server.send(frame)
            self.assertEqual(server.end(), (1, "sftp: the client does not begin as the protocol says.\n"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_answers_nobody_reads(self) -> None:
        """A client that asks and does not read stops being served; what waits for it is bounded."""
        with open(self.folder / "large", "wb") as file:
            file.truncate(1 << 24)
        handle = self.server.open(self.path("large"), FLAG_READ)
        self.server.send(b"".join(codec.message(messages.READ, n, handle, 0, 1 << 20) for n in range(500)))
        self.server.receive()
        self.assert_small()
        for _ in range(499):
            self.assertEqual(self.server.receive()[0], messages.DATA)

    @given(st.lists(st.binary(min_size=5, max_size=60), max_size=20))
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_anything(self, frames: list[bytes]) -> None:
        """Whatever is in a frame, there is one answer to it."""
        harmless = [bytes((messages.OPEN if 3 <= frame[0] <= 20 else frame[0],)) + frame[1:] for frame in frames]
        self.server.send(b"".join(codec.string(frame) for frame in harmless))
        for frame in harmless:
            kind, number, _ = self.server.receive()
            init = frame[0] == messages.INIT
            self.assertEqual(number, None if init else int.from_bytes(frame[1:5], "big"))
            self.assertEqual(kind == messages.FXP_VERSION, init)

    def assert_small(self) -> None:
        """The server is the last of the programs that started one another."""
        self.assertLess(self.server.memory_kb(), MOST_MEMORY_KB)
