"""What a call of the API is: what its route asks for, who makes it, and what it may be answered.

:mod:`teleport_conch.auth.routes.gate` makes calls of requests.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping

from attrs import define, field, frozen
from twisted.web.server import Request

from teleport_conch.access.decision import Action, Caller, Facts, Target, decide
from teleport_conch.auth.hosts.hosts import Registration
from teleport_conch.auth.rules.callers import Peer
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.https.bodies import decoded
from teleport_conch.https.places import host_of


@frozen
class Streamed:
    """In place of an answer: the handler wrote it itself."""


@frozen
class Encoded:
    """An answer that is JSON already."""

    text: bytes


@frozen
class Octets:
    """An answer that is no JSON."""

    data: bytes = field(repr=False)


Answer = Mapping[str, object] | Encoded | Octets | Streamed | None
"""What JSON can hold; None says that it is done."""
FindResource = Callable[[Mapping[str, str]], Mapping[str, object] | None]
FindTarget = Callable[[Mapping[str, str]], Awaitable[Target | None]]

_NO_FACTS = Facts()
LOCAL_ADMIN = "tctl on the auth host"


@frozen
class Needs:
    """What a route asks of its caller.

    :ivar owner: the part of the path that is the UUID of the host which the resource belongs to; ``*`` for routes that
        serve whoever may do this to resources of their own, and then look at each of them.
    :ivar resource: finds the resource by the parts of the path, for roles with conditions about it; None from it where
        there is none.
    :ivar target: the same where the resource has to be waited for; it then says whose it is, too. Where there is none,
        nothing is known that a condition could be about.
    :ivar lists_each: whether it is a list of which the route decides on each item, by rules that may be about the item.
        All other lists are refused where a rule that denies may be about an item.
    """

    verb: str
    kind: str
    owner: str = ""
    resource: FindResource | None = None
    target: FindTarget | None = None
    lists_each: bool = False
    action: Action = field(init=False)

    @action.default
    def _action(self) -> Action:
        return Action(self.verb, self.kind)


ANYBODY = None
"""In place of :class:`Needs`: a route for callers without a certificate."""


@frozen
class Route:
    """One route of the table.

    :ivar streams: its answer goes on until the client leaves. All others are worked on to their end even if the client
        is gone by then, so that nothing is left half done.
    """

    method: str
    path: str
    needs: Needs | None
    streams: bool = False


@define(eq=False)
class Call:
    """One call of the API, past the gate.

    :ivar peer: who calls; None on routes for anybody.
    :ivar registration: of a host that joined.
    :ivar address: where the call came from, without the port.
    """

    request: Request
    peer: Peer | None
    registration: Registration | None
    address: str
    now: float

    @property
    def known(self) -> Peer:
        assert self.peer is not None, "a route for known callers only"
        return self.peer

    @property
    def by(self) -> str:
        """The caller as events and tokens name it."""
        if self.known.role == "Admin":
            return LOCAL_ADMIN
        return self.known.identity.name if self.known.identity.kind == "user" else str(self.known.caller)

    def may(self, verb: str, kind: str, target: Target) -> bool:
        """Whether the caller may do this."""
        try:
            decide(self.known.caller, Action(verb, kind), target, _NO_FACTS, self.now)
        except AccessDenied:
            return False
        return True

    def body(self) -> object:
        """The JSON of the request.

        :raises BadParameter: it is none.
        """
        return decoded(self.data())

    def data(self) -> bytes:
        """The body of the request as it is; at once, since it is bounded."""
        assert self.request.content is not None
        body: bytes = self.request.content.read()
        return body

    def query(self, name: str, default: str = "") -> str:
        """The last value of a parameter."""
        return (self.queries(name) or [default])[-1]

    def number(self, name: str, default: float) -> float:
        """A parameter that is a number.

        :raises BadParameter: it is none.
        """
        text = self.query(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadParameter(f"The parameter {name} has to be a number.")
        return value

    def between(self) -> tuple[float, float]:
        """``from`` and ``to`` of a search, POSIX seconds: from the beginning, and to now, where they are left out.

        :raises BadParameter: they are no numbers, or there is nothing between them.
        """
        start, end = self.number("from", 0.0), self.number("to", self.now + 1.0)
        if start > end:
            raise BadParameter("Nothing lies between from and to: from is the later one. Without to, it ends now.")
        return start, end

    def queries(self, name: str) -> list[str]:
        values = self.request.args.get(name.encode("ascii"), [])
        return [value.decode("utf-8", "replace") for value in values]


def address_of(request: Request) -> str:
    """Where a request came from: the IP address, an IPv4 one in its own form."""
    return host_of(request.getClientAddress())


def target_of(caller: Caller, needs: Needs, parts: Mapping[str, str]) -> Target:
    """What a call is about, as far as its path says."""
    resource = None if needs.resource is None else needs.resource(parts)
    if needs.owner != "*":
        return Target(owner=parts.get(needs.owner, ""), resource=resource)
    person = caller.name if caller.kind == "user" else ""
    return Target(owner=caller.host_uuid, user=person, participants=(person,) if person else (), resource=resource)
