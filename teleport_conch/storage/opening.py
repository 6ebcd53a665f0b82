"""How a database is found fit for use, or made, and how it is copied while in use."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from errno import EDQUOT, ENOSPC
from pathlib import Path

from teleport_conch.errors import AlreadyExists, StorageError, StorageFull, StorageNewer
from teleport_conch.storage.database import REVISION, Database, damaged, explain, explaining, read_meta
from teleport_conch.storage.files import check_private, create_private, ensure_private, lock, sync

#: The form of the tables below, and the oldest form whose programs may still use a database that we wrote.
SCHEMA_VERSION = 1
OLDEST_READER = 1
#: Marks our databases among SQLite's ("TpCh").
APPLICATION_ID = 0x54704368
#: How far the revisions of a copy are ahead: a store that was restored must not give out anew those that the lost one
#: gave out after the copy was made, or a watcher would miss what they stand for now.
REVISIONS_AHEAD = 1 << 32

# How long to wait for a lock that only another program can hold; the reader waits in the reactor's thread.
WRITER_TIMEOUT_S = 10.0
READER_TIMEOUT_S = 1.0
CACHE_KIB = 32 << 10  # memory for pages, for each connection; SQLite's own 2 MiB halve the speed at 20,000 items
WAL_BYTES = 64 << 20  # what a log that grew beyond this is cut back to
COPY_PAGES = 256  # copied at a time, of 4 KiB each

_SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema_version', {SCHEMA_VERSION}), ('oldest_reader', {OLDEST_READER}), ('revision', 0);
CREATE TABLE items (key TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, expires_at REAL, value BLOB NOT NULL);
CREATE INDEX items_by_expiry ON items (expires_at, key) WHERE expires_at IS NOT NULL;
COMMIT;
"""  # noqa: S608 - constants


def open_database(path: Path, exclusive: bool) -> Database:
    """Open and check the database *path*; when exclusive, also create it and its folder (0700), not the one above.

    :param exclusive: take the lock that only one process can have, and be able to write. Without it nothing is created,
        every write fails, and another process may be writing meanwhile.
    :raises StorageInUse: another process has the lock.
    :raises StorageNewer: a newer program wrote the database.
    :raises StorageCorrupt: it is damaged, or no database at all.
    :raises UnsafePath: others than its owner may read or write it.
    :raises StorageError: the file system's reason, or the database is another program's.
    """
    try:
        return _open(path, exclusive)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise _unopened(f"The database {path} cannot be opened", error) from error


def copy_database(path: Path, target: Path) -> None:
    """Copy the database *path* as it is at one moment, while others write it, to a new file *target* of mode 0600.

    The copy is one file, and has its name only when it is whole and on the disk. Its revisions are far ahead of the
    original's.

    :raises AlreadyExists: there is a *target*.
    :raises StorageError: one of the two failed (``StorageFull``: no room for the copy).
    """
    if target.exists():
        raise AlreadyExists(f"There is a file {target} already; choose another name for the copy.")
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        create_private(part)
        _copy(path, part)
        sync(part)
        part.rename(target)
        sync(target.parent)
    except sqlite3.Error as error:
        raise explain(error, target) from error
    except OSError as error:
        raise _unopened(f"The copy {target} cannot be written", error) from error
    finally:
        part.unlink(missing_ok=True)


def _open(path: Path, exclusive: bool) -> Database:
    with ExitStack() as resources:
        if exclusive:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            resources.enter_context(lock(path))
            ensure_private(path)
        check_private(path)
        writer = resources.enter_context(closing(_connect(path)))
        _check(writer, path, exclusive)
        if exclusive:
            _make_durable(writer, path)
        else:
            writer.execute("PRAGMA query_only = ON")
        reader = resources.enter_context(closing(_connect(path, READER_TIMEOUT_S)))
        reader.execute("PRAGMA query_only = ON")
        kept = resources.pop_all()
    return Database(path, writer, reader, kept)


def _connect(path: Path, timeout_s: float = WRITER_TIMEOUT_S) -> sqlite3.Connection:
    """A connection to an existing file. Each is used by one thread at a time, though not by the one that opened it."""
    with explaining(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=timeout_s,
            isolation_level=None,  # transactions begin where we say
            check_same_thread=False,
        )
        connection.execute("PRAGMA trusted_schema = OFF")  # a restored file may come from anywhere
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def _check(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    application = _number(connection, "PRAGMA application_id")
    if create and application == 0 and _number(connection, "SELECT count(*) FROM sqlite_master") == 0:
        connection.executescript(_SCHEMA)
    elif application != APPLICATION_ID:
        raise StorageError(f"{path} is the database of another program; name another file in storage.path.")
    meta = read_meta(connection, path)
    if meta["oldest_reader"] > SCHEMA_VERSION:
        raise StorageNewer(
            f"A newer version of this program wrote the database {path} (form {meta['schema_version']}; this version "
            f"reads up to {SCHEMA_VERSION}). Install that version again, or restore a backup that this one made."
        )
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != ("ok",):
        raise damaged(path, str(finding[0]))


def _make_durable(writer: sqlite3.Connection, path: Path) -> None:
    mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != ("wal",):
        raise StorageError(f"The file system of {path} cannot hold a database in WAL mode; use a local disk.")
    writer.execute("PRAGMA synchronous = FULL")  # COMMIT returns when the disk has it
    writer.execute("PRAGMA secure_delete = ON")  # what was deleted is not in the next backup
    writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")


def _copy(path: Path, target: Path) -> None:
    with closing(_connect(path)) as source, closing(_connect(target)) as copy:
        with explaining(path):
            source.execute("BEGIN")
            read_meta(source, path)  # from here on it sees one moment, and no write makes it begin again
        source.backup(copy, pages=COPY_PAGES)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        copy.execute(f"UPDATE meta SET value = ({REVISION}) + ? WHERE name = 'revision'", (REVISIONS_AHEAD,))  # noqa: S608


def _unopened(what: str, error: OSError) -> StorageError:
    kind = StorageFull if error.errno in (ENOSPC, EDQUOT) else StorageError
    return kind(f"{what}: {error.strerror}.")


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
