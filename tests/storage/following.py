"""The second half of the contract: what those who follow a store are told, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from teleport_conch.errors import Compacted, LimitExceeded, StorageError
from teleport_conch.storage.backend import KEPT_CHANGES, QUEUED_CHANGES, Change
from tests.storage.contract import NOW, StoreTestCase, refusal, seen, taken


class WatchContract(StoreTestCase):
    async def test_changes_after_a_revision(self) -> None:
        await self.store.put("a", b"1")
        revision = self.store.revision()
        await self.store.put("a", b"2")
        watch = self.store.watch([""], revision)
        await self.store.create("b", b"3")
        await self.store.delete("a")
        changes = await taken(watch, 3)
        self.assertEqual(seen(changes), [("a", b"2"), ("b", b"3"), ("a", None)])
        self.assertEqual([change.revision for change in changes], [revision + 1, revision + 2, revision + 3])
        self.assertEqual(changes[1].item, await self.store.get("b"))

    async def test_only_what_was_asked_for(self) -> None:
        watch = self.store.watch(["nodes/", "roles/admin"], 0)
        await self.store.put_many(
            [(k, b"", None) for k in ("nodes/a", "nodes2/a", "roles/admin", "roles/b", "nodes/b")]
        )
        changes = await taken(watch, 3)
        self.assertEqual([change.key for change in changes], ["nodes/a", "roles/admin", "nodes/b"])
        waiting = Deferred.fromCoroutine(watch.next())
        self.assertNoResult(waiting)
        watch.close()
        self.failureResultOf(waiting, CancelledError)

    async def test_next_waits(self) -> None:
        watch = self.store.watch([""], 0)
        waiting = Deferred.fromCoroutine(watch.next())
        self.assertNoResult(waiting)
        item = await self.store.put("a", b"")
        self.assertEqual(self.successResultOf(waiting), Change(item.revision, "a", item))

    async def test_a_change_is_told_before_its_writer_is_answered(self) -> None:
        watch = self.store.watch([""], 0)
        order: list[str] = []
        Deferred.fromCoroutine(watch.next()).addCallback(lambda _: order.append("told"))
        await self.store.put("a", b"")
        order.append("answered")
        self.assertEqual(order, ["told", "answered"])

    async def test_a_cancelled_wait_loses_nothing(self) -> None:
        watch = self.store.watch([""], 0)
        waiting = Deferred.fromCoroutine(watch.next())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        await self.store.put("a", b"1")
        self.assertEqual(seen([await watch.next()]), [("a", b"1")])

    async def test_one_reader(self) -> None:
        watch = self.store.watch([""], 0)
        waiting = Deferred.fromCoroutine(watch.next())
        error = await refusal(watch.next(), RuntimeError)
        self.assertEqual(str(error), "A watch has one reader, and that one is waiting already.")
        await self.store.put("a", b"")
        self.successResultOf(waiting)

    async def test_a_closed_watch(self) -> None:
        watch = self.store.watch([""], 0)
        waiting = Deferred.fromCoroutine(watch.next())
        watch.close()
        watch.close()
        self.failureResultOf(waiting, CancelledError)
        await self.store.put("a", b"")
        await refusal(watch.next(), CancelledError)

    async def test_a_watcher_that_writes_keeps_the_order(self) -> None:
        """What a watcher writes in answer comes after all of the batch that it answers, for the other watchers too."""
        first, second = self.store.watch([""], 0), self.store.watch(["a"], 0)

        async def answer() -> None:
            await first.next()
            await self.store.put("answer", b"")

        answering = Deferred.fromCoroutine(answer())
        await self.store.put_many([("a1", b"", None), ("a2", b"", None)])
        await answering
        self.assertEqual([change.key for change in await taken(second, 3)], ["a1", "a2", "answer"])

    async def test_a_slow_watcher_is_cut(self) -> None:
        slow, other = self.store.watch([""], 0), self.store.watch(["b"], 0)
        await self.store.put_many([("a", b"", None)] * (QUEUED_CHANGES + 1))
        await self.store.put("b", b"")
        error = await refusal(slow.next(), LimitExceeded)
        self.assertEqual(
            error.sentence, "The watch left over 1024 changes unread and was cut; take a snapshot and watch again."
        )
        self.assertEqual([change.key for change in await taken(other, 1)], ["b"])

    async def test_a_full_queue_is_not_slow_yet(self) -> None:
        watch = self.store.watch([""], 0)
        await self.store.put_many([("a", b"", None)] * QUEUED_CHANGES)
        await self.store.put("a", b"last")
        self.assertEqual(seen(await taken(watch, QUEUED_CHANGES + 1))[-1], ("a", b"last"))

    async def test_a_long_batch_does_not_cut_who_waits(self) -> None:
        watch = self.store.watch([""], 0)
        reading = Deferred.fromCoroutine(taken(watch, QUEUED_CHANGES * 3 + 1))
        await self.store.put_many([("a", b"", None)] * (QUEUED_CHANGES * 3))
        await self.store.put("a", b"last")
        self.assertEqual(seen(await reading)[-1], ("a", b"last"))

    async def test_changes_that_are_not_kept(self) -> None:
        await self.store.put("a", b"")
        await self.store.put_many([("a", b"", None)] * KEPT_CHANGES)
        error = self.assertRaises(Compacted, self.store.watch, ["b"], 0)
        self.assertEqual(error.sentence, "Changes up to revision 1 are not kept; take a snapshot again.")
        self.store.watch(["b"], 1)

    async def test_too_many_changes_at_once(self) -> None:
        await self.store.put_many([("a", b"", None)] * (QUEUED_CHANGES + 1))
        error = self.assertRaises(Compacted, self.store.watch, ["a"], 0)
        self.assertEqual(error.sentence, "More than 1024 changes happened since; take a snapshot again.")
        self.store.watch(["a"], 1)

    async def test_a_revision_of_another_time(self) -> None:
        await self.store.put("a", b"")
        error = self.assertRaises(Compacted, self.store.watch, ["a"], 7)
        self.assertEqual(error.sentence, "There is no revision 7: the newest is 1; take a snapshot again.")


class CloseContract(StoreTestCase):
    async def test_twice(self) -> None:
        await gatherResults([Deferred.fromCoroutine(self.store.close()) for _ in range(2)])
        await self.store.close()

    async def test_writes_in_flight_are_answered(self) -> None:
        writes = [Deferred.fromCoroutine(self.store.put(f"k/{n}", b"")) for n in range(10)]
        await self.store.close()
        for write in writes:
            self.successResultOf(write)

    async def test_watches_end(self) -> None:
        waiting = Deferred.fromCoroutine(self.store.watch([""], 0).next())
        await self.store.close()
        self.assertEqual(self.failureResultOf(waiting, StorageError).value.args, ("The store was closed.",))

    async def test_nothing_works_afterwards(self) -> None:
        await self.store.close()
        attempts: list[Awaitable[object]] = [
            self.store.get("a"),
            self.store.create("a", b""),
            self.store.put("a", b""),
            self.store.put_many([]),
            self.store.compare_and_swap("a", 1, b""),
            self.store.delete("a"),
            self.store.range(""),
            self.store.expire(NOW),
        ]
        for attempt in attempts:
            self.assertEqual((await refusal(attempt, StorageError)).sentence, "The store is closed.")
        self.assertRaises(StorageError, self.store.watch, [""], 0)
