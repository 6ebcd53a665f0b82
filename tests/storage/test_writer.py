"""How writes become transactions, and what a transaction that fails means for each of them."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import LimitExceeded, StorageFull
from teleport_conch.storage.draft import Draft
from teleport_conch.storage.opening import open_database
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import MAX_WAITING_BYTES, Write
from tests.storage.reactors import HandReactor


class WriterTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.reactor = HandReactor()
        self.database = open_database(folder / "sqlite.db", True)
        self.statements: list[str] = []
        self.database.writer.set_trace_callback(self.statements.append)
        self.store = SQLiteBackend(self.reactor, self.database)
        self.addCleanup(lambda: self.reactor.wait(self.store.close()))

    def hold_the_writer(self) -> Event:
        """Keep the thread in a decision until the event is set."""
        go_on, reached = Event(), Event()

        def hold(draft: Draft) -> None:
            reached.set()
            go_on.wait(60)

        self.store._writer.submit(Write(hold, (), 0))
        reached.wait(60)
        return go_on

    def put(self, key: str, size: int = 10) -> Deferred[object]:
        return Deferred.fromCoroutine(self.store.put(key, bytes(size)))


class GroupTests(WriterTestCase):
    def test_what_waits_for_a_commit_shares_the_next(self) -> None:
        go_on = self.hold_the_writer()
        self.statements.clear()
        writes = [self.put(f"k/{n}") for n in range(200)]
        go_on.set()
        for write in writes:
            self.reactor.wait(write)
        self.assertEqual([statement.split()[0] for statement in self.statements], ["INSERT"])

    def test_an_answer_comes_after_the_commit(self) -> None:
        self.reactor.wait(self.store.put_many([("a", b"", None), ("b", b"", None)]))
        self.statements.clear()
        go_on = self.hold_the_writer()
        writes: list[Deferred[object]] = [Deferred.fromCoroutine(self.store.delete("a")), self.put("b")]
        for write in writes:
            write.addCallback(lambda _: self.statements.append("answered"))
        go_on.set()
        self.reactor.wait(writes[-1])
        words = [statement.split()[0] for statement in self.statements]
        self.assertEqual(words, ["SELECT", "BEGIN", "INSERT", "DELETE", "UPDATE", "COMMIT", "answered", "answered"])

    def test_a_batch_is_few_statements(self) -> None:
        self.reactor.wait(self.store.put_many([(f"k/{n}", b"", None) for n in range(1000)]))
        words = [statement.split()[0] for statement in self.statements]
        self.assertEqual(words, ["BEGIN", "INSERT", "INSERT", "INSERT", "INSERT", "COMMIT"])

    def test_a_decision_that_is_wrong_is_answered(self) -> None:
        """An error of the program's own reaches the one who asked; the thread and the other writes go on."""

        def wrong(draft: Draft) -> None:
            raise ZeroDivisionError("wrong")

        go_on = self.hold_the_writer()
        neighbour = self.put("a")
        answer = self.store._writer.submit(Write(wrong, (), 0))
        go_on.set()
        self.assertRaises(ZeroDivisionError, self.reactor.wait, answer)
        self.reactor.wait(neighbour)
        self.reactor.wait(self.put("b"))


class BoundTests(WriterTestCase):
    def test_what_may_wait_for_the_disk(self) -> None:
        go_on = self.hold_the_writer()
        first = self.store._writer.submit(Write(lambda draft: None, (), MAX_WAITING_BYTES))
        error = self.assertRaises(LimitExceeded, self.store._writer.submit, Write(lambda draft: None, (), 1))
        self.assertEqual(
            error.sentence, f"64 MiB of writes are waiting for the disk of {self.database.path}; try again later."
        )
        go_on.set()
        self.reactor.wait(first)
        self.reactor.wait(self.put("a"))


class FullDiskTests(WriterTestCase):
    def limit(self, pages: int) -> None:
        """How large the database may grow, in pages; SQLite treats the end of it as it treats a full disk."""
        self.database.writer.execute(f"PRAGMA max_page_count = {pages}")

    def test_the_write_is_refused_and_the_store_goes_on(self) -> None:
        self.reactor.wait(self.put("before"))
        self.limit(20)
        error = self.assertRaises(StorageFull, self.reactor.wait, self.put("large", 200_000))
        self.assertEqual(
            error.sentence,
            f"The disk of {self.database.path} is full: the write was refused, nothing of it was kept. Make space.",
        )
        self.reactor.wait(self.put("small"))
        self.limit(1000)
        self.reactor.wait(self.put("large", 200_000))
        keys = [item.key for item in self.reactor.wait(self.store.range(""))]
        self.assertEqual(keys, ["before", "large", "small"])

    def test_only_the_write_that_does_not_fit_is_refused(self) -> None:
        self.reactor.wait(self.put("before"))
        self.limit(20)
        go_on = self.hold_the_writer()
        watch = self.store.watch([""], 1)
        first, large, last = self.put("first"), self.put("large", 200_000), self.put("last")
        go_on.set()
        self.reactor.wait(first)
        self.assertRaises(StorageFull, self.reactor.wait, large)
        self.reactor.wait(last)
        changes = [self.reactor.wait(watch.next()) for _ in range(2)]
        self.assertEqual([(change.key, change.revision) for change in changes], [("first", 2), ("last", 3)])

    def test_a_batch_that_does_not_fit_leaves_nothing(self) -> None:
        self.reactor.wait(self.put("before"))
        self.limit(20)
        batch = self.store.put_many([(f"k/{n}", bytes(1000), None) for n in range(500)])
        self.assertRaises(StorageFull, self.reactor.wait, batch)
        self.assertEqual([item.key for item in self.reactor.wait(self.store.range(""))], ["before"])
        self.assertEqual(self.store.revision(), 1)
