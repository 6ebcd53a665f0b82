"""What the audit log says of files that go by SFTP."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.node.files import EVENTS_A_PERIOD, PERIOD_S, FileWatching
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.sftp import codec, messages
from teleport_conch.ssh.sftp.codec import Attributes
from teleport_conch.ssh.sftp.messages import NO_SUCH_FILE, OK
from tests.node.guests import Events

FACTS = {"sid": "s", "user": "alice", "login": "root"}


@define
class Conversation:
    """A client and a server, of whom an observer sees both sides."""

    watching: FileWatching
    _number: int = field(init=False, default=0)

    def ask(self, kind: int, *values: object) -> int:
        self._number += 1
        self.watching.input(codec.message(kind, self._number, *values))
        return self._number

    def status(self, number: int, code: int = OK) -> None:
        self.watching.output(codec.message(messages.STATUS, number, code, b"", b""))

    def done(self, kind: int, *values: object, code: int = OK) -> None:
        self.status(self.ask(kind, *values), code)

    def transfer(self, path: bytes, flags: int, written: bytes = b"", read: bytes = b"") -> None:
        opened = self.ask(messages.OPEN, path, flags, Attributes())
        self.watching.output(codec.message(messages.HANDLE, opened, b"h"))
        if written:
            self.done(messages.WRITE, b"h", 0, written)
        if read:
            self.watching.output(codec.message(messages.DATA, self.ask(messages.READ, b"h", 0, 99), read))
        self.done(messages.CLOSE, b"h")


class FileWatchingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.events = Clock(), Events()
        self.clock.advance(1000.0)
        self.watching = FileWatching(self.clock, self.events.emit, FACTS)
        self.client = Conversation(self.watching)

    def last(self, name: str, *keys: str) -> list[object]:
        event = self.events.last(name)
        self.assertEqual({key: event[key] for key in FACTS}, FACTS)
        return [event.get(key) for key in keys]

    def test_transfers(self) -> None:
        """Which file, which way, how much, how it was opened."""
        self.client.transfer(b"/etc/hosts", messages.FLAG_READ, read=b"12345")
        keys = ("code", "action", "path", "tx", "rx", "flags")
        self.assertEqual(self.last("sftp", *keys), ["TJ032I", "download", "/etc/hosts", 5, 0, "read"])
        flags = messages.FLAG_WRITE | messages.FLAG_CREATE | messages.FLAG_TRUNCATE
        self.client.transfer(b"up\xffload", flags, written=b"123")
        expected = ["TJ032I", "upload", "up\\udcffload", 0, 3, "write,create,truncate"]
        self.assertEqual(self.last("sftp", *keys), expected)

    def test_refused(self) -> None:
        """What the server refused is told, with a sentence."""
        self.client.done(messages.REMOVE, b"file", code=NO_SUCH_FILE)
        expected = ["TJ032W", "remove", "file", "There is no such file."]
        self.assertEqual(self.last("sftp", "code", "action", "path", "error"), expected)
        self.client.done(messages.RMDIR, b"file", code=messages.FAILURE)
        self.assertEqual(self.last("sftp", "error"), ["It failed."])

    def test_two_names(self) -> None:
        self.client.done(messages.RENAME, b"old", b"new")
        self.assertEqual(self.last("sftp", "action", "path", "target"), ["rename", "old", "new"])

    def test_attributes(self) -> None:
        self.client.done(messages.SETSTAT, b"file", Attributes(0, 1, 2, 0o104755, 5, 6))
        said = {"size": "0", "owner": "1:2", "mode": "4755", "mtime": "6"}
        self.assertEqual(self.last("sftp", "action", "attributes"), ["setstat", said])

    def test_session_ends_first(self) -> None:
        """What was open is told all the same, as not done."""
        self.client.watching.input(codec.message(messages.OPEN, 1, b"x", messages.FLAG_READ, Attributes()))
        self.client.watching.output(codec.message(messages.HANDLE, 1, b"h"))
        self.watching.ended(None)
        self.assertEqual(self.last("sftp", "code", "error"), ["TJ032W", "The session ended before it was done."])

    def test_many(self) -> None:
        """Beyond so many in a while they are counted, and the count is told when the while is over."""
        for _ in range(EVENTS_A_PERIOD + 7):
            self.client.transfer(b"x", messages.FLAG_READ, read=b"123")
        self.assertEqual(self.events.names(), ["sftp"] * EVENTS_A_PERIOD)
        self.clock.advance(PERIOD_S)
        self.client.done(messages.REMOVE, b"x")
        self.assertEqual(self.events.names()[EVENTS_A_PERIOD:], ["sftp.more", "sftp"])
        self.assertEqual(self.last("sftp.more", "count", "tx", "rx"), [7, 21, 0])

    def test_many_at_the_end(self) -> None:
        for _ in range(EVENTS_A_PERIOD + 1):
            self.client.done(messages.REMOVE, b"x")
        self.watching.ended(ExitStatus(code=0))
        self.assertEqual(self.last("sftp.more", "count"), [1])

    def test_no_sftp(self) -> None:
        """What is no SFTP is told once, and never in the way."""
        self.watching.resized(80, 24)
        self.watching.error(b"a complaint that is no part of it")
        for _ in range(3):
            self.watching.output(b"Welcome to this host!\n")
        self.assertEqual(self.events.names(), ["sftp.unseen"])
        self.assertEqual(self.last("sftp.unseen", "reason"), ["a message of 1466264675 bytes"])
