"""Reactors for tests of stores: their time is the test's, their threads are real."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from teleport_conch.storage.writer import ThreadedReactor

Answer = TypeVar("Answer")


class TrialReactor(Clock):
    """The reactor that trial runs, with a clock of the test's."""

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002
        from twisted.internet import reactor

        cast(ThreadedReactor, reactor).callFromThread(callable, *args, **kwargs)


class HandReactor(Clock):
    """Runs what other threads send only while the test waits for something: for tests that are not asynchronous."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002
        self.sent.put(partial(callable, *args, **kwargs))

    def wait(self, what: Coroutine[Deferred[Any], Any, Answer] | Deferred[Answer]) -> Answer:
        """The result of *what*, or its error."""
        waiting = what if isinstance(what, Deferred) else Deferred.fromCoroutine(what)
        results: list[Answer] = []
        errors: list[Exception] = []
        waiting.addCallbacks(results.append, lambda failure: errors.append(failure.value))
        while not results and not errors:
            self.sent.get(timeout=60)()
        if errors:
            raise errors[0]
        return results[0]
