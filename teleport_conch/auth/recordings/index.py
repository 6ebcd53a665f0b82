"""The list of recordings, in the storage: what is known of each, by time and by id, and which are being made.

Each is under three keys. The first sorts the newest first, so that a list reads no more than it shows::

    recordings/default/by_time/<the time before the end of all times, in milliseconds>-<session id>   the recording
    recordings/default/by_id/<session id>                                                             the key above
    recordings/default/open/<session id>                                                              while it is made
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from attrs import frozen

from teleport_conch.auth.limits import RECORDINGS_AT_ONCE
from teleport_conch.auth.state import storing
from teleport_conch.errors import NotFound
from teleport_conch.resources.recording import Recording
from teleport_conch.storage.backend import IBackend

_PREFIX = "recordings/default/"
BY_TIME = f"{_PREFIX}by_time/"
BY_ID = f"{_PREFIX}by_id/"
OPEN = f"{_PREFIX}open/"
_LAST_MS = 10**13 - 1
"""The end of all times: the year 2286."""


@frozen
class Index:
    """Writes and reads the list."""

    _backend: IBackend

    async def begin(self, recording: Recording) -> None:
        """One that is being made, whether or not it was listed before."""
        key = _key(recording)
        await self._backend.put_many(
            [
                (key, storing.encode(recording.to_json()), None),
                (BY_ID + recording.id, key.encode(), None),
                (OPEN + recording.id, b"", None),
            ]
        )

    async def finish(self, recording: Recording) -> None:
        """One that is being made no longer."""
        await self._backend.put(_key(recording), storing.encode(recording.to_json()))
        with suppress(NotFound):
            await self._backend.delete(OPEN + recording.id)

    async def find(self, session_id: str) -> Recording | None:
        try:
            key = await self._backend.get(BY_ID + session_id)
            item = await self._backend.get(key.value.decode())
        except NotFound:
            return None
        return Recording.from_json(storing.decode(item))

    async def drop(self, session_id: str) -> None:
        """Forget one, as far as it is there."""
        with suppress(NotFound):
            key = await self._backend.get(BY_ID + session_id)
            with suppress(NotFound):
                await self._backend.delete(key.value.decode())
            await self._backend.delete(BY_ID + session_id)
        with suppress(NotFound):
            await self._backend.delete(OPEN + session_id)

    async def open_ids(self) -> list[str]:
        """Those that are being made, by the id of the session."""
        return [item.key.removeprefix(OPEN) for item in await storing.everything(self._backend, OPEN)]

    async def newest(self, before: float) -> AsyncIterator[list[Recording]]:
        """All that began before an instant (POSIX seconds), the newest first, some at a time."""
        last = f"{BY_TIME}{_rank(before):013d}"
        while True:
            page = await self._backend.range(BY_TIME, start_after=last, limit=RECORDINGS_AT_ONCE)
            found = [Recording.from_json(storing.decode(item)) for item in page]
            yield [each for each in found if each.created_at < before]
            if len(page) < RECORDINGS_AT_ONCE:
                return
            last = page[-1].key


def _key(recording: Recording) -> str:
    return f"{BY_TIME}{_rank(recording.created_at):013d}-{recording.id}"


def _rank(instant: float) -> int:
    return _LAST_MS - int(max(0.0, min(instant * 1000, float(_LAST_MS))))
