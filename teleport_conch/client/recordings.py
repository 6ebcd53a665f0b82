"""Calls about recorded sessions."""

from __future__ import annotations

from urllib.parse import quote

from attrs import frozen

from teleport_conch.client.answers import items
from teleport_conch.client.exchange import Call
from teleport_conch.client.transport import Transport
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.recording import Recording

_RECORDINGS = "/v1/namespaces/default/recordings"
_SESSIONS = "/v1/namespaces/default/sessions"


@frozen
class Recordings:
    """Calls of :class:`~teleport_conch.client.api.AuthClient`, over its connections and with its errors."""

    _transport: Transport

    # What a node does.

    async def send_slice(self, session_id: str, encoded: bytes) -> tuple[int, str]:
        """Hand in the next slice of a session of the node that calls. Once this returns, auth has it on its disk.

        Sending the last slice that auth has once more does no harm, and is answered alike.

        :return: the index that is due next, and the SHA-256 of the slice that was sent as 64 hexadecimal digits.
        :raises RecordingOrder: another slice is due; the facts ``next`` and ``head`` say which.
        :raises DiskLow, StorageError, LimitExceeded: auth has no room, or too much to do; try again later.
        :raises RecordingClosed: auth has the last slice already, and this is another.
        :raises BadParameter, AccessDenied, TooLarge: auth will never take it.
        """
        path = f"{_SESSIONS}/{_part(session_id)}/slices"
        answer = Fields(await self._transport.call(Call("POST", path, body=encoded)), "answer")
        return int(answer.number("next")), answer.text("head", max_chars=64)

    # What people do.

    async def all(
        self,
        *,
        from_: float | None = None,
        to: float | None = None,
        user: str = "",
        node: str = "",
        limit: int | None = None,
    ) -> tuple[Recording, ...]:
        """Those that the caller may list, the newest first.

        :param from_: POSIX seconds from which on the session began; ``to``, before which.
        :param node: a node's UUID or its name.
        :raises LimitExceeded: too many had to be looked at; narrow it by ``from_`` and ``to``.
        """
        times = (("from", from_), ("to", to), ("limit", limit))
        query = [(key, f"{value:.3f}".rstrip("0").rstrip(".")) for key, value in times if value is not None]
        query += [(key, value) for key, value in (("user", user), ("node", node)) if value]
        return items(await self._transport.call(Call("GET", _RECORDINGS, tuple(query))), Recording.from_json)

    async def get(self, session_id: str) -> Recording:
        """:raises NotFound: there is none. :raises AccessDenied: it is not the caller's to see."""
        return Recording.from_json(await self._transport.call(Call("GET", _path(session_id))))

    async def stream(self, session_id: str, offset: int) -> bytes:
        """Up to 1 MiB of the recording from a byte on; nothing at its end, or at what there is of it so far.

        :raises NotFound: there is none. :raises AccessDenied: the caller may not play it.
        """
        call = Call("GET", f"{_path(session_id)}/stream", (("offset", str(offset)),))
        return await self._transport.call_for_bytes(call)

    async def remove(self, session_id: str) -> None:
        """:raises InUse: it is still being made."""
        await self._transport.call(Call("DELETE", _path(session_id)))


def _path(session_id: str) -> str:
    return f"{_RECORDINGS}/{_part(session_id)}"


def _part(text: str) -> str:
    """One segment of a path, whatever it holds."""
    return quote(text.replace("/", "%"), safe="")
