"""What programs in the kernel wrote down, read by a process that cannot rely on it."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.tracing import layout
from teleport_conch.ssh.tracing.records import (
    MAX_STARTING,
    Command,
    Commands,
    Connected,
    Opened,
    read_connected,
    read_head,
    read_opened,
)
from teleport_conch.wire import WireError

NOTHING_4, NOTHING_6 = bytes(4), bytes(16)


def head(sort: int, thread: int = 11, result: int = 0) -> bytes:
    return layout.HEAD.pack(sort, 3, thread, 10, 9, result % (1 << 32), 77, b"cat")


def texts(*told: bytes, flags: int = 0) -> bytes:
    return layout.TEXTS.pack(flags, len(told) - 1) + b"".join(each + b"\0" for each in told)


def socket(family: int, ours: str, theirs: str) -> bytes:
    """As the kernel writes it: the addresses of one family, and of IPv4 as IPv6 has them."""
    if family == 2:
        pair = [IPv4Address(each).packed for each in (ours, theirs)]
        mapped = [bytes(10) + b"\xff\xff" + each for each in pair]
        return layout.SOCKET.pack(2, 22, 0, *pair, *mapped)
    return layout.SOCKET.pack(10, 22, 0, NOTHING_4, NOTHING_4, *(IPv6Address(each).packed for each in (ours, theirs)))


class CommandTests(SynchronousTestCase):
    def joined(self, *records: bytes) -> list[Command]:
        commands = Commands()
        read = [commands.read(read_head(record), record) for record in records]
        return [command for command in read if command is not None]

    def test_started(self) -> None:
        """The arguments are those of the call, the path is the one that the kernel took."""
        asked = head(layout.STARTING) + texts(b"/bin/cat", b"cat", b"", b"\xff")
        (command,) = self.joined(asked, head(layout.HAS_STARTED) + texts(b"/usr/bin/cat"))
        self.assertEqual(command, Command(10, 9, 77, "cat", "/usr/bin/cat", ("cat", "", "\udcff"), 0))

    def test_not_started(self) -> None:
        asked = head(layout.STARTING) + texts(b"/nowhere", b"nowhere", flags=layout.MORE | layout.UNREAD)
        (command,) = self.joined(asked, head(layout.NOT_STARTED, result=-2))
        self.assertEqual(command, Command(10, 9, 77, "cat", "/nowhere", ("nowhere",), -2, more=True, unread=True))

    def test_by_thread(self) -> None:
        """Two threads of a process may be at it at once."""
        found = self.joined(
            head(layout.STARTING, 11) + texts(b"/a", b"a"),
            head(layout.STARTING, 12) + texts(b"/b", b"b"),
            head(layout.NOT_STARTED, 12, -13),
            head(layout.HAS_STARTED, 11) + texts(b"/a"),
        )
        self.assertEqual([(each.path, each.return_code) for each in found], [("/b", -13), ("/a", 0)])

    def test_unseen_arguments(self) -> None:
        """A program whose call was not seen is told all the same."""
        (command,) = self.joined(head(layout.HAS_STARTED) + texts(b"/bin/old"))
        self.assertIs(command.argv, None)

    def test_bound(self) -> None:
        """Of calls that never end, the oldest are forgotten."""
        commands = Commands()
        for thread in range(MAX_STARTING + 1):
            record = head(layout.STARTING, thread) + texts(b"/a", b"a")
            commands.read(read_head(record), record)
        ends = [head(layout.HAS_STARTED, thread) + texts(b"/a") for thread in (0, 1)]
        found = [commands.read(read_head(record), record) for record in ends]
        self.assertEqual([each and each.argv for each in found], [None, ("a",)])

    def test_refused(self) -> None:
        for record, says in (
            (b"", "a record of 0 bytes"),
            (head(layout.NOT_STARTED, result=-2), "a program that nobody asked for did not start"),
            (head(layout.OPENED), "a record of the unknown sort 4"),
            (head(layout.STARTING), "a record without its text"),
        ):
            problem = self.assertRaises(WireError, self.joined, record)
            self.assertEqual(str(problem), says)


class OtherTests(SynchronousTestCase):
    def test_opened(self) -> None:
        record = head(layout.OPENED, result=-13) + texts(b"/etc/shadow", flags=0o2000000)
        self.assertEqual(read_opened(read_head(record), record), Opened(10, 77, "cat", "/etc/shadow", 0o2000000, -13))

    def test_connected(self) -> None:
        for family, ours, theirs, version in (
            (2, "10.0.0.1", "10.0.0.2", 4),
            (10, "::1", "2001:db8::2", 6),
        ):
            record = head(layout.CONNECTED) + socket(family, ours, theirs)
            self.assertEqual(
                read_connected(read_head(record), record), Connected(10, 77, "cat", ours, theirs, 22, version)
            )

    def test_mapped(self) -> None:
        """A socket of IPv6 that speaks IPv4."""
        pair = [IPv4Address(each).packed for each in ("10.0.0.1", "10.0.0.2")]
        theirs_6 = bytes(10) + b"\xff\xff" + pair[1]
        record = head(layout.CONNECTED) + layout.SOCKET.pack(10, 22, 0, *pair, NOTHING_6, theirs_6)
        found = read_connected(read_head(record), record)
        self.assertEqual((found.src_addr, found.dst_addr, found.version), ("10.0.0.1", "10.0.0.2", 4))

    def test_unknown_family(self) -> None:
        record = head(layout.CONNECTED) + layout.SOCKET.pack(1, 0, 0, NOTHING_4, NOTHING_4, NOTHING_6, NOTHING_6)
        problem = self.assertRaises(WireError, read_connected, read_head(record), record)
        self.assertEqual(str(problem), "a record of the address family 1")

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, 6), st.binary(max_size=120), st.integers(0, 200))
    def test_garbage(self, sort: int, rest: bytes, length: int) -> None:
        """Whatever bytes come, and wherever they are cut, there is a value or a WireError."""
        record = (head(sort) + rest)[:length]
        for read in (Commands().read, read_opened, read_connected):
            with contextlib.suppress(WireError):
                read(read_head(record), record)
