"""Long lists, gone through with turns for whatever else there is to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

ITEMS_AT_ONCE = 200
"""Items of a list that are gone through before others get their turn."""

_Item = TypeVar("_Item")


async def in_turns(timers: IReactorTime, items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """The items, one after the other."""
    for number, item in enumerate(items, 1):
        yield item
        if number % ITEMS_AT_ONCE == 0:
            await deferLater(timers, 0)
