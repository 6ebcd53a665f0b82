"""From a request to the handler of its route, in place of the resource that Klein brings for that.

Routes are declared with Klein, and its map finds them. Klein's own resource does much for each request that the API has
no use for: handlers that answer further resources or templates, addresses built from the host that the client named,
errors by their type. ``docs/decisions/own-resource-for-routes.rst`` has what that cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from werkzeug.exceptions import HTTPException

_HOST = "auth"
"""The API is one host, whatever the client calls it."""


class Routes(Resource):
    """Answers each request by its route, with the bytes that the handler answers; None if it wrote them itself.

    Nothing is cancelled when a client leaves: what was begun is done, and not answered.

    :param no_route: what is answered where there is no route.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, app: Klein, no_route: Callable[[Request], bytes | None]) -> None:
        super().__init__()
        self._app = app
        self._map = app.url_map.bind(_HOST)
        self._no_route = no_route

    def render(self, request: Request) -> int:
        path = unquote_to_bytes(request.path).decode("utf-8", "replace")
        try:
            name, parts = self._map.match(path, request.method.decode("ascii", "replace"))
        except HTTPException:  # another method of a path that exists, too, and one with a slash too many
            _finish(self._no_route(request), request)
            return NOT_DONE_YET
        served = cast("Deferred[bytes | None]", self._app.execute_endpoint(name, request, **parts))
        served.addCallback(_finish, request).addErrback(self._failed, name)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, name: str) -> None:
        self._log.failure("The answer of {route} could not be written.", failure, route=name)


def _finish(body: bytes | None, request: Request) -> None:
    if request.channel is not None:  # the client is still there
        if body is not None:
            request.write(body)
        request.finish()
