"""The files of recordings as the reactor sees them: in threads, and a few at one time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import DeferredSemaphore

from teleport_conch.auth.events import InThread
from teleport_conch.auth.limits import FILES_AT_ONCE
from teleport_conch.auth.recordings.files import Files

_Answer = TypeVar("_Answer")


@define(eq=False)
class Disk:
    """Does what blocks elsewhere. Beyond :data:`FILES_AT_ONCE` it waits, and leaves threads to others."""

    _files: Files
    _in_thread: InThread
    _slots: DeferredSemaphore = field(init=False, factory=lambda: DeferredSemaphore(FILES_AT_ONCE))

    async def run(self, call: Callable[[Files], _Answer]) -> _Answer:
        await self._slots.acquire()
        try:
            return await self._in_thread(lambda: call(self._files))
        finally:
            self._slots.release()
