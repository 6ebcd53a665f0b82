"""Whatever is asked of it, the store in SQLite answers as the one in memory does."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import TeleportError
from teleport_conch.storage.backend import IBackend, Watch
from teleport_conch.storage.memory import MemoryBackend
from teleport_conch.storage.sqlite import SQLiteBackend
from tests.storage.reactors import HandReactor

keys = st.sampled_from(["a", "a/b", "a/b/c", "a-b", "ab", "b", "é", "\U0001f980", "'", '"\\'])
values = st.binary(max_size=20)
# Near the clock's zero, so that some have expired and some will; with digits that do not come out even.
instants = st.none() | st.floats(-5, 20, allow_nan=False)
revisions = st.integers(0, 30)

steps = st.one_of(
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("create"), keys, values, instants),
    st.tuples(st.just("put"), keys, values, instants),
    st.tuples(st.just("put_many"), st.lists(st.tuples(keys, values, instants), max_size=5)),
    st.tuples(st.just("compare_and_swap"), keys, revisions, values, instants),
    st.tuples(st.just("delete"), keys, st.none() | revisions),
    st.tuples(st.just("range"), st.sampled_from(["", "a", "a/", "b"]), st.just("") | keys, st.integers(1, 5)),
    st.tuples(st.just("expire"), st.floats(-5, 20, allow_nan=False)),
    st.tuples(st.just("advance"), st.floats(0, 3)),
)


class Followed:
    """A store, what it answered, and what its watch said."""

    def __init__(self, reactor: HandReactor, store: IBackend) -> None:
        self.reactor = reactor
        self.store = store
        self.watch: Watch = store.watch([""], 0)
        self.said: list[object] = []

    def take(self, name: str, *arguments: object) -> None:
        if name == "advance":
            return
        call: Coroutine[Deferred[Any], Any, object] = getattr(self.store, name)(*arguments)
        try:
            self.said.append(self.reactor.wait(call))
        except TeleportError as error:
            self.said.append((error.code, error.sentence))

    def end(self) -> list[object]:
        """All that was said, and what is left in the end."""
        revision = self.store.revision()
        changes: list[object] = []
        while not changes or changes[-1] != revision:
            if revision == 0:
                break
            change = self.reactor.wait(self.watch.next())
            changes += [change, change.revision]
        left = self.reactor.wait(self.store.range(""))
        self.reactor.wait(self.store.close())
        return [*self.said, changes, left, revision]


class EquivalenceTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(steps, max_size=25))
    def test_same_answers(self, taken: list[tuple[Any, ...]]) -> None:
        with TemporaryDirectory() as folder:
            reactor = HandReactor()
            memory = Followed(reactor, MemoryBackend(reactor))
            sqlite = Followed(reactor, reactor.wait(SQLiteBackend.open(reactor, Path(folder) / "sqlite.db")))
            for name, *arguments in taken:
                memory.take(name, *arguments)
                sqlite.take(name, *arguments)
                if name == "advance":
                    reactor.advance(arguments[0])
            said = memory.end()
            self.assertEqual(sqlite.end(), said)
            again = reactor.wait(SQLiteBackend.open(reactor, Path(folder) / "sqlite.db"))
            self.assertEqual([reactor.wait(again.range("")), again.revision()], said[-2:])
            reactor.wait(again.close())
