"""The log keeps what it says it kept."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.event import Event, build
from teleport_conch.audit.log import MAX_REMEMBERED_UIDS, EventLog
from teleport_conch.errors import StorageError, StorageFull

DAY = 86400.0
OCTOBER_1 = 1601510400.0

FILL = """
import resource, sys
from pathlib import Path
from twisted.internet.task import Clock
from teleport_conch.audit.log import EventLog
from teleport_conch.errors import StorageError
log = EventLog(Path(sys.argv[1]), Clock())
log.append([{"event": "resize", "uid": "1", "time": "x"}])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
try:
    log.append([{"event": "resize", "uid": "2", "time": "x" * 100}])
except StorageError as error:
    print(error.sentence)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(log.append([{"event": "resize", "uid": "2", "time": "y"}]))
"""


def event(number: int, now: float = OCTOBER_1, name: str = "resize") -> Event:
    required: dict[str, dict[str, object]] = {
        "resize": {"sid": "s", "size": str(number)},
        "audit.lost": {"count": number, "reason": "full"},
    }
    return build(name, True, required[name], now, str(UUID(int=number)))


class EventLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(OCTOBER_1)
        self.log = self.opened()

    def opened(self) -> EventLog:
        log = EventLog(self.directory, self.clock)
        self.addCleanup(log.close)
        return log

    def lines(self, name: str) -> list[str]:
        return (self.directory / name).read_text(encoding="ascii").splitlines()

    def numbers(self, found: list[Event]) -> list[int]:
        return [UUID(str(each["uid"])).int for each in found]

    def test_file(self) -> None:
        """One line of JSON for each event, in the file of the day, readable by its group; a link names it."""
        self.assertEqual(self.log.append([event(1), event(2)]), 2)
        name = "2020-10-01.00:00:00.log"
        self.assertEqual([json.loads(line) for line in self.lines(name)], [event(1), event(2)])
        self.assertEqual(stat.S_IMODE((self.directory / name).stat().st_mode), 0o640)
        self.assertEqual(os.readlink(self.directory / "events.log"), name)

    def test_owner(self) -> None:
        """What root makes belongs to the owner of the folder around it, who has to go on with it."""
        if os.geteuid() != 0:
            self.skipTest("only root can give a file away")
        self.directory.mkdir()
        os.chown(self.directory, 65534, 65533)
        log = EventLog(self.directory / "log" / "auth", self.clock)
        self.addCleanup(log.close)
        log.append([event(1)])
        made = sorted(self.directory.rglob("*"))
        self.assertEqual([path.name for path in made], ["log", "auth", "2020-10-01.00:00:00.log", "events.log"])
        self.assertEqual({(path.lstat().st_uid, path.lstat().st_gid) for path in made}, {(65534, 65533)})

    def test_owner_of_what_is_there(self) -> None:
        """A file that somebody else made is not given away."""
        if os.geteuid() != 0:
            self.skipTest("only root can give a file away")
        self.directory.mkdir()
        os.chown(self.directory, 65534, 65534)
        path = self.directory / "2020-10-01.00:00:00.log"
        path.touch()
        self.log.append([event(1)])
        self.assertEqual(path.stat().st_uid, 0)

    def test_two_processes(self) -> None:
        """Whoever writes waits for another who does: what fails for one takes nothing of the other's away."""
        self.log.append([event(1)])
        with (self.directory / "events.log").open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            writing = Thread(target=self.log.append, args=([event(2)],))
            writing.start()
            writing.join(0.05)
            self.assertTrue(writing.is_alive())
        writing.join()
        self.assertEqual(self.numbers(self.log.search(0, 1e11)), [1, 2])

    def test_day(self) -> None:
        """A new day in UTC has a new file, whatever time the events say."""
        self.log.append([event(1)])
        self.clock.advance(DAY - 0.001)
        self.log.append([event(2)])
        self.clock.advance(0.001)
        self.log.append([event(3, OCTOBER_1)])
        self.assertEqual(len(self.lines("2020-10-01.00:00:00.log")), 2)
        self.assertEqual(len(self.lines("2020-10-02.00:00:00.log")), 1)
        self.assertEqual(os.readlink(self.directory / "events.log"), "2020-10-02.00:00:00.log")

    def test_twice(self) -> None:
        """An event that was sent again, or twice in one batch, is kept once, also over a restart and a midnight."""
        self.log.append([event(1), event(2), event(1)])
        self.assertEqual(self.log.append([event(2), event(3)]), 1)
        self.clock.advance(DAY)
        log = self.opened()
        self.assertEqual(log.append([event(3), event(4)]), 1)
        self.assertEqual(self.numbers(log.search(0, 1e11)), [1, 2, 3, 4])

    def test_remembers_so_many(self) -> None:
        """The memory of uids is bounded; the oldest go first."""
        self.log.append(event(number) for number in range(MAX_REMEMBERED_UIDS + 1))
        self.assertEqual(self.log.append([event(0)]), 1)
        self.assertEqual(self.log.append([event(2)]), 0)

    def test_inert(self) -> None:
        """The file holds nothing that a terminal obeys, and what was said can be read back."""
        text = "\x1b]0;x\x07\n\u202eevil\x00"
        self.log.append([{**event(1), "sid": text}])
        line = self.lines("2020-10-01.00:00:00.log")[0]
        self.assertTrue(line.isprintable() and line.isascii())
        self.assertEqual(self.log.search(0, 1e11)[0]["sid"], text)

    def test_torn_line(self) -> None:
        """After a crash in the middle of a line the next event is whole, and what was torn stays to be seen."""
        self.log.append([event(1)])
        path = self.directory / "2020-10-01.00:00:00.log"
        with path.open("ab") as file:
            file.write(b'{"event":"res')
        log = self.opened()
        log.append([event(2)])
        self.assertEqual(self.numbers(log.search(0, 1e11)), [1, 2])
        self.assertEqual(self.lines(path.name)[1], '{"event":"res')

    def test_foreign_lines(self) -> None:
        """Lines that are no events are passed over."""
        self.directory.mkdir()
        lines = (b"null", b"[]", b'{"a":1}', b"\xff\xfe", b"", b"[" * 100_000, b"")
        (self.directory / "2020-10-01.00:00:00.log").write_bytes(b"\n".join(lines))
        self.log.append([event(1)])
        self.assertEqual(self.numbers(self.log.search(0, 1e11)), [1])

    def test_write_that_fails(self) -> None:
        """A write that the disk cuts short is taken back, told, and may be repeated."""
        done = subprocess.run(
            [sys.executable, "-c", FILL, str(self.directory)], capture_output=True, text=True, check=False, timeout=60
        )
        self.assertEqual(
            (done.stdout, done.stderr),
            (f"The events in {self.directory} cannot be read or written: File too large.\n1\n", ""),
        )
        self.assertEqual([json.loads(line)["uid"] for line in self.lines("1970-01-01.00:00:00.log")], ["1", "2"])

    def test_full_disk(self) -> None:
        """A full disk is told apart, with what to do about it, and nothing of the events is left behind."""

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.log.append([event(1)])
        patched = self.patch(os, "fsync", full)
        error = self.assertRaises(StorageFull, self.log.append, [event(2)])
        self.assertEqual(
            error.sentence, f"The disk of {self.directory} is full: the events were not kept; make room there."
        )
        self.assertEqual(self.numbers(self.log.search(0, 1e11)), [1])
        patched.restore()
        self.assertEqual(self.log.append([event(2)]), 1)

    def test_no_file(self) -> None:
        """What is called like a day's file and is none is neither read nor written."""
        self.directory.mkdir()
        (self.directory / "2020-10-01.00:00:00.log").symlink_to("/dev/full")
        error = self.assertRaises(StorageError, self.log.append, [event(1)])
        self.assertIn("cannot be read or written: Too many levels of symbolic links.", error.sentence)
        self.assertEqual(self.log.search(0, 1e11), [])

    def test_search(self) -> None:
        """By time, from the first instant on and before the last, and by name, in the order of the events' times."""
        self.log.append([event(1, OCTOBER_1), event(3, OCTOBER_1 + 20), event(2, OCTOBER_1 + 10, "audit.lost")])
        for start, end, names, expected in (
            (0.0, 1e11, (), [1, 2, 3]),
            (OCTOBER_1 + 10, 1e11, (), [2, 3]),
            (0.0, OCTOBER_1 + 10, (), [1]),
            (0.0, 1e11, ("resize",), [1, 3]),
            (0.0, 1e11, ("auth",), []),
        ):
            self.assertEqual(self.numbers(self.log.search(start, end, names)), expected)

    def test_search_limit(self) -> None:
        """The last events are the ones that are found, over as many files as it takes."""
        for number in range(6):
            self.log.append([event(number, self.clock.seconds())])
            self.clock.advance(DAY / 2)
        self.assertEqual(self.numbers(self.log.search(0, 1e11, limit=3)), [3, 4, 5])
        self.assertEqual(self.log.search(0, 1e11, limit=0), [])
        self.assertEqual(self.log.search(0, 1e11, limit=-1), [])
        self.assertEqual(len(self.log.search(0, 1e11, limit=10**9)), 6)

    def test_search_late(self) -> None:
        """Events that came days late, or from a clock that is ahead, are found by their own time."""
        self.clock.advance(3 * DAY)
        self.log.append([event(1, OCTOBER_1), event(2, OCTOBER_1 + 3.9 * DAY)])
        self.assertEqual(self.numbers(self.log.search(OCTOBER_1, OCTOBER_1 + 1)), [1])
        self.assertEqual(self.numbers(self.log.search(OCTOBER_1 + 3.8 * DAY, OCTOBER_1 + 4 * DAY)), [2])

    def test_search_before_anything(self) -> None:
        """No directory, no events."""
        self.assertEqual(self.log.search(0, 1e11), [])
