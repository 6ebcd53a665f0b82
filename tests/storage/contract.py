"""The contract of :class:`~teleport_conch.storage.backend.IBackend`, as tests that each store inherits."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from teleport_conch.errors import (
    AlreadyExists,
    BadParameter,
    CompareFailed,
    LimitExceeded,
    NotFound,
    TooLarge,
)
from teleport_conch.storage.backend import Change, IBackend, Watch

NOW = 1_700_000_000.0

Error = TypeVar("Error", bound=Exception)


async def refusal(attempt: Awaitable[object], kind: type[Error]) -> Error:
    """The error of *kind* that an attempt ends with."""
    try:
        result = await attempt
    except kind as error:
        return error
    raise AssertionError(f"{result!r} instead of {kind.__name__}")


async def taken(watch: Watch, count: int) -> list[Change]:
    return [await watch.next() for _ in range(count)]


def seen(changes: Sequence[Change]) -> list[tuple[str, bytes | None]]:
    return [(change.key, change.item.value if change.item else None) for change in changes]


class StoreTestCase(TestCase):
    """A store that is open during the test, and the clock that it looks at."""

    clock: Clock
    store: IBackend

    async def make_store(self) -> IBackend:
        raise NotImplementedError

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.store = await self.make_store()
        self.clock.advance(NOW)
        await self.fill_store()

    async def fill_store(self) -> None:
        """What the tests find in the store."""

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        await self.store.close()


class ItemContract(StoreTestCase):
    async def test_interface(self) -> None:
        verifyObject(IBackend, self.store)

    async def test_what_is_put_can_be_read(self) -> None:
        item = await self.store.put("nodes/default/a", b"\x00\xff", NOW + 60)
        self.assertEqual((item.key, item.value, item.expires_at), ("nodes/default/a", b"\x00\xff", NOW + 60))
        self.assertEqual(await self.store.get("nodes/default/a"), item)

    async def test_nothing_there(self) -> None:
        error = await refusal(self.store.get("nodes/a"), NotFound)
        self.assertEqual(error.sentence, "There is no 'nodes/a'.")
        self.assertEqual(error.facts, {"key": "nodes/a"})

    async def test_revisions_grow_over_all_keys(self) -> None:
        first = await self.store.put("a", b"")
        second = await self.store.create("b", b"")
        third = await self.store.put("a", b"")
        self.assertLess(first.revision, second.revision)
        self.assertLess(second.revision, third.revision)
        self.assertEqual(self.store.revision(), third.revision)

    async def test_a_deletion_has_a_revision(self) -> None:
        item = await self.store.put("a", b"")
        await self.store.delete("a")
        self.assertGreater(self.store.revision(), item.revision)

    async def test_create_refuses_what_exists(self) -> None:
        await self.store.create("a", b"first")
        error = await refusal(self.store.create("a", b"second"), AlreadyExists)
        self.assertEqual(error.sentence, "There is a 'a' already.")
        self.assertEqual((await self.store.get("a")).value, b"first")

    async def test_put_many(self) -> None:
        await self.store.put("b", b"old")
        before = self.store.revision()
        await self.store.put_many([("a", b"1", None), ("b", b"2", NOW + 1), ("a", b"3", None)])
        items = await self.store.range("")
        self.assertEqual([(i.key, i.value, i.expires_at) for i in items], [("a", b"3", None), ("b", b"2", NOW + 1)])
        self.assertEqual([item.revision for item in items], [before + 3, before + 2])

    async def test_put_many_of_none(self) -> None:
        await self.store.put_many([])
        self.assertEqual(self.store.revision(), 0)

    async def test_swap_what_nobody_changed(self) -> None:
        item = await self.store.put("a", b"1")
        swapped = await self.store.compare_and_swap("a", item.revision, b"2", NOW + 5)
        self.assertEqual(await self.store.get("a"), swapped)
        self.assertEqual((swapped.value, swapped.expires_at), (b"2", NOW + 5))

    async def test_swap_what_somebody_changed(self) -> None:
        item = await self.store.put("a", b"1")
        await self.store.put("a", b"2")
        error = await refusal(self.store.compare_and_swap("a", item.revision, b"3"), CompareFailed)
        self.assertEqual(error.sentence, "'a' was changed since it was read (revision 2, not 1); read it again.")
        self.assertEqual((await self.store.get("a")).value, b"2")

    async def test_swap_what_is_gone(self) -> None:
        item = await self.store.put("a", b"1")
        await self.store.delete("a")
        await refusal(self.store.compare_and_swap("a", item.revision, b"2"), NotFound)

    async def test_a_key_that_came_back_has_another_revision(self) -> None:
        item = await self.store.put("a", b"1")
        await self.store.delete("a")
        await self.store.create("a", b"1")
        await refusal(self.store.compare_and_swap("a", item.revision, b"2"), CompareFailed)

    async def test_delete(self) -> None:
        item = await self.store.put("a", b"1")
        newer = await self.store.put("a", b"2")
        await refusal(self.store.delete("a", item.revision), CompareFailed)
        await self.store.delete("a", newer.revision)
        await refusal(self.store.get("a"), NotFound)
        await refusal(self.store.delete("a"), NotFound)

    async def test_one_of_many_swaps_wins(self) -> None:
        item = await self.store.put("a", b"")
        swaps = [self.store.compare_and_swap("a", item.revision, b"%d" % n) for n in range(20)]
        errors = await self.outcomes(swaps)
        self.assertEqual(errors.count(None), 1)
        self.assertEqual({type(error) for error in errors if error}, {CompareFailed})
        self.assertEqual((await self.store.get("a")).value, b"%d" % errors.index(None))

    async def test_one_of_many_creations_wins(self) -> None:
        errors = await self.outcomes([self.store.create("a", b"%d" % n) for n in range(20)])
        self.assertEqual(errors.count(None), 1)
        self.assertEqual((await self.store.get("a")).value, b"%d" % errors.index(None))

    async def test_no_increment_is_lost(self) -> None:
        await self.store.put("counter", b"0")

        async def increment() -> None:
            for _ in range(5):
                swapped = False
                while not swapped:
                    item = await self.store.get("counter")
                    new = b"%d" % (int(item.value) + 1)
                    attempt = self.store.compare_and_swap("counter", item.revision, new)
                    swapped = (await self.outcomes([attempt])) == [None]

        await gatherResults([Deferred.fromCoroutine(increment()) for _ in range(4)])
        self.assertEqual((await self.store.get("counter")).value, b"20")

    async def test_a_refused_write_leaves_its_neighbours_alone(self) -> None:
        await self.store.put("taken", b"")
        writes = [self.store.put("a", b"1"), self.store.create("taken", b"2"), self.store.put("b", b"3")]
        errors = await self.outcomes(writes)
        self.assertEqual([type(error) for error in errors], [type(None), AlreadyExists, type(None)])
        self.assertEqual([item.key for item in await self.store.range("")], ["a", "b", "taken"])

    async def test_one_after_the_other_within_a_group(self) -> None:
        writes: list[Awaitable[object]] = [
            self.store.create("a", b"1"),
            self.store.delete("a"),
            self.store.create("a", b"2"),
            self.store.put("b", b"3"),
            self.store.delete("b"),
        ]
        self.assertEqual(await self.outcomes(writes), [None] * 5)
        self.assertEqual([(item.key, item.value) for item in await self.store.range("")], [("a", b"2")])

    async def outcomes(self, attempts: Sequence[Awaitable[object]]) -> list[Exception | None]:
        """What each of the attempts, all under way at once, was refused with."""

        async def outcome(attempt: Awaitable[object]) -> Exception | None:
            try:
                await attempt
            except (AlreadyExists, CompareFailed, NotFound) as error:
                return error
            return None

        results: list[Exception | None] = await gatherResults(
            [Deferred.fromCoroutine(outcome(attempt)) for attempt in attempts]
        )
        return results


class ExpiryContract(StoreTestCase):
    async def test_an_item_is_gone_at_its_instant(self) -> None:
        await self.store.put("a", b"", NOW + 10)
        self.clock.advance(9.5)
        await self.store.get("a")
        self.clock.advance(0.5)
        await refusal(self.store.get("a"), NotFound)

    async def test_what_has_expired_is_gone_for_every_method(self) -> None:
        item = await self.store.put("a", b"", NOW)
        await refusal(self.store.compare_and_swap("a", item.revision, b""), NotFound)
        await refusal(self.store.delete("a"), NotFound)
        self.assertEqual(await self.store.range(""), ())
        await self.store.create("a", b"again")
        self.assertEqual((await self.store.get("a")).value, b"again")

    async def test_the_limit_counts_the_living(self) -> None:
        await self.store.put_many([("a", b"", NOW), ("b", b"", None), ("c", b"", NOW), ("d", b"", NOW + 1)])
        self.assertEqual([item.key for item in await self.store.range("", limit=2)], ["b", "d"])

    async def test_expire_tells_the_watchers(self) -> None:
        await self.store.put_many([("a", b"", NOW + 2), ("b", b"", NOW + 1), ("c", b"", NOW + 3), ("d", b"", None)])
        watch = self.store.watch([""], self.store.revision())
        before = self.store.revision()
        self.assertEqual(await self.store.expire(NOW + 2), 2)
        changes = await taken(watch, 2)
        self.assertEqual(seen(changes), [("b", None), ("a", None)])
        self.assertEqual([change.revision for change in changes], [before + 1, before + 2])
        self.assertEqual([item.key for item in await self.store.range("")], ["c", "d"])

    async def test_nothing_to_expire(self) -> None:
        await self.store.put("a", b"", NOW + 1)
        revision = self.store.revision()
        self.assertEqual(await self.store.expire(NOW), 0)
        self.assertEqual(self.store.revision(), revision)

    async def test_what_was_renewed_meanwhile_stays(self) -> None:
        await self.store.put("a", b"", NOW)
        renewal = Deferred.fromCoroutine(self.store.put("a", b"", NOW + 60))
        self.assertEqual(await self.store.expire(NOW), 0)
        await renewal
        await self.store.get("a")

    async def test_many_expire(self) -> None:
        await self.store.put_many([(f"sessions/{n}", b"", NOW) for n in range(2500)])
        self.assertEqual(await self.store.expire(NOW), 2500)
        self.assertEqual(await self.store.expire(NOW), 0)


class RangeContract(StoreTestCase):
    async def fill_store(self) -> None:
        self.keys = ["nodes", "nodes-old/a", "nodes/b", "nodes/b/1", "nodes/é", "nodes/\U0001f980", "nodes2/a", "o"]
        await self.store.put_many([(key, key.encode(), None) for key in reversed(self.keys)])

    async def listed(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        return [item.key for item in await self.store.range(prefix, start_after, limit)]

    async def test_sorted_by_key(self) -> None:
        self.assertEqual(await self.listed(""), self.keys)

    async def test_a_prefix_ends_where_it_says(self) -> None:
        self.assertEqual(await self.listed("nodes/"), self.keys[2:6])
        self.assertEqual(await self.listed("nodes"), self.keys[:7])
        self.assertEqual(await self.listed("nodes/b"), ["nodes/b", "nodes/b/1"])
        self.assertEqual(await self.listed("nodes/\U0001f980"), ["nodes/\U0001f980"])
        self.assertEqual(await self.listed("p"), [])

    async def test_pages(self) -> None:
        pages: list[list[str]] = []
        last = ""
        while page := await self.listed("nodes/", last, 3):
            pages.append(page)
            last = page[-1]
        self.assertEqual(pages, [self.keys[2:5], self.keys[5:6]])

    async def test_a_page_begins_after_a_key_that_is_gone(self) -> None:
        self.assertEqual(await self.listed("nodes", "nodes/b/0"), self.keys[3:7])
        self.assertEqual(await self.listed("nodes/", "a"), self.keys[2:6])
        self.assertEqual(await self.listed("nodes/", "z"), [])

    async def test_the_limit_has_limits(self) -> None:
        for limit in (0, -1, 10_001):
            error = await refusal(self.store.range("", limit=limit), BadParameter)
            self.assertEqual(
                error.sentence, f"A range of {limit} items cannot be read at once; between 1 and 10000 can."
            )


class BoundsContract(StoreTestCase):
    async def test_keys_are_paths(self) -> None:
        for key in ("", "/a", "a/", "a//b", ".", "a/./b", "a/../b", ".."):
            error = await refusal(self.store.put(key, b""), BadParameter)
            self.assertEqual(error.sentence, f"{key!r} is no key: it has a segment that is empty, '.' or '..'.")

    async def test_keys_can_be_printed(self) -> None:
        for key in ("a\x00b", "a\nb", "\ud800", "a\u200bb"):
            error = await refusal(self.store.put(key, b""), BadParameter)
            self.assertEqual(error.sentence, f"{key!r} is no part of a key: it has characters that cannot be printed.")

    async def test_keys_have_an_end(self) -> None:
        await self.store.put("k" * 512, b"")
        error = await refusal(self.store.put("k" * 513, b""), BadParameter)
        self.assertEqual(error.sentence, "A key of 513 characters is too long; 512 are allowed.")

    async def test_every_method_looks_at_the_key(self) -> None:
        attempts: list[Awaitable[object]] = [
            self.store.get("a//b"),
            self.store.create("a//b", b""),
            self.store.put_many([("a", b"", None), ("a//b", b"", None)]),
            self.store.compare_and_swap("a//b", 1, b""),
            self.store.delete("a//b"),
            self.store.range("a\n"),
            self.store.range("a", "a\n"),
        ]
        for attempt in attempts:
            await refusal(attempt, BadParameter)
        self.assertRaises(BadParameter, self.store.watch, ["a\n"], 0)
        self.assertEqual(self.store.revision(), 0)

    async def test_values_have_a_size(self) -> None:
        await self.store.put("a", bytes(1_000_000))
        error = await refusal(self.store.put("a", bytes(1_000_001)), TooLarge)
        self.assertEqual(error.sentence, "The value of 'a' has 1000001 bytes; 1000000 are allowed.")

    async def test_times_are_numbers(self) -> None:
        for time in (float("nan"), float("inf")):
            error = await refusal(self.store.put("a", b"", time), BadParameter)
            self.assertEqual(error.sentence, f"'a' cannot expire at {time}; give POSIX seconds, or nothing for never.")

    async def test_batches_have_a_length(self) -> None:
        await self.store.put_many([("a", b"", None)] * 8192)
        error = await refusal(self.store.put_many([("a", b"", None)] * 8193), LimitExceeded)
        self.assertEqual(error.sentence, "A batch of 8193 items is too long; 8192 are allowed.")

    async def test_batches_have_a_size(self) -> None:
        error = await refusal(self.store.put_many([("a", bytes(1_000_000), None)] * 17), TooLarge)
        self.assertEqual(error.sentence, "A batch of 17000000 bytes is too large; 16777216 are allowed.")

    async def test_one_text_is_no_list_of_prefixes(self) -> None:
        error = self.assertRaises(BadParameter, self.store.watch, "nodes/", 0)
        self.assertEqual(error.sentence, "The prefixes of a watch are a list; 'nodes/' is one text.")
