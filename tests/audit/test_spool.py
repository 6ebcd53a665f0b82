"""Lines come out of the spool in the order in which they went in, whatever happened in between."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.spool import Spool, SpoolFull

SHORT_WRITE = """
import resource, sys
from pathlib import Path
from teleport_conch.audit.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.open()
spool.append(b"first\\n")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
try:
    spool.append(b"x" * 50 + b"\\n")
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool.append(b"second\\n")
print(spool.batch(9, 999))
"""


class SpoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def opened(self, max_bytes: int = 1000, file_bytes: int = 20) -> Spool:
        spool = Spool(self.directory, max_bytes, file_bytes)
        spool.open()
        self.addCleanup(spool.close)
        return spool

    def drained(self, spool: Spool, max_lines: int = 3) -> list[bytes]:
        lines: list[bytes] = []
        while batch := spool.batch(max_lines, 1000):
            lines += batch
            spool.advance(len(batch))
        return lines

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def test_order(self) -> None:
        """First in, first out, over several files; what was read to its end is gone from the disk."""
        spool = self.opened()
        lines = [f"line {number}".encode() for number in range(10)]
        for line in lines:
            spool.append(line + b"\n")
        self.assertEqual(len(self.files()), 4)
        self.assertEqual(self.drained(spool), lines)
        self.assertEqual(self.files(), [])
        self.assertTrue(spool.empty)

    def test_interleaved(self) -> None:
        """Lines may be added between a batch and its end."""
        spool = self.opened(file_bytes=1000)
        spool.append(b"1\n")
        self.assertEqual(spool.batch(9, 999), (b"1",))
        spool.append(b"2\n")
        spool.advance(1)
        self.assertEqual(spool.batch(9, 999), (b"2",))
        spool.advance(1)
        self.assertEqual(spool.batch(9, 999), ())
        spool.append(b"3\n")
        self.assertEqual(spool.batch(9, 999), (b"3",))

    def test_part_of_a_batch(self) -> None:
        """Only so many lines are dropped as were sent."""
        spool = self.opened(file_bytes=1000)
        for line in (b"1\n", b"2\n", b"3\n"):
            spool.append(line)
        spool.batch(3, 999)
        spool.advance(1)
        spool.advance(1)
        self.assertEqual(spool.batch(3, 999), (b"3",))

    def test_bounds_of_a_batch(self) -> None:
        """So many lines, so many bytes, and one line however long it is."""
        spool = self.opened(file_bytes=1000)
        for line in (b"x" * 50 + b"\n", b"a\n", b"b\n", b"c\n"):
            spool.append(line)
        self.assertEqual(spool.batch(9, 10), (b"x" * 50,))
        spool.advance(1)
        self.assertEqual(spool.batch(9, 4), (b"a", b"b"))
        self.assertEqual(spool.batch(1, 999), (b"a",))

    def test_restart(self) -> None:
        """A new process finds what the last one left, and adds behind it; of one file it may read lines again."""
        before = self.opened()
        for number in range(5):
            before.append(f"line {number}\n".encode())
        before.batch(1, 999)
        before.advance(1)
        after = self.opened()
        after.append(b"line 5\n")
        self.assertEqual(self.drained(after), [f"line {number}".encode() for number in range(6)])

    def test_torn_line(self) -> None:
        """Half a line that a crash left behind is passed over."""
        before = self.opened(file_bytes=1000)
        before.append(b"whole\n")
        path = self.directory / self.files()[0]
        with path.open("ab") as file:
            file.write(b"tor")
        after = self.opened()
        after.append(b"next\n")
        self.assertEqual(self.drained(after), [b"whole", b"next"])
        self.assertEqual(self.files(), [])

    def test_strange_files(self) -> None:
        """Other files in the directory are left alone, and empty ones of ours are cleared away."""
        self.directory.mkdir()
        for name in ("1.jsonl", "refused.jsonl", "000000000007.jsonl"):
            (self.directory / name).touch()
        spool = self.opened()
        spool.append(b"x\n")
        self.assertEqual(self.drained(spool), [b"x"])
        self.assertEqual(self.files(), ["1.jsonl", "refused.jsonl"])

    def test_full(self) -> None:
        """Beyond the bound new lines are refused and old ones kept; there is room again once a file was sent."""
        spool = self.opened(max_bytes=45)
        for number in range(3):
            spool.append(b"%d" % number + b"x" * 12 + b"\n")
        error = self.assertRaises(SpoolFull, spool.append, b"too long" * 2)
        self.assertEqual(error.strerror, "the spool holds its limit of 45 bytes")
        self.assertEqual(spool.batch(2, 999)[0][:1], b"0")
        spool.advance(2)
        spool.append(b"too long" * 2 + b"\n")

    def test_short_write(self) -> None:
        """A line that the disk cuts short is taken back whole."""
        done = subprocess.run(
            [sys.executable, "-c", SHORT_WRITE, str(self.directory)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual((done.stdout, done.stderr), ("No space left on device\n(b'first', b'second')\n", ""))

    def test_private(self) -> None:
        """Events name people and commands: nobody else reads the spool."""
        self.opened().append(b"x\n")
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.directory / self.files()[0]).stat().st_mode & 0o777, 0o600)

    def test_sync(self) -> None:
        """Syncing can be done later and elsewhere, also when the file has been sent meanwhile."""
        spool = self.opened()
        spool.append(b"x\n")
        sync = spool.syncing()
        self.drained(spool)
        sync()

    @given(st.lists(st.tuples(st.sampled_from(["add", "send", "restart"]), st.integers(1, 30)), max_size=40))
    def test_nothing_lost(self, steps: list[tuple[str, int]]) -> None:
        """Any mixture of adding, sending and restarting loses nothing; what comes for the first time is in order."""
        self.directory = Path(self.mktemp())
        spool = self.opened(max_bytes=10_000)
        added: list[bytes] = []
        sent: list[bytes] = []
        for step, number in steps:
            if step == "add":
                added.append(b"%d" % len(added) + b"x" * number)
                spool.append(added[-1] + b"\n")
            elif step == "restart":
                spool = self.opened(max_bytes=10_000)
            elif batch := spool.batch(number, 20):
                spool.advance(len(batch))
                sent += batch
        sent += self.drained(spool)
        self.assertEqual(list(dict.fromkeys(sent)), added)
