"""The store in a SQLite database keeps the contract, and what it answered, over a restart."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from teleport_conch.errors import AlreadyExists, Compacted, NotFound, StorageError, StorageInUse
from teleport_conch.storage.backend import IBackend
from teleport_conch.storage.opening import REVISIONS_AHEAD
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor
from tests.storage import contract, following
from tests.storage.contract import NOW, refusal
from tests.storage.reactors import TrialReactor


class SQLiteStore(contract.StoreTestCase):
    async def make_store(self) -> IBackend:
        self.clock = self.reactor = TrialReactor()
        self.path = Path(self.mktemp()) / "sqlite.db"
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        return await SQLiteBackend.open(self.reactor, self.path)


class ItemTests(SQLiteStore, contract.ItemContract):
    """Reading, writing, races."""


class ExpiryTests(SQLiteStore, contract.ExpiryContract):
    """Items that end by themselves."""


class RangeTests(SQLiteStore, contract.RangeContract):
    """Lists of items."""


class BoundsTests(SQLiteStore, contract.BoundsContract):
    """What a store refuses to hold."""


class WatchTests(SQLiteStore, following.WatchContract):
    """Following changes."""


class CloseTests(SQLiteStore, following.CloseContract):
    """The end of a store."""


class ReopeningTests(SQLiteStore):
    async def reopen(self) -> IBackend:
        await self.store.close()
        self.store = await SQLiteBackend.open(self.reactor, self.path)
        return self.store

    async def test_items_and_revision_are_still_there(self) -> None:
        items = [await self.store.put("a", b"1"), await self.store.put("b", b"2", NOW + 0.1)]
        store = await self.reopen()
        self.assertEqual(list(await store.range("")), items)
        self.assertEqual(store.revision(), 2)

    async def test_the_revision_of_a_deletion_is_not_given_out_again(self) -> None:
        await self.store.put("a", b"1")
        await self.store.delete("a")
        store = await self.reopen()
        self.assertEqual(store.revision(), 2)
        self.assertEqual((await store.put("a", b"1")).revision, 3)

    async def test_changes_from_before_are_not_kept(self) -> None:
        await self.store.put("a", b"1")
        await self.store.put("a", b"2")
        store = await self.reopen()
        self.assertRaises(Compacted, store.watch, [""], 1)
        watch = store.watch([""], 2)
        await store.put("a", b"3")
        self.assertEqual((await watch.next()).revision, 3)


class ReadingBesideTests(SQLiteStore):
    """A store that a running service has open can be looked at by another, and by one only written."""

    async def test_a_second_writer_is_refused(self) -> None:
        error = await refusal(SQLiteBackend.open(self.reactor, self.path), StorageInUse)
        self.assertIn(f"The database {self.path} is in use by process ", error.sentence)

    async def test_a_reader_sees_what_was_answered(self) -> None:
        reader = await SQLiteBackend.open(self.reactor, self.path, lock=False)
        self.addCleanup(reader.close)
        await self.store.put("a", b"1")
        self.assertEqual((await reader.get("a")).value, b"1")

    async def test_a_reader_cannot_write(self) -> None:
        reader = await SQLiteBackend.open(self.reactor, self.path, lock=False)
        self.addCleanup(reader.close)
        error = await refusal(reader.put("a", b"1"), StorageError)
        self.assertEqual(error.sentence, f"The database {self.path} was opened for reading only; nothing was written.")
        await refusal(self.store.get("a"), NotFound)
        self.assertEqual(len(self.flushLoggedErrors()), 0)


class SnapshotTests(SQLiteStore):
    async def copy(self) -> Path:
        assert isinstance(self.store, SQLiteBackend)
        target = self.path.with_name("copy.db")
        await self.store.snapshot_to(target)
        return target

    async def test_a_copy_is_a_store(self) -> None:
        item = await self.store.put("a", b"1", NOW + 60)
        target = await self.copy()
        await self.store.put("a", b"2")
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)
        copy = await SQLiteBackend.open(self.reactor, target)
        self.addCleanup(copy.close)
        self.assertEqual(await copy.get("a"), item)

    async def test_a_watcher_of_the_original_takes_a_snapshot_of_the_copy(self) -> None:
        await self.store.put("a", b"1")
        copy = await SQLiteBackend.open(self.reactor, await self.copy())
        self.addCleanup(copy.close)
        self.assertEqual(copy.revision(), 1 + REVISIONS_AHEAD)
        self.assertRaises(Compacted, copy.watch, [""], 1)
        self.assertEqual((await copy.put("a", b"2")).revision, 2 + REVISIONS_AHEAD)

    async def test_the_copy_is_one_file(self) -> None:
        await self.store.put("a", b"1")
        target = await self.copy()
        self.assertEqual([p.name for p in target.parent.iterdir() if p.name.startswith("copy")], ["copy.db"])
        with closing(sqlite3.connect(target)) as connection:
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("delete",))
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))

    async def test_nothing_is_overwritten(self) -> None:
        target = await self.copy()
        error = await refusal(self.copy(), AlreadyExists)
        self.assertEqual(error.sentence, f"There is a file {target} already; choose another name for the copy.")

    async def test_nowhere_to_write(self) -> None:
        assert isinstance(self.store, SQLiteBackend)
        target = self.path.parent / "missing" / "copy.db"
        error = await refusal(self.store.snapshot_to(target), StorageError)
        self.assertEqual(error.sentence, f"The copy {target} cannot be written: No such file or directory.")


class ReactorTests(TestCase):
    async def test_the_reactor_itself(self) -> None:
        """A store takes Twisted's own reactor: its time is POSIX time, its threads come back."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        store = await SQLiteBackend.open(cast(ThreadedReactor, reactor), folder / "sqlite.db")
        self.addCleanup(store.close)
        await store.put("a", b"", NOW)
        await refusal(store.get("a"), NotFound)
