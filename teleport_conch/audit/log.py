"""The log of the cluster: events as JSON lines, one file for each UTC day on which auth received them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_conch.audit.event import Event, instant
from teleport_conch.errors import DiskLow, StorageError, StorageFull

FILE_MODE = 0o640
FOLDER_MODE = 0o750
MAX_REMEMBERED_UIDS = 65_536
"""How far back an event that is sent twice is noticed, in events."""
MAX_READ_AT_START_BYTES = 32 << 20
"""How much of the end of each of the two newest files is read at the start, to know the uids in them."""
DEFAULT_FOUND = 500
MAX_FOUND = 10_000
"""Events that one search answers."""
MAX_SEARCHED_BYTES = 512 << 20
"""How much of the log is read to find one event."""
MAX_CLOCK_AHEAD_S = 86_400.0
"""A host's clock may be ahead of auth's by this much before a search by time misses its events."""

CURRENT = "events.log"
"""A symbolic link to the file of today."""
_FORMAT = "%Y-%m-%d.00:00:00.log"
_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.00:00:00\.log")
_FULL = {errno.ENOSPC, errno.EDQUOT}

_ascii = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_log = Logger()


@define(eq=False)
class EventLog:
    """Keeps events in ``directory``.

    Every method blocks on the disk; call them in a thread (any, and several at once). Other processes may append to the
    same log.

    :param clock: its ``seconds()`` is POSIX time.
    """

    _directory: Path
    _clock: IReactorTime
    _lock: Lock = field(init=False, factory=Lock)
    _uids: dict[str, None] | None = field(init=False, default=None)
    _name: str = field(init=False, default="")
    _fd: int = field(init=False, default=-1)

    def append(self, events: Iterable[Mapping[str, object]]) -> int:
        """Keep ``events``; once this returns they are on the disk. Answers how many of them were new.

        An event whose uid is already here is left out: hosts send again what they are not sure to have sent.

        :raises StorageFull: the disk is full.
        :raises StorageError: the disk cannot be written. In both cases none of the events was kept.
        """
        with self._lock:
            try:
                known = self._known_uids()
                new = {str(event["uid"]): event for event in events if event["uid"] not in known}
                if new:
                    self._write("".join(map(_line, new.values())).encode())
            except OSError as error:
                raise self._failure(error) from error
            self._remember(known, new)
            return len(new)

    def check_room(self, free_bytes: int, share: float) -> None:
        """Whether the disk has room beside so many bytes, or beside this share of it where that is less.

        :raises DiskLow: it has none. :raises StorageError: it does not say.
        """
        try:
            facts = os.statvfs(self._directory)
        except FileNotFoundError:
            return  # the first event makes it
        except OSError as error:
            raise self._failure(error) from error
        free, kept = facts.f_bavail * facts.f_frsize, min(free_bytes, int(facts.f_blocks * facts.f_frsize * share))
        if free < kept:
            raise DiskLow(
                f"The disk of the auth server has {free >> 20} MiB left, and events of hosts leave {kept >> 20} MiB of"
                " it free: they wait there until there is room."
            )

    def close(self) -> None:
        with self._lock:
            self._close()

    def search(self, start: float, end: float, names: Collection[str] = (), limit: int = DEFAULT_FOUND) -> list[Event]:
        """The last ``limit`` events (at most :data:`MAX_FOUND`) that happened from ``start`` on and before ``end``.

        Both are POSIX seconds. ``names`` limits the search to these events; none means all. The answer is in the order
        of the events' times.

        :raises StorageError: the disk cannot be read.
        """
        limit = max(0, min(limit, MAX_FOUND))
        earliest = instant(start - MAX_CLOCK_AHEAD_S)[:10]
        wanted = frozenset(names)
        found: list[Event] = []
        try:
            for path in self._files():
                if len(found) >= limit or path.name[:10] < earliest:
                    break
                fitting = _fitting(_read(path), instant(start), instant(end), wanted)
                found = [*deque(fitting, maxlen=limit - len(found)), *found]
        except OSError as error:
            raise self._failure(error) from error
        return sorted(found, key=lambda event: str(event["time"]))

    def find(self, field: str, value: str, start: float) -> Event | None:
        """The newest event from ``start`` (POSIX seconds) on whose ``field`` is ``value``, a text without quotes.

        At most :data:`MAX_SEARCHED_BYTES` of the log are read, the newest.

        :raises StorageError: the disk cannot be read.
        """
        earliest, rest = instant(start - MAX_CLOCK_AHEAD_S)[:10], MAX_SEARCHED_BYTES
        try:
            for path in self._files():
                if path.name[:10] < earliest or rest <= 0:
                    break
                holding = _read(path, rest, value.encode())
                found = deque((event for event in holding if event.get(field) == value), maxlen=1)
                if found:
                    return found[0]
                rest -= path.stat().st_size
        except OSError as error:
            raise self._failure(error) from error
        return None

    def _files(self) -> list[Path]:
        """Newest first."""
        if not self._directory.is_dir():
            return []
        paths = self._directory.iterdir()
        return sorted((path for path in paths if _NAME.fullmatch(path.name) and path.is_file()), reverse=True)

    def _known_uids(self) -> dict[str, None]:
        if self._uids is None:
            known: dict[str, None] = {}
            for path in reversed(self._files()[:2]):
                events = _read(path, max_bytes=MAX_READ_AT_START_BYTES)
                self._remember(known, (str(event["uid"]) for event in events))
            self._uids = known
        return self._uids

    def _remember(self, known: dict[str, None], uids: Iterable[str]) -> None:
        known.update(dict.fromkeys(uids))
        while len(known) > MAX_REMEMBERED_UIDS:
            del known[next(iter(known))]

    def _write(self, data: bytes) -> None:
        self._open_todays()
        with _locked(self._fd):
            size = os.fstat(self._fd).st_size
            try:
                _write_all(self._fd, data)
                os.fsync(self._fd)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._fd, size)
                raise

    def _open_todays(self) -> None:
        name = datetime.fromtimestamp(self._clock.seconds(), UTC).strftime(_FORMAT)
        if name == self._name:
            return
        self._close()
        _make_folder(self._directory)
        self._fd = _open(self._directory / name)
        os.fchmod(self._fd, FILE_MODE)
        self._end_torn_line(name)
        self._point_at(name)
        self._name = name

    def _end_torn_line(self, name: str) -> None:
        # A line that a crash cut short was never acknowledged. It stays, as evidence, and the next one starts anew.
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            _log.warn("The last line of {name} is not whole.", name=name)
            _write_all(self._fd, b"\n")

    def _point_at(self, name: str) -> None:
        new = self._directory / f".{CURRENT}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        _give(new)
        new.replace(self._directory / CURRENT)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._name = -1, ""

    def _failure(self, error: OSError) -> StorageError:
        if error.errno in _FULL:
            return StorageFull(f"The disk of {self._directory} is full: the events were not kept; make room there.")
        return StorageError(f"The events in {self._directory} cannot be read or written: {error.strerror}.")


def _line(event: Mapping[str, object]) -> str:
    # ASCII only: nothing in the file can be more than it seems to whoever opens it in a terminal.
    return _ascii(event) + "\n"


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        _give(path)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return os.open(path, flags)
    _give(path)
    return fd


def _give(path: Path) -> None:
    """What root has just made belongs to the owner of the folder that it is in: the account that goes on with it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Alone, of all processes: what one takes back when the disk is full is not to be what another just wrote."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read(path: Path, max_bytes: int | None = None, holding: bytes = b"") -> Iterator[Event]:
    """The events of one file, or of its last ``max_bytes``.

    :param holding: lines without these bytes are passed over, as those are that are no events.
    """
    with path.open("rb") as file:
        if max_bytes is not None and path.stat().st_size > max_bytes:
            file.seek(-max_bytes, os.SEEK_END)
            file.readline()
        for line in file:
            if holding not in line:
                continue
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and {"uid", "time", "event"} <= event.keys():
                    yield event


def _fitting(events: Iterable[Event], start: str, end: str, names: frozenset[str]) -> Iterator[Event]:
    for event in events:
        if start <= str(event["time"]) < end and (not names or event["event"] in names):
            yield event
