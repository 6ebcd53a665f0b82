"""The one way into the API: every route is registered here, with what it needs, and nothing else reaches a handler.

A route names a verb and a kind, and whether the resource has to be the caller's own; the decision is
:func:`teleport_conch.access.decision.decide`'s. Errors become answers here, and only here.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar, cast

from attrs import define, field
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.logger import Logger, LogLevel
from twisted.web.server import Request

from teleport_conch.access.decision import Denial, Facts, Target, decide
from teleport_conch.access.reference import new_reference
from teleport_conch.access.remarks import Remark
from teleport_conch.access.trace import depends
from teleport_conch.auth.clocks import Clocks
from teleport_conch.auth.emitting import Emit
from teleport_conch.auth.hosts.hosts import Hosts, Registration
from teleport_conch.auth.routes.calls import (
    Answer,
    Call,
    Encoded,
    Needs,
    Octets,
    Route,
    Streamed,
    address_of,
    target_of,
)
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.auth.rules.locks import LockList
from teleport_conch.auth.state.storing import encode
from teleport_conch.certs.options import check_listed
from teleport_conch.errors import (
    HostBarred,
    NotFound,
    TeleportError,
    Unauthenticated,
)
from teleport_conch.https.routing import Routes
from teleport_conch.https.throttle import Reports

DONE = {"message": "ok"}
Handler = Callable[..., Awaitable[Answer]]
_Handler = TypeVar("_Handler", bound=Handler)
SERVICES_OF_AUTH = ("Admin", "Auth")
"""Roles of auth's own identities, which it makes for itself and which nobody registers."""


@define(eq=False)
class Gate:
    """Registers routes, and stands before each of them.

    :ivar _peer_of: who calls, by the connection of a request. Raises if its certificate is not believed.
    """

    _clocks: Clocks
    _hosts: Hosts
    _locks: LockList
    _emit: Emit
    _peer_of: Callable[[Request], Peer | None]
    app: Klein = field(init=False, factory=Klein)
    routes: dict[str, Route] = field(init=False, factory=dict)
    _reports: Reports = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._reports = Reports.of(self._clocks.monotonic)

    def resource(self) -> Routes:
        """What answers requests by the routes."""
        return Routes(self.app, self._no_route)

    def route(
        self, method: str, path: str, needs: Needs | None, streams: bool = False
    ) -> Callable[[_Handler], _Handler]:
        """Register a handler. It gets a :class:`Call` and the parts of the path, and answers what JSON can hold."""

        def register(handler: _Handler) -> _Handler:
            name = f"{method} {path}"
            self.routes[name] = route = Route(method, path, needs, streams)

            async def guarded(request: Request, **parts: str) -> bytes | None:
                return await self._serve(route, handler, request, parts)

            self.app.route(path, methods=[method], endpoint=name)(guarded)
            return handler

        return register

    async def _serve(self, route: Route, handler: Handler, request: Request, parts: Mapping[str, str]) -> bytes | None:
        try:
            work = handler(await self._admit(route, request, parts), **parts)
            answer = await (_until_left(request, work) if route.streams else work)
        except TeleportError as reason:
            return self._refusal(request, reason)
        except CancelledError:
            return None  # the client is gone
        except Exception:  # noqa: BLE001 - the edge: what nobody foresaw is logged, and its text is not answered
            self._log.failure("A call of {route} failed.", route=f"{route.method} {route.path}")
            return self._refusal(request, TeleportError("The auth server failed; its log says why."))
        if isinstance(answer, Streamed):
            return None
        return self._write(request, 200, DONE if answer is None else answer)

    async def _admit(self, route: Route, request: Request, parts: Mapping[str, str]) -> Call:
        address, now = address_of(request), self._clocks.wall()
        if route.needs is None:
            return Call(request, None, None, address, now)
        peer = self.peer(request)
        registration = self.registered(peer)
        target = await route.needs.target(parts) if route.needs.target else None
        self.decide(peer, route.needs, parts, address, target)
        return Call(request, peer, registration, address, now)

    def peer(self, request: Request) -> Peer:
        """Who calls.

        :raises Unauthenticated: without a certificate. :raises CertificateRefused: with one that is not believed, or
            may not be used from where the call comes from.
        """
        peer = self._peer_of(request)
        if peer is None:
            raise Unauthenticated("This call needs a certificate of the cluster; this one came without any.")
        if peer.identity.source_address:
            check_listed(peer.identity.source_address, address_of(request))
        return peer

    def registered(self, peer: Peer) -> Registration | None:
        """The registration of a host; people and auth's own services have none.

        :raises HostBarred: the host was removed, or joined again since.
        :raises HostLocked: it is a node that is locked.
        """
        if peer.identity.kind == "user" or peer.role in SERVICES_OF_AUTH:
            return None
        registration = self._hosts.check(peer.identity)
        self._locks.check_host(registration, self._clocks.wall())
        return registration

    def decide(
        self, peer: Peer, needs: Needs, parts: Mapping[str, str], address: str, target: Target | None = None
    ) -> None:
        """
        :param target: what the call is about, where more is known of it than its path says.
        :raises Denial: the caller may not do this; that is an event.
        """
        try:
            grant = decide(
                peer.caller,
                needs.action,
                target or target_of(peer.caller, needs, parts),
                Facts(locks=self._locks.every),
                self._clocks.wall(),
            )
        except Denial as reason:
            if (
                needs.lists_each
                and not reason.trace.outside
                and depends(peer.caller, needs.action, self._clocks.wall())
            ):
                return
            self._remark(reason.trace.remarks)
            self._denied(peer, needs, address, reason)
            raise
        self._remark(grant.remarks)

    def _remark(self, remarks: Iterable[Remark]) -> None:
        """What the rules of roles want logged."""
        for remark in remarks:
            self._log.emit(LogLevel.lookupByName(remark.level), "{remark}", remark=remark.text)

    def _denied(self, peer: Peer, needs: Needs, address: str, reason: Denial) -> None:
        if not self._reports.allow(address):
            return
        sentence = reason.sentence
        reason.refer_to(new_reference(os.urandom))
        fields: dict[str, object] = {
            "verb": needs.verb,
            "kind": needs.kind,
            "error": sentence,
            "reference": reason.facts["reference"],
            "roles": peer.identity.roles,
            "trace": reason.trace.lines(),
            "addr.remote": address,
        }
        who = {"node_id": peer.identity.name} if peer.identity.kind == "host" else {"user": peer.identity.name}
        self._emit("api.denied", {**fields, **who})

    # Answers.

    def begin(self, request: Request) -> None:
        """Set the headers that every answer has."""
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-teleport-time", f"{self._clocks.wall():.3f}".encode("ascii"))

    def _write(self, request: Request, status: int, answer: Mapping[str, object] | Encoded | Octets) -> bytes:
        self.begin(request)
        request.setResponseCode(status)
        if isinstance(answer, Octets):
            request.setHeader(b"content-type", b"application/octet-stream")
            body = answer.data
        else:
            body = answer.text if isinstance(answer, Encoded) else encode(answer)
        request.setHeader(b"content-length", b"%d" % len(body))
        return body

    def _refusal(self, request: Request, reason: TeleportError) -> bytes | None:
        if request.startedWriting:
            self._log.info("A watch was cut: {reason}", reason=reason.sentence)
            if request.channel is not None:
                cast(ITCPTransport, request.channel.transport).abortConnection()
            return None
        if isinstance(reason, HostBarred):
            self._log.info("Refused a host that is barred: {reason}", reason=reason.sentence)
        return self._write(request, reason.http_status, reason.to_json())

    def _no_route(self, request: Request) -> bytes | None:
        return self._refusal(request, NotFound("The API has no such route."))


async def _until_left(request: Request, work: Awaitable[Answer]) -> Answer:
    """What ``work`` answers; it is cancelled when the client leaves."""
    answering = Deferred.fromCoroutine(_awaited(work))
    request.notifyFinish().addErrback(lambda _: answering.cancel())
    return await answering


async def _awaited(work: Awaitable[Answer]) -> Answer:
    return await work
