"""What an observer makes of the bytes of both directions, in whatever pieces they come."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.sftp import codec, messages, observer
from teleport_conch.ssh.sftp.codec import Attributes
from teleport_conch.ssh.sftp.messages import (
    FAILURE,
    FLAG_CREATE,
    FLAG_READ,
    FLAG_WRITE,
    NO_SUCH_FILE,
    OK,
)
from teleport_conch.ssh.sftp.observer import Operation
from tests.interop.requirements import require
from tests.ssh.sftp import driving, relay

NOTHING = Attributes()


def status(number: int, code: int = OK) -> bytes:
    return codec.message(messages.STATUS, number, code, b"text", b"")


@define
class Sight:
    """An observer, and what it has told."""

    operations: list[Operation] = field(factory=list)
    reasons: list[str] = field(factory=list)
    observer: observer.Observer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.observer = observer.Observer(self.operations.append, self.reasons.append)

    def client(self, kind: int, number: int, *values: object) -> None:
        self.observer.from_client(codec.message(kind, number, *values))

    def server(self, kind: int, number: int, *values: object) -> None:
        self.observer.from_server(codec.message(kind, number, *values))

    def done(self, kind: int, *values: object, code: int = OK) -> Operation:
        """The operation that one request is told as."""
        self.client(kind, 1, *values)
        self.observer.from_server(status(1, code))
        return self.operations.pop()

    def open(self, handle: bytes, path: bytes, flags: int = FLAG_READ) -> None:
        self.client(messages.OPEN, 1, path, flags, NOTHING)
        self.server(messages.HANDLE, 1, handle)

    def close(self, handle: bytes) -> Operation:
        return self.done(messages.CLOSE, handle)


class OperationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sight = Sight()

    def test_names(self) -> None:
        """Each request that changes names, with the names in their places."""
        for kind, values, expected in (
            (messages.REMOVE, (b"a",), Operation("remove", b"a", OK)),
            (messages.MKDIR, (b"a", NOTHING), Operation("mkdir", b"a", OK)),
            (messages.RMDIR, (b"a",), Operation("rmdir", b"a", OK)),
            (messages.RENAME, (b"a", b"b"), Operation("rename", b"a", OK, b"b")),
            (messages.SYMLINK, (b"target", b"link"), Operation("symlink", b"link", OK, b"target")),
            (messages.SETSTAT, (b"a", Attributes(1)), Operation("setstat", b"a", OK, attributes=Attributes(1))),
        ):
            self.assertEqual(self.sight.done(kind, *values), expected)
            self.assertEqual(self.sight.done(kind, *values, code=FAILURE), evolve(expected, status=FAILURE))

    def test_extensions(self) -> None:
        for name, values, expected in (
            (messages.POSIX_RENAME, (b"a", b"b"), Operation("rename", b"a", OK, b"b")),
            (messages.HARDLINK, (b"a", b"b"), Operation("hardlink", b"a", OK, b"b")),
            (messages.LSETSTAT, (b"a", NOTHING), Operation("setstat", b"a", OK, attributes=NOTHING)),
        ):
            fields = codec.pack(messages.EXTENSION_FIELDS[name], *values)
            self.assertEqual(self.sight.done(messages.EXTENDED, name, fields), expected)

    def test_download(self) -> None:
        """What was read is counted by the answers, not by what was asked for."""
        self.sight.open(b"h", b"file")
        self.sight.client(messages.READ, 2, b"h", 0, 1000)
        self.sight.client(messages.READ, 3, b"h", 1000, 1000)
        self.sight.server(messages.DATA, 2, b"12345")
        self.sight.observer.from_server(status(3, messages.EOF))
        self.assertEqual(self.sight.close(b"h"), Operation("download", b"file", OK, flags=FLAG_READ, read=5))

    def test_upload(self) -> None:
        """What was written is counted when the server has it."""
        flags = FLAG_WRITE | FLAG_CREATE
        self.sight.open(b"h", b"file", flags)
        for number, code in ((2, OK), (3, FAILURE)):
            self.sight.client(messages.WRITE, number, b"h", 0, b"123")
            self.sight.observer.from_server(status(number, code))
        self.assertEqual(self.sight.close(b"h"), Operation("upload", b"file", OK, flags=flags, written=3))

    def test_by_handle(self) -> None:
        """Requests that mean a file by its handle are told with its name."""
        self.sight.open(b"1", b"one")
        self.sight.open(b"2", b"two", FLAG_WRITE)
        expected = Operation("setstat", b"two", OK, attributes=Attributes(size=5))
        self.assertEqual(self.sight.done(messages.FSETSTAT, b"2", Attributes(size=5)), expected)
        copied = codec.pack(messages.EXTENSION_FIELDS[messages.COPY_DATA], b"1", 0, 0, b"2", 0)
        self.assertEqual(
            self.sight.done(messages.EXTENDED, messages.COPY_DATA, copied), Operation("copy", b"one", OK, b"two")
        )

    def test_open_refused(self) -> None:
        refused = self.sight.done(messages.OPEN, b"file", FLAG_READ, NOTHING, code=NO_SUCH_FILE)
        self.assertEqual(refused, Operation("download", b"file", NO_SUCH_FILE, flags=FLAG_READ))

    def test_looking_is_not_told(self) -> None:
        self.sight.client(messages.STAT, 1, b"x")
        self.sight.server(messages.ATTRS, 1, NOTHING)
        self.sight.client(messages.OPENDIR, 2, b"x")
        self.sight.server(messages.HANDLE, 2, b"d")
        self.sight.client(messages.READDIR, 3, b"d")
        self.sight.server(messages.NAME, 3, [(b"a", b"a", NOTHING)])
        self.sight.client(messages.CLOSE, 4, b"d")
        self.sight.observer.from_server(status(4))
        self.assertEqual((self.sight.operations, self.sight.reasons), ([], []))

    def test_end_of_the_session(self) -> None:
        """A file that is still open is told as not done; nothing is told after it."""
        self.sight.open(b"h", b"file", FLAG_WRITE)
        self.sight.client(messages.WRITE, 2, b"h", 0, b"123")
        self.sight.observer.from_server(status(2))
        self.sight.observer.ended()
        self.sight.observer.ended()
        self.assertEqual(self.sight.operations, [Operation("upload", b"file", None, flags=FLAG_WRITE, written=3)])

    def test_a_handle_that_is_used_before_it_is_known(self) -> None:
        """The server decides which file a handle is: bytes are counted where they were moved, not where the client's
        request would have put them when it was sent.
        """
        self.sight.open(b"\0\0\0\0", b"harmless")
        self.sight.client(messages.CLOSE, 2, b"\0\0\0\0")
        self.sight.client(messages.OPEN, 3, b"secret", FLAG_READ, NOTHING)
        self.sight.client(messages.READ, 4, b"\0\0\0\0", 0, 100)
        self.sight.client(messages.CLOSE, 5, b"\0\0\0\0")
        self.sight.observer.from_server(status(2))
        self.sight.server(messages.HANDLE, 3, b"\0\0\0\0")
        self.sight.server(messages.DATA, 4, b"secret")
        self.sight.observer.from_server(status(5))
        self.assertEqual([(each.path, each.read) for each in self.sight.operations], [(b"harmless", 0), (b"secret", 6)])


class BlindTests(SynchronousTestCase):
    """What makes an observer stop, and how it says so."""

    def test_reasons(self) -> None:
        """Each in its words; what was open is told, and what comes then is not looked at."""

        def client(data: bytes) -> Callable[[Sight], object]:
            return lambda sight: sight.observer.from_client(data)

        def server(data: bytes) -> Callable[[Sight], object]:
            return lambda sight: sight.observer.from_server(data)

        remove = codec.message(messages.REMOVE, 7, b"x")
        stat = codec.message(messages.STAT, 7, b"x")
        opened = codec.message(messages.OPEN, 7, b"x", 1, NOTHING)
        named = codec.message(messages.NAME, 7, [])
        for reason, steps in (
            ("a message of 1397966893 bytes", (client(b"SSH-2.0-x"),)),
            ("a message of 0 bytes", (server(bytes(4)), server(b"x"))),
            ("two requests with one number", (client(stat + remove),)),
            ("an answer to nothing", (server(status(7)),)),
            ("the answer 104 to a request that has a status", (client(remove), server(named))),
            ("the answer 104 to an OPEN", (client(opened), server(named))),
            ("version 6 of the protocol", (server(codec.message(messages.FXP_VERSION, None, 6, {})),)),
            ("a message that ends too early", (client(codec.string(b"\x0d\0\0\0\x07")),)),
            ("a message that ends too early", (client(codec.string(b"\x0d\0\0")),)),
            ("a handle that is too long", (client(codec.string(b"\5\0\0\0\7\0\1\0\0" + bytes(70000))),)),
            ("a string goes beyond the end of its message", (client(codec.message(messages.REMOVE, 7, bytes(20000))),)),
            ("a name with a NUL byte", (client(codec.message(messages.REMOVE, 7, b"x\0")),)),
        ):
            with self.subTest(reason):
                sight = Sight()
                sight.open(b"h", b"open")
                for step in steps:
                    step(sight)
                self.assertEqual(sight.reasons, [reason])
                self.assertEqual(sight.operations, [Operation("download", b"open", None, flags=FLAG_READ)])
                sight.observer.from_client(remove)
                sight.observer.from_server(status(7))
                self.assertEqual((len(sight.operations), len(sight.reasons)), (1, 1))

    def test_too_much(self) -> None:
        """Each of its bounds."""
        sight = Sight()
        for number in range(observer.MAX_PENDING + 1):
            sight.client(messages.READ, number, b"h", 0, 1)
        self.assertEqual(sight.reasons, ["more than 65536 requests without an answer"])
        sight = Sight()
        for number in range(observer.MAX_NAMED + 1):
            sight.client(messages.REMOVE, number, b"x" * 4000)
        self.assertEqual(sight.reasons, ["more than 1024 names without an answer"])
        sight = Sight()
        for number in range(observer.MAX_OPEN + 1):
            sight.open(number.to_bytes(4, "big"), b"x")
        self.assertEqual(sight.reasons, ["more than 4096 open files"])
        self.assertEqual(len(sight.operations), observer.MAX_OPEN)

    def test_long_names_are_cut(self) -> None:
        self.assertEqual(Sight().done(messages.REMOVE, b"x" * 4000).path, b"x" * observer.MAX_NAME_BYTES)


def conversation() -> tuple[bytes, bytes]:
    """Both sides of a session with something of everything."""
    client, server = [codec.message(messages.INIT, None, 3, {})], [codec.message(messages.FXP_VERSION, None, 3, {})]
    steps: Sequence[tuple[tuple[object, ...], bytes]] = (
        ((messages.OPEN, 1, b"file", FLAG_WRITE, NOTHING), codec.message(messages.HANDLE, 1, b"h")),
        ((messages.WRITE, 2, b"h", 0, bytes(3000)), status(2)),
        ((messages.STAT, 3, b"x"), codec.message(messages.ATTRS, 3, Attributes(1))),
        ((messages.CLOSE, 4, b"h"), status(4)),
        ((messages.OPEN, 5, b"other", FLAG_READ, NOTHING), codec.message(messages.HANDLE, 5, b"h")),
        ((messages.READ, 6, b"h", 0, 5000), codec.message(messages.DATA, 6, bytes(5000))),
        ((messages.RENAME, 7, b"a", b"b"), status(7, FAILURE)),
    )
    for (kind, number, *values), answer in steps:
        assert isinstance(kind, int) and isinstance(number, int)
        client.append(codec.message(kind, number, *values))
        server.append(answer)
    return b"".join(client), b"".join(server)


SEEN = [
    Operation("upload", b"file", OK, flags=FLAG_WRITE, written=3000),
    Operation("rename", b"a", FAILURE, b"b"),
    Operation("download", b"other", None, flags=FLAG_READ, read=5000),
]


def pieces(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """``data`` in pieces of these sizes, over and over."""
    at, count = 0, 0
    while at < len(data):
        size = sizes[count % len(sizes)]
        yield data[at : at + size]
        at, count = at + size, count + 1


class PieceTests(SynchronousTestCase):
    @given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
    def test_any_pieces(self, small: list[int], large: list[int]) -> None:
        """However the bytes are cut, the same is seen."""
        for sizes in (small, large):
            sight = Sight()
            client, server = conversation()
            for piece in pieces(client, sizes):
                sight.observer.from_client(piece)
            for piece in pieces(server, sizes):
                sight.observer.from_server(piece)
            sight.observer.ended()
            self.assertEqual((sight.operations, sight.reasons), (SEEN, []))

    @given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=10))
    def test_anything(self, said: list[tuple[bool, bytes]]) -> None:
        """Nothing that is said raises anything, or is told more than once as the reason to look away."""
        sight = Sight()
        for from_client, data in said:
            (sight.observer.from_client if from_client else sight.observer.from_server)(data)
        sight.observer.ended()
        self.assertLessEqual(len(sight.reasons), 1)


def last(path: bytes) -> bytes:
    """The last part of a name; folders differ from run to run."""
    return path.rpartition(b"/")[2]


BATCH = """\
get @/hosts @/got
put @/got there
rename there moved
chmod 600 moved
mkdir sub
ln -s nowhere link
rm moved
-get none
rmdir sub
"""


class ServerTests(SynchronousTestCase):
    """Real sessions: OpenSSH's client with a server behind a program that keeps both directions."""

    def observed(self, argv: Sequence[str]) -> list[Operation]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "hosts").write_bytes(b"x" * 300_000)
        script = folder / "relay"
        words = shlex.join([sys.executable, relay.__file__, str(folder / "kept"), *argv])
        script.write_text(f"#!/bin/sh\ncd '{folder}'\nexec {words}\n")
        script.chmod(0o755)
        sftp = require("sftp", "openssh-client")
        batch = BATCH.replace("@", str(folder)).encode()
        done = subprocess.run([sftp, "-D", str(script), "-b", "-"], input=batch, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        sight = Sight()
        for from_client, data in relay.records((folder / "kept").read_bytes()):
            (sight.observer.from_client if from_client else sight.observer.from_server)(data)
        sight.observer.ended()
        self.assertEqual(sight.reasons, [])
        return [evolve(each, path=last(each.path), target=last(each.target)) for each in sight.operations]

    def test_both_servers(self) -> None:
        """The same is seen of OpenSSH's server and of ours."""
        ours = self.observed(driving.own())
        size, put = 300_000, FLAG_WRITE | FLAG_CREATE | messages.FLAG_TRUNCATE
        self.assertEqual(
            [(each.action, each.path, each.status, each.read, each.written) for each in ours],
            [
                ("download", b"hosts", OK, size, 0),
                ("upload", b"there", OK, 0, size),
                ("rename", b"there", OK, 0, 0),
                ("setstat", b"moved", OK, 0, 0),
                ("mkdir", b"sub", OK, 0, 0),
                ("symlink", b"link", OK, 0, 0),
                ("remove", b"moved", OK, 0, 0),
                ("rmdir", b"sub", OK, 0, 0),
            ],
        )
        self.assertEqual(ours[1].flags, put)
        self.assertEqual(ours, self.observed(driving.openssh()))
