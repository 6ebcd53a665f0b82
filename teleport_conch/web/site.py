"""The web API and the pages behind the limits of HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from teleport_conch.https.site import BoundedChannel, BoundedSite
from teleport_conch.web import account_pages, api_routes, limits, link_pages
from teleport_conch.web.gate import Gate
from teleport_conch.web.guard import SECURITY_HEADERS
from teleport_conch.web.surroundings import Surroundings


class WebChannel(BoundedChannel):
    """One connection."""

    def end(self) -> None:
        """Close it once its answer is given: somebody may be logging in, which takes a moment."""
        if self.answering:
            self.persistent = False
        else:
            self.loseConnection()


class WebSite(BoundedSite):
    """The factory of connections."""

    protocol = WebChannel

    def __init__(self, timers: IReactorTime, resource: IResource) -> None:
        super().__init__(timers, resource, limits.MAX_BODY_BYTES)

    def headers(self) -> Mapping[str, str]:
        return SECURITY_HEADERS


def open_gate(surroundings: Surroundings) -> Gate:
    """All routes."""
    gate = Gate(surroundings)
    api_routes.add(gate)
    account_pages.add(gate)
    link_pages.add(gate)
    return gate


def site_of(gate: Gate) -> WebSite:
    """What listens."""
    return WebSite(gate.surroundings.clock, gate.resource())
