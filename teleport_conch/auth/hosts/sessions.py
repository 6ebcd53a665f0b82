"""Active sessions: each lives as long as its node goes on saying so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.hosts.labels import check_printable
from teleport_conch.auth.limits import MAX_SESSIONS_PER_HOST, SESSION_S
from teleport_conch.auth.state import storing
from teleport_conch.errors import AccessDenied, BadParameter, LimitExceeded, NotFound, TeleportError
from teleport_conch.resources.session import ActiveSession
from teleport_conch.storage.backend import IBackend

PREFIX = "ssh_sessions/default/"
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@define(eq=False)
class Sessions:
    """The sessions of all nodes."""

    _clocks: Clocks
    _backend: IBackend
    _ends: dict[str, dict[str, float]] = field(init=False, factory=dict)  # by host, then by session

    async def all(self) -> tuple[ActiveSession, ...]:
        """The oldest first."""
        found = [
            ActiveSession.from_json(storing.decode(item)) for item in await storing.everything(self._backend, PREFIX)
        ]
        return tuple(sorted(found, key=lambda session: session.created_at))

    async def host_of(self, session_id: str) -> str | None:
        """The UUID of the host on which a session runs; None where none runs that is called so."""
        session = await self._find(session_id)
        return None if session is None else session.server_id

    async def put(self, session: ActiveSession) -> None:
        """Begin a session, or say that it goes on. The caller's right to speak for ``server_id`` was checked.

        :raises AccessDenied: another host has a session with this id.
        """
        check_printable("A session", session.user, session.login, session.server_hostname, session.remote_addr)
        path, before = _path(session.id), await self._find(session.id)
        if before is not None and before.server_id != session.server_id:
            raise AccessDenied("The session is another host's.")
        if before is not None:
            session = evolve(session, created_at=before.created_at)
        expires_at = self._clocks.wall() + SESSION_S
        self._count(session, expires_at)
        await self._backend.put(path, storing.encode(session.to_json()), expires_at)

    async def hear(
        self, host_uuid: str, running: Sequence[ActiveSession], ended: Sequence[str]
    ) -> tuple[tuple[str, TeleportError], ...]:
        """What a host says of its sessions, which it does for all of them at once.

        :return: the ids of those that are refused, and why; the others are heard all the same.
        """
        work = [(session.id, Deferred.fromCoroutine(self.put(session))) for session in running]
        work += [(each, Deferred.fromCoroutine(self._end(host_uuid, each))) for each in ended]
        refused = []
        for session_id, written in work:
            try:
                await written
            except TeleportError as reason:
                refused.append((session_id, reason))
        return tuple(refused)

    async def _end(self, host_uuid: str, session_id: str) -> None:
        session = await self._find(session_id)
        if session is not None and session.server_id != host_uuid:
            raise AccessDenied("The session is another host's.")
        if session is not None:
            await self.remove(session)

    def _count(self, session: ActiveSession, expires_at: float) -> None:
        ends = self._ends.setdefault(session.server_id, {})
        if session.id not in ends and len(ends) >= MAX_SESSIONS_PER_HOST:
            now = self._clocks.wall()
            self._ends[session.server_id] = ends = {id_: end for id_, end in ends.items() if end > now}
            if len(ends) >= MAX_SESSIONS_PER_HOST:
                raise LimitExceeded(f"A host has at most {MAX_SESSIONS_PER_HOST} sessions at one time.")
        ends[session.id] = expires_at

    async def remove(self, session: ActiveSession) -> None:
        """A session ended."""
        ends = self._ends.get(session.server_id, {})
        ends.pop(session.id, None)
        if not ends:
            self._ends.pop(session.server_id, None)
        with suppress(NotFound):
            await self._backend.delete(_path(session.id))

    async def _find(self, session_id: str) -> ActiveSession | None:
        try:
            return ActiveSession.from_json(storing.decode(await self._backend.get(_path(session_id))))
        except NotFound:
            return None


def _path(session_id: str) -> str:
    if not _ID.fullmatch(session_id):
        raise BadParameter("The id of a session consists of letters, digits and hyphens.")
    return PREFIX + session_id
