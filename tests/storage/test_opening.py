"""What a database must be like to be opened, and what is said of one that is not."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import (
    StartError,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageInUse,
    StorageNewer,
    UnsafePath,
)
from teleport_conch.storage.backend import Change, Item
from teleport_conch.storage.database import Database, explain
from teleport_conch.storage.opening import copy_database, open_database


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def store(database: Database, count: int, size: int = 100) -> None:
    items = [Item(f"k/{n}", os.urandom(size), n + 1) for n in range(count)]
    database.store([Change(item.revision, item.key, item) for item in items], count)


class DatabaseTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "backend" / "sqlite.db"
        self.path.parent.parent.mkdir(parents=True)

    def opened(self, exclusive: bool = True) -> Database:
        database = open_database(self.path, exclusive)
        self.addCleanup(database.close)
        return database

    def made(self, count: int = 0) -> Path:
        """The path of a database with some items that nobody has open."""
        database = open_database(self.path, True)
        store(database, count)
        database.close()
        return self.path

    def refused(self, kind: type[StartError], exclusive: bool = True) -> str:
        error: StartError = self.assertRaises(kind, open_database, self.path, exclusive)
        return error.sentence

    def alter(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(statement)
            connection.commit()


class DurabilityTests(DatabaseTestCase):
    def test_commit_waits_for_the_disk(self) -> None:
        writer = self.opened().writer
        self.assertEqual(writer.execute("PRAGMA synchronous").fetchone(), (2,), "FULL")
        self.assertEqual(writer.execute("PRAGMA journal_mode").fetchone(), ("wal",))

    def test_what_was_deleted_is_overwritten(self) -> None:
        self.assertEqual(self.opened().writer.execute("PRAGMA secure_delete").fetchone(), (1,))

    def test_the_reader_cannot_write(self) -> None:
        reader = self.opened().reader
        self.assertRaises(sqlite3.OperationalError, reader.execute, "DELETE FROM items")


class FileTests(DatabaseTestCase):
    def test_all_files_are_private_whatever_the_umask(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        store(self.opened(), 1)
        names = ["sqlite.db", "sqlite.db-shm", "sqlite.db-wal", "sqlite.db.lock"]
        self.assertEqual(modes(self.path.parent), dict.fromkeys(names, 0o600))
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)

    def test_a_database_that_others_can_read(self) -> None:
        self.made().chmod(0o640)
        expected = f"{self.path} holds secrets and is open to others (mode 0640); run: chmod 600 {self.path}"
        self.assertEqual(self.refused(UnsafePath), expected)
        self.assertEqual(self.refused(UnsafePath, exclusive=False), expected)

    def test_root_leaves_the_files_to_the_owner_of_the_folder(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can make files for others")
        self.path.parent.mkdir()
        os.chown(self.path.parent, 12345, 12346)
        store(self.opened(), 1)
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in self.path.parent.iterdir()}
        self.assertEqual(owners, {(12345, 12346)})

    def test_no_folder_above(self) -> None:
        self.path = self.path.parent / "missing" / "sqlite.db"
        self.assertEqual(
            self.refused(StorageError), f"The database {self.path} cannot be opened: No such file or directory."
        )

    def test_a_path_with_characters_of_an_address(self) -> None:
        self.path = self.path.parent / "a?b#c%20 é.db"
        self.opened()
        self.assertTrue(self.path.exists())


class LockTests(DatabaseTestCase):
    def test_one_process_at_a_time(self) -> None:
        self.opened()
        self.assertEqual(
            self.refused(StorageInUse),
            f"The database {self.path} is in use by process {os.getpid()}; stop that one first.",
        )

    def test_the_lock_ends_with_its_holder(self) -> None:
        open_database(self.path, True).close()
        self.opened()

    def test_a_failed_start_gives_the_lock_up(self) -> None:
        self.made().write_bytes(b"not a database")
        self.refused(StorageCorrupt)
        self.path.write_bytes(b"")
        self.opened()

    def test_reading_needs_no_lock_and_makes_nothing(self) -> None:
        self.assertEqual(
            self.refused(StorageError, exclusive=False),
            f"The database {self.path} cannot be opened: No such file or directory.",
        )
        store(self.opened(), 3)
        self.assertEqual(len(self.opened(exclusive=False).range("", "", 10, 0.0)), 3)


class VersionTests(DatabaseTestCase):
    def test_a_newer_database_is_refused_untouched(self) -> None:
        self.made()
        self.alter("UPDATE meta SET value = 3 WHERE name = 'oldest_reader'")
        self.alter("UPDATE meta SET value = 4 WHERE name = 'schema_version'")
        before = self.path.read_bytes()
        self.assertEqual(
            self.refused(StorageNewer),
            f"A newer version of this program wrote the database {self.path} (form 4; this version reads up to 1). "
            "Install that version again, or restore a backup that this one made.",
        )
        self.assertEqual(self.path.read_bytes(), before)

    def test_a_newer_database_that_we_may_still_use(self) -> None:
        self.made(2)
        self.alter("UPDATE meta SET value = 4 WHERE name = 'schema_version'")
        self.assertEqual(self.opened().revision(), 2)

    def test_the_database_of_another_program(self) -> None:
        self.path.parent.mkdir()
        self.alter("CREATE TABLE bookmarks (address TEXT)")
        self.path.chmod(0o600)
        self.assertEqual(
            self.refused(StorageError),
            f"{self.path} is the database of another program; name another file in storage.path.",
        )


class DamageTests(DatabaseTestCase):
    def assert_damaged(self, finding: str) -> None:
        self.assertEqual(
            self.refused(StorageCorrupt),
            f"The database {self.path} is damaged ({finding}). Move it away, it may still be of use, and restore a "
            "backup with: tctl restore",
        )

    def test_no_database_at_all(self) -> None:
        self.made().write_bytes(b"once upon a time " * 1000)
        self.assert_damaged("file is not a database")

    def test_pages_that_are_overwritten(self) -> None:
        content = bytearray(self.made(500).read_bytes())
        content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
        self.path.write_bytes(content)
        self.assertIn("is damaged (", self.refused(StorageCorrupt))

    def test_a_file_that_was_cut(self) -> None:
        content = self.made(500).read_bytes()
        self.path.write_bytes(content[: len(content) // 2])
        self.assertIn("is damaged (", self.refused(StorageCorrupt))

    def test_no_version(self) -> None:
        self.made()
        self.alter("DELETE FROM meta WHERE name = 'schema_version'")
        self.assert_damaged("its own version or revision is missing")

    def test_damage_that_is_met_later(self) -> None:
        database = self.opened()
        database.reader.execute("PRAGMA query_only = OFF")
        database.reader.execute("DROP TABLE items")
        error = self.assertRaises(StorageError, database.get, "a", 0.0)
        self.assertEqual(error.sentence, f"The database {self.path} cannot be used: no such table: items.")


class CopyTests(DatabaseTestCase):
    def test_what_an_earlier_attempt_left(self) -> None:
        self.made(10)
        target = self.path.with_name("copy.db")
        target.with_name("copy.db.part").write_bytes(b"half")
        copy_database(self.path, target)
        self.assertEqual(modes(self.path.parent), dict.fromkeys(["sqlite.db", "sqlite.db.lock", "copy.db"], 0o600))

    def test_the_original_is_damaged(self) -> None:
        target = self.path.with_name("copy.db")
        self.made().write_bytes(b"once upon a time " * 1000)
        error = self.assertRaises(StorageCorrupt, copy_database, self.path, target)
        self.assertIn(f"The database {self.path} is damaged", error.sentence)
        self.assertEqual(modes(self.path.parent), dict.fromkeys(["sqlite.db", "sqlite.db.lock"], 0o600))


class SentenceTests(SynchronousTestCase):
    def test_each_error_of_sqlite(self) -> None:
        path = Path("/data/sqlite.db")
        table = [
            (sqlite3.SQLITE_FULL, StorageFull, "The disk of /data/sqlite.db is full: the write was refused"),
            (sqlite3.SQLITE_IOERR_SHMSIZE, StorageFull, "The disk of /data/sqlite.db is full"),
            (sqlite3.SQLITE_CORRUPT_VTAB, StorageCorrupt, "The database /data/sqlite.db is damaged (reason)."),
            (sqlite3.SQLITE_BUSY, StorageError, "Another program kept the database /data/sqlite.db locked"),
            (sqlite3.SQLITE_IOERR_FSYNC, StorageError, "The database /data/sqlite.db cannot be used: reason."),
        ]
        for code, kind, beginning in table:
            error = sqlite3.OperationalError("reason")
            error.sqlite_errorcode = code
            found = explain(error, path)
            self.assertIs(type(found), kind)
            self.assertTrue(found.sentence.startswith(beginning), found.sentence)
