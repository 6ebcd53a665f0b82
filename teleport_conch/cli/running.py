"""One coroutine, from the start of the reactor to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore
from twisted.python.failure import Failure

from teleport_conch.cli.edge import Interrupted

_Value = TypeVar("_Value")


def run_to_end(reactor: IReactorCore, start: Callable[[], Awaitable[_Value]]) -> _Value:
    """Run the reactor until a coroutine has ended, and answer or raise what it ended with.

    A signal cancels it.

    :raises Interrupted: it did not come to its end.
    """
    outcome: list[_Value | Failure] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(_awaited(start))
        reactor.addSystemEventTrigger("before", "shutdown", running.cancel)
        running.addBoth(end)

    def end(result: _Value | Failure) -> None:
        outcome.append(result)
        with suppress(ReactorNotRunning):  # it is on its way down already
            reactor.stop()

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise Interrupted
    (result,) = outcome
    if not isinstance(result, Failure):
        return result
    if result.check(CancelledError):
        raise Interrupted
    assert result.value is not None
    raise result.value


async def _awaited(start: Callable[[], Awaitable[_Value]]) -> _Value:
    return await start()
