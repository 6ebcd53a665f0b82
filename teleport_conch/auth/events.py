"""The cluster's log as the API sees it: hosts hand in events, and who may reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Protocol, TypeVar

from attrs import field, frozen
from twisted.internet.defer import Deferred

from teleport_conch.audit.catalogue import EVENTS
from teleport_conch.audit.event import Event, check
from teleport_conch.audit.log import EventLog
from teleport_conch.auth.limits import (
    EVENTS_FREE_BYTES,
    EVENTS_FREE_SHARE,
    EVENTS_IN_ANSWER,
    MAX_EVENTS_IN_ANSWER,
    MAX_EVENTS_IN_REQUEST,
    MAX_REMEMBERED_REFUSALS,
    REFUSALS_KEPT_S,
)
from teleport_conch.errors import BadParameter, LimitExceeded, NotFound

_Answer = TypeVar("_Answer")
_NEAR_NAMES = 3


class InThread(Protocol):
    """Calls something that blocks, elsewhere; the answer fires with what it answered."""

    def __call__(self, call: Callable[[], _Answer]) -> Deferred[_Answer]: ...


@frozen
class Events:
    """Reads and writes the log, off the reactor's thread."""

    _log: EventLog
    _in_thread: InThread
    _refusals: dict[str, Event] = field(init=False, factory=dict)

    async def take(self, values: Sequence[object], server_id: str) -> int:
        """Keep what the host ``server_id`` sent; once this returns, it is on the disk. Answers how many were new.

        :raises BadParameter: one of them is no event, or not about that host; none is kept.
        :raises DiskLow: what is left of the disk is for auth's own events and its database.
        """
        if len(values) > MAX_EVENTS_IN_REQUEST:
            raise LimitExceeded(f"A request holds at most {MAX_EVENTS_IN_REQUEST} events.")
        events = [check(value, server_id) for value in values]
        await self._in_thread(lambda: self._log.check_room(EVENTS_FREE_BYTES, EVENTS_FREE_SHARE))
        return await self.keep(events)

    async def keep(self, events: list[Event]) -> int:
        """Keep events of auth's own."""
        for event in events:
            self._remember(event)
        return await self._in_thread(lambda: self._log.append(events))

    async def refusal(self, reference: str, now: float) -> Event:
        """The event of a refusal: of those that were remembered, or of the log's last :data:`REFUSALS_KEPT_S`.

        :raises NotFound: there is none.
        """
        found = self._refusals.get(reference)
        if found is None:
            start = now - REFUSALS_KEPT_S
            found = await self._in_thread(lambda: self._log.find("reference", reference, start))
        if found is None:
            raise NotFound(
                f"No refusal with the reference {reference[:16]!a} is in the log. Check it; a node or proxy that cannot"
                " reach auth hands its events in later."
            )
        return found

    def _remember(self, event: Event) -> None:
        reference = event.get("reference")
        if isinstance(reference, str) and reference not in self._refusals:  # or a host could put others in its place
            self._refusals[reference] = event
            if len(self._refusals) > MAX_REMEMBERED_REFUSALS:
                del self._refusals[next(iter(self._refusals))]

    async def search(
        self, start: float, end: float, names: Sequence[str], limit: int = EVENTS_IN_ANSWER
    ) -> list[Event]:
        """The newest ``limit`` events between two POSIX times, of some names or of all; the oldest of them first.

        :raises BadParameter: too many, or of a name that no event has.
        """
        if not 1 <= limit <= MAX_EVENTS_IN_ANSWER:
            raise BadParameter(f"A search answers 1 to {MAX_EVENTS_IN_ANSWER} events, and not {limit}.")
        for name in names:
            _check_name(name)
        return await self._in_thread(lambda: self._log.search(start, end, names, limit))

    def close(self) -> None:
        self._log.close()


def _check_name(name: str) -> None:
    """Of a name that is misspelt, nobody would notice that it finds nothing."""
    if name not in EVENTS:
        near = get_close_matches(name[:64], EVENTS, _NEAR_NAMES)
        meant = f"did you mean {' or '.join(near)}?" if near else "the page about events in the manual has them all."
        raise BadParameter(f"There is no event {name[:64]!a}; {meant}")
