"""The one way into the web room: every route is registered here, with who may come, and nothing else reaches a handler.

Three things stand before each handler: how often an address may ask, whether another site sent the request, and whose
session it is. What a client says of itself in ``X-Forwarded-For`` or the like is read nowhere.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from attrs import define, field, frozen
from klein import Klein
from twisted.logger import Logger
from twisted.web.server import Request

from teleport_conch.client.people import SessionOwner
from teleport_conch.errors import BadParameter, NotFound, SessionEnded, TeleportError, Unauthenticated
from teleport_conch.https.places import host_of
from teleport_conch.https.routing import Routes
from teleport_conch.https.site import BoundedRequest
from teleport_conch.https.throttle import Failures, InProgress, Reports
from teleport_conch.web import limits
from teleport_conch.web.answers import Answer, Cookie, Data, Elsewhere, cookies_in
from teleport_conch.web.guard import (
    FORM_COOKIE,
    SESSION_COOKIE,
    CrossSite,
    Origin,
    check_token,
)
from teleport_conch.web.layout import refusal_page
from teleport_conch.web.surroundings import Surroundings
from teleport_conch.web.visit import Visit, bearer, form_fields, header
from teleport_conch.web.writing import write

API_PREFIXES = ("", "/v1")
"""Teleport serves its web API below both."""
LOGIN = "/web/login"
DESTINATIONS = ("/web/account",)
"""Where a login may lead to."""
_FORM_COOKIE_BYTES = 16
_READING = ("GET", "HEAD")


class Who(enum.Enum):
    """Who may come by a route."""

    ANYBODY = "anybody"
    PERSON = "person"
    """Who has a session."""


@frozen
class Route:
    """One route. ``page`` is whether it is for browsers, which are answered HTML and send forms."""

    method: str
    path: str
    who: Who
    page: bool

    @property
    def changes(self) -> bool:
        return self.method not in _READING


Handler = Callable[..., Awaitable[Answer]]
_Handler = TypeVar("_Handler", bound=Handler)


@define(eq=False)
class Gate:
    """Registers routes, and stands before each of them."""

    surroundings: Surroundings
    app: Klein = field(init=False, factory=Klein)
    routes: dict[str, Route] = field(init=False, factory=dict)
    _calls: Failures = field(init=False)
    _in_progress: InProgress = field(init=False)
    _reports: Reports = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        monotonic = self.surroundings.clock.seconds
        per_minute = self.surroundings.rank.part(limits.CALLS_PER_MINUTE)
        self._calls = Failures(monotonic, per_minute, "requests")
        self._in_progress = InProgress(limits.MAX_IN_PROGRESS, "requests")
        self._reports = Reports.of(monotonic)

    def resource(self) -> Routes:
        """What answers requests by the routes."""
        return Routes(self.app, self._no_route)

    def page(self, method: str, path: str, who: Who = Who.ANYBODY) -> Callable[[_Handler], _Handler]:
        """Register a handler of a page. It gets a :class:`Visit` and the parts of the path."""
        return self._register(Route(method, path, who, page=True))

    def api(self, method: str, path: str, who: Who = Who.ANYBODY) -> Callable[[_Handler], _Handler]:
        """Register a handler of the web API, under each of its prefixes."""

        def register(handler: _Handler) -> _Handler:
            for prefix in API_PREFIXES:
                self._register(Route(method, prefix + path, who, page=False))(handler)
            return handler

        return register

    def _register(self, route: Route) -> Callable[[_Handler], _Handler]:
        def register(handler: _Handler) -> _Handler:
            name = f"{route.method} {route.path}"
            self.routes[name] = route

            async def guarded(request: Request, **parts: str) -> bytes | None:
                return await self._serve(route, handler, request, parts)

            self.app.route(route.path, methods=[route.method], endpoint=name)(guarded)
            return handler

        return register

    async def _serve(self, route: Route, handler: Handler, request: Request, parts: Mapping[str, str]) -> bytes | None:
        visit = self._visit(request)
        try:
            with self._in_progress.one():
                await self._admit(route, visit)
                answer = await handler(visit, **parts)
        except TeleportError as reason:
            answer = self._refusal(route, visit, reason)
        except Exception:  # noqa: BLE001 - the edge: what nobody foresaw is logged, and its text is not answered
            self._log.failure("A request of {route} failed.", route=f"{route.method} {route.path}")
            answer = self._refusal(route, visit, TeleportError("The proxy failed; its log says why."))
        return self._answer(visit, answer)

    def _visit(self, request: Request) -> Visit:
        assert isinstance(request, BoundedRequest)
        address = host_of(request.getClientAddress())
        cookies = cookies_in(header(request, "cookie"))
        fresh = "" if cookies.get(FORM_COOKIE) else self.surroundings.entropy(_FORM_COOKIE_BYTES).hex()
        asks_for_code = self._told(self.surroundings.second_factor) != "off"
        return Visit(request, address, cookies, fresh_cookie=fresh, asks_for_code=asks_for_code)

    # What stands before a handler.

    async def _admit(self, route: Route, visit: Visit) -> None:
        self._calls.check(visit.address)
        self._calls.add(visit.address)
        if route.changes:
            self._check_origin(route, visit)
        if route.who is Who.PERSON:
            visit.owner = await self._owner(visit)
            if not route.page:
                self._guarded(route, visit, lambda: check_token(visit.session, bearer(visit.request)))
        if route.page and route.changes:
            visit.fields = form_fields(visit.request)
            token = visit.fields.get("csrf", "")
            self._guarded(route, visit, lambda: check_token(self._old_form_cookie(visit), token))

    def _check_origin(self, route: Route, visit: Visit) -> None:
        request = visit.request
        origin = Origin(header(request, "sec-fetch-site"), header(request, "origin"), header(request, "host"))
        self._guarded(route, visit, origin.check)
        wanted = b"application/x-www-form-urlencoded" if route.page else b"application/json"
        if request.media_type != wanted and not (route.method == "DELETE" and not request.media_type):
            raise BadParameter(f"The body of the request has to be {wanted.decode()}.")

    def _guarded(self, route: Route, visit: Visit, check: Callable[[], None]) -> None:
        try:
            check()
        except CrossSite as reason:
            if self._reports.allow(visit.address):
                self.surroundings.emit(
                    "web.refused",
                    action=f"{route.method} {route.path}",
                    error=reason.sentence,
                    user=visit.owner.user if visit.owner else None,
                    addr_remote=visit.address,
                )
            raise

    def _old_form_cookie(self, visit: Visit) -> str:
        """The cookie that the browser had when it got the form; one that we make up now does not count."""
        return visit.session if visit.owner else visit.cookies.get(FORM_COOKIE, "")

    async def _owner(self, visit: Visit) -> SessionOwner:
        if not visit.session:
            raise Unauthenticated("This needs a session. Log in first.")
        return await self.surroundings.people().web_session(visit.session, visit.address)

    # Answers.

    def _refusal(self, route: Route, visit: Visit, reason: TeleportError) -> Answer:
        if not route.page:
            return Data(reason.to_json(), reason.http_status)
        if isinstance(reason, Unauthenticated | SessionEnded):
            gone = (Cookie(SESSION_COOKIE, ""),) if visit.session else ()
            return Elsewhere(login_path(route.path), gone)
        return refusal_page(reason)

    def _answer(self, visit: Visit, answer: Answer) -> bytes:
        fresh = (Cookie(FORM_COOKIE, visit.fresh_cookie),) if visit.owner is None and visit.fresh_cookie else ()
        return write(visit.request, answer, fresh, self._told(self.surroundings.cluster_name))

    def _told(self, ask: Callable[[], str]) -> str:
        """What a page shows of the cluster; empty where auth is away for so long that no copy is believed."""
        try:
            return ask()
        except TeleportError:
            return ""

    def _no_route(self, request: Request) -> bytes | None:
        assert isinstance(request, BoundedRequest)
        missing = NotFound("There is no such page. Look at the address, or begin at the front page.")
        is_api = request.path.startswith((b"/webapi", b"/v1"))
        answer = Data(missing.to_json(), missing.http_status) if is_api else refusal_page(missing)
        return write(request, answer, (), self._told(self.surroundings.cluster_name))


def login_path(wanted: str) -> str:
    """Where to log in, in order to come to a page."""
    return f"{LOGIN}?next={wanted}" if wanted in DESTINATIONS else LOGIN


def destination(asked: str) -> str:
    """Where a login leads: to one of our own pages, whatever was asked for (threat 102)."""
    return asked if asked in DESTINATIONS else DESTINATIONS[0]
