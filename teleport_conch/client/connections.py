"""HTTPS connections to the address of one server, whatever it is called there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen
from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from teleport_conch.errors import BadParameter

#: Seconds until a TCP connection is there.
CONNECT_TIMEOUT_S = 10.0
#: Seconds that an unused connection is kept; auth closes one a little later.
KEPT_CONNECTION_S = 50
#: Connections to one address that are kept while unused.
KEPT_CONNECTIONS = 4
#: Seconds that closing waits for the other side.
CLOSE_TIMEOUT_S = 1.0

_ADDRESS = re.compile(r"(?:([\w.-]+)|\[([0-9A-Fa-f:.]+)\]):([0-9]{1,5})", re.ASCII)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host stands in brackets, and is answered without.

    :raises BadParameter: it is something else.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise BadParameter(f"{address!r} is not the address of an auth server, such as auth.example.com:3025.")
    return found[1] or found[2], int(found[3])


def check_addresses(addresses: Sequence[str]) -> None:
    """:raises BadParameter: there is none, or one is not ``host:port``."""
    if not addresses:
        raise BadParameter("No address of an auth server is given; set teleport.auth_servers in the configuration.")
    for address in addresses:
        split_address(address)


class Connections:
    """Connections to one address. :attr:`http` makes calls over them, to whatever host its URLs name."""

    def __init__(self, reactor: IReactorTime, address: str, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._pool = HTTPConnectionPool(reactor)
        self._pool.retryAutomatically = False
        self._pool.cachedConnectionTimeout = KEPT_CONNECTION_S
        self._pool.maxPersistentPerHost = KEPT_CONNECTIONS
        host, port = split_address(address)
        dialler = _Dialler(HostnameEndpoint(reactor, host, port, CONNECT_TIMEOUT_S), policy)
        self.http = HTTPClient(Agent.usingEndpointFactory(reactor, dialler, self._pool))

    def retire(self) -> Deferred[None]:
        """End the connections that are not in use now, and each of the others once it is not."""
        self._pool.cachedConnectionTimeout = 0
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def close(self) -> None:
        """The same, waiting a moment for the other side."""
        closed: Deferred[None] = Deferred()

        def close(_: object) -> None:
            if not closed.called:
                closed.callback(None)

        self.retire().addBoth(close)
        with suppress(defer.TimeoutError):
            await closed.addTimeout(CLOSE_TIMEOUT_S, self._reactor)


@implementer(IAgentEndpointFactory)
@frozen(eq=False)
class _Dialler:
    _tcp: HostnameEndpoint
    _policy: IPolicyForHTTPS

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return _Quiet(wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), self._tcp))


@implementer(IStreamClientEndpoint)
@frozen(eq=False)
class _Quiet:
    """Keeps Twisted from logging two lines for each connection."""

    _endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if isinstance(protocolFactory, Factory):
            protocolFactory.noisy = False
        return self._endpoint.connect(protocolFactory)
