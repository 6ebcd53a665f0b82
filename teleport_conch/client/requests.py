"""Calls about access requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from teleport_conch.client.answers import items
from teleport_conch.client.exchange import Call
from teleport_conch.client.transport import Transport
from teleport_conch.errors import ConnectionProblem, NotFound
from teleport_conch.resources.access_request import AccessRequest, Annotations, RequestState
from teleport_conch.resources.plugin_data import Data, PluginData

POLL_S = 2.0
"""Between two questions of somebody who waits for a decision."""

_REQUESTS = "/v1/access_requests"


@frozen
class Requests:
    """Calls of :class:`~teleport_conch.client.api.AuthClient`, over its connections and with its errors."""

    _transport: Transport

    async def all(self) -> tuple[AccessRequest, ...]:
        """Those that the caller may see: all, or their own."""
        return items(await self._transport.call(Call("GET", _REQUESTS)), AccessRequest.from_json)

    async def get(self, request_id: str) -> AccessRequest:
        """:raises NotFound: it is over, was removed, or never was."""
        return AccessRequest.from_json(await self._transport.call(Call("GET", _path(request_id))))

    async def create(
        self, roles: Sequence[str], reason: str = "", *, user: str = "", dry_run: bool = False
    ) -> AccessRequest:
        """Ask for roles; ``*`` stands for all that may be asked for.

        :param user: for whom, if not for the caller.
        :param dry_run: answer what would be asked, and ask nothing.
        :raises AccessDenied: the person may not ask for these.
        """
        body = {"roles": list(roles), "reason": reason, "user": user, "dry_run": dry_run}
        return AccessRequest.from_json(await self._once("POST", _REQUESTS, body))

    async def resolve(
        self,
        request_id: str,
        state: RequestState,
        *,
        reason: str = "",
        annotations: Annotations | None = None,
        roles: Sequence[str] = (),
        delegator: str = "",
    ) -> AccessRequest:
        """Approve or deny one that is pending.

        :param roles: those that are approved; all, if none are named.
        :raises NotHeld: it would lend what the caller does not hold.
        """
        said = {name: list(values) for name, values in (annotations or {}).items()}
        how = {"state": state.name, "reason": reason, "annotations": said, "roles": list(roles)}
        body = {**how, "delegator": delegator}
        return AccessRequest.from_json(await self._once("PUT", f"{_path(request_id)}/state", body))

    async def remove(self, request_id: str) -> None:
        """What it lent is lent no more."""
        await self._transport.call(Call("DELETE", _path(request_id)))

    async def plugin_data(self, request_id: str) -> PluginData:
        """What plugins keep about one. :raises NotFound: it is over, was removed, or never was."""
        return PluginData.from_json(await self._transport.call(Call("GET", _kept(request_id))))

    async def update_plugin_data(self, request_id: str, plugin: str, put: Data, expect: Data) -> PluginData:
        """Have a plugin keep ``put`` as well, where what it keeps is as ``expect`` says; an empty value is none.

        :raises CompareFailed: it is not.
        """
        body = {"plugin": plugin, "set": dict(put), "expect": dict(expect)}
        return PluginData.from_json(await self._once("PUT", _kept(request_id), body))

    async def decided(self, clock: IReactorTime, request: AccessRequest) -> AccessRequest:
        """The request once it is approved or denied. While auth cannot be reached it is asked again.

        :raises NotFound: it was removed, or is over.
        """
        until = clock.seconds() + request.expires_at - request.created_at  # the clock may be another than auth's
        while request.state is RequestState.PENDING and clock.seconds() < until:
            await deferLater(clock, POLL_S)
            try:
                request = await self.get(request.name)
            except ConnectionProblem:
                continue
        if request.state is RequestState.PENDING:
            raise NotFound(f"request {request.name} is over, and nobody decided")
        return request

    async def _once(self, method: str, path: str, body: Mapping[str, object]) -> object:
        return await self._transport.call(Call(method, path, body=body, repeatable=False))


def _path(request_id: str) -> str:
    return f"{_REQUESTS}/{_quoted(request_id)}"


def _kept(request_id: str) -> str:
    return f"/v1/plugin_data/access_request/{_quoted(request_id)}"


def _quoted(request_id: str) -> str:
    return quote(request_id.replace("/", "%"), safe="")
