"""The SQLite database: its statements, and nothing of threads or reactors. Everything here blocks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path

from attrs import define

from teleport_conch.errors import StorageCorrupt, StorageError, StorageFull
from teleport_conch.storage.backend import Change, Item
from teleport_conch.storage.draft import missing

#: Rows of one INSERT. Each statement gives up the interpreter lock, and under load it takes milliseconds to get it
#: back, so a transaction is few statements; beyond some hundred rows the statement costs more than it saves.
ROWS_OF_A_STATEMENT = 250

_COLUMNS = "key, value, revision, expires_at"
_GET = f"SELECT {_COLUMNS} FROM items WHERE key = ?"  # noqa: S608 - a constant, as in the next ones
_LOAD = f"SELECT {_COLUMNS} FROM items WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608
_RANGE = f"""SELECT {_COLUMNS} FROM items
    WHERE key >= ? AND key < ? AND key > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?"""  # noqa: S608
_EXPIRED = "SELECT key FROM items WHERE expires_at <= ? ORDER BY expires_at, key LIMIT ?"
_DELETE = "DELETE FROM items WHERE key IN (SELECT value FROM json_each(?))"
#: The newest revision is that of an item, or was noted when an item was deleted; so most writes are one statement.
REVISION = "SELECT max((SELECT value FROM meta WHERE name = 'revision'), (SELECT ifnull(max(revision), 0) FROM items))"
_KEEP_REVISION = "UPDATE meta SET value = ? WHERE name = 'revision'"
#: Sorts after everything that a key may contain.
_LAST = "\U0010ffff"


@define(eq=False)
class Database:
    """An open database: a connection that writes, used by one thread, and one that reads, used by another.

    Readers see what was committed and are never blocked by the writer (SQLite's WAL mode).
    """

    path: Path
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    _resources: ExitStack

    def close(self) -> None:
        """Close both connections and give up the lock."""
        self._resources.close()

    # Reading.

    def get(self, key: str, now: float) -> Item:
        with explaining(self.path):
            rows = self.reader.execute(_GET, (key,)).fetchall()
        if not rows or (item := Item(*rows[0])).expired(now):
            raise missing(key)
        return item

    def range(self, prefix: str, start_after: str, limit: int, now: float) -> tuple[Item, ...]:
        bounds = (prefix, prefix + _LAST, start_after, now, limit)
        with explaining(self.path):
            rows = self.reader.execute(_RANGE, bounds).fetchall()
        return tuple(Item(*row) for row in rows)

    def expired(self, now: float, limit: int) -> tuple[str, ...]:
        """The keys of items that have expired at *now*, the longest expired first."""
        with explaining(self.path):
            rows = self.reader.execute(_EXPIRED, (now, limit)).fetchall()
        return tuple(key for (key,) in rows)

    def revision(self) -> int:
        """The newest revision that was committed."""
        with explaining(self.path):
            row = self.reader.execute(REVISION).fetchone()
        return int(row[0])

    # Writing. What goes wrong is raised as it is: the caller may want to try again with less.

    def load(self, keys: Iterable[str]) -> dict[str, Item]:
        """The items under *keys*, expired ones too."""
        rows = self.writer.execute(_LOAD, (_json(keys),)).fetchall()
        return {key: Item(key, *rest) for key, *rest in rows}

    def store(self, changes: Sequence[Change], revision: int) -> None:
        """Have what *changes* leave of each key on the disk, in one transaction, with *revision* as the newest."""
        statements = list(_statements(changes, revision))
        if len(statements) == 1:  # a transaction of its own
            self.writer.execute(*statements[0])
            return
        self.writer.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                self.writer.execute(*statement)
            self.writer.execute("COMMIT")
        finally:
            if self.writer.in_transaction:
                self.writer.execute("ROLLBACK")


def read_meta(connection: sqlite3.Connection, path: Path) -> dict[str, int]:
    """The numbers that a database keeps about itself: ``schema_version``, ``oldest_reader``, ``revision``.

    :raises StorageCorrupt: one of them is missing, or is no number.
    """
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if not all(isinstance(meta.get(name), int) for name in ("schema_version", "oldest_reader", "revision")):
        raise damaged(path, "its own version or revision is missing")
    return meta


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a :class:`StorageError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error, path: Path) -> StorageError:
    """The sentence for an error of SQLite's on the database *path*."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # the module's own errors have none
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:  # the latter: no room for an index
        return StorageFull(f"The disk of {path} is full: the write was refused, nothing of it was kept. Make space.")
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(error))
    if code & 0xFF == sqlite3.SQLITE_READONLY:
        return StorageError(f"The database {path} was opened for reading only; nothing was written.")
    if code & 0xFF == sqlite3.SQLITE_BUSY:
        return StorageError(f"Another program kept the database {path} locked for too long; find it with: fuser {path}")
    return StorageError(f"The database {path} cannot be used: {error}.")


def damaged(path: Path, finding: str) -> StorageCorrupt:
    return StorageCorrupt(
        f"The database {path} is damaged ({finding}). Move it away, it may still be of use, and restore a backup with: "
        "tctl restore"
    )


def _statements(changes: Sequence[Change], revision: int) -> Iterator[tuple[str, Sequence[object]]]:
    final = {change.key: change.item for change in changes}
    rows = iter([item for item in final.values() if item is not None])
    while chunk := list(islice(rows, ROWS_OF_A_STATEMENT)):
        yield (
            _upsert(len(chunk)),
            [part for item in chunk for part in (item.key, item.value, item.revision, item.expires_at)],
        )
    if gone := [key for key, item in final.items() if item is None]:
        yield _DELETE, [_json(gone)]
        yield _KEEP_REVISION, [revision]


@cache
def _upsert(rows: int) -> str:
    places = ",".join(["(?,?,?,?)"] * rows)
    return (
        f"INSERT INTO items ({_COLUMNS}) VALUES {places} ON CONFLICT (key) DO UPDATE SET "  # noqa: S608
        "value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at"
    )


def _json(keys: Iterable[str]) -> str:
    return json.dumps(list(keys), ensure_ascii=False)
