"""Calls to whichever auth server answers: kept connections, limits of time, and the first cause of a failure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IResponse

from teleport_conch.client.exchange import Call, read_json, send, server_time
from teleport_conch.client.failures import NETWORK_ERRORS, Unanswered, unanswered, within
from teleport_conch.client.lines import LineReader
from teleport_conch.client.skew import explanation, first_cause
from teleport_conch.client.tls import Dialler, IClusterPolicy
from teleport_conch.errors import (
    BadParameter,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRefused,
    ConnectionProblem,
    TeleportError,
)

#: Seconds until a TCP connection is there.
CONNECT_TIMEOUT_S = 10.0
#: Seconds that an unused connection is kept; auth closes one a little later.
KEPT_CONNECTION_S = 50
#: Connections to one address that are kept while unused.
KEPT_CONNECTIONS = 4
#: Calls under way at once; the next ones wait.
MAX_CALLS = 32
#: Seconds that closing waits for the other side.
CLOSE_TIMEOUT_S = 1.0

_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", re.ASCII)
_Answer = TypeVar("_Answer")


def check_addresses(addresses: Sequence[str]) -> None:
    """:raises BadParameter: there is none, or one is not ``host:port``."""
    if not addresses:
        raise BadParameter("No address of an auth server is given; set teleport.auth_servers in the configuration.")
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise BadParameter(f"{address!r} is not the address of an auth server, such as auth.example.com:3025.")


class _NoAnswer(Exception):
    """One attempt at one address failed."""

    def __init__(self, why: Unanswered) -> None:
        super().__init__(why)
        self.why = why


class Transport:
    """Sends calls to the first of ``addresses`` that answers, and stays with that one.

    :param addresses: ``host:port`` each.
    :param timeout_s: seconds that one attempt at one address may take, from connecting to the last byte.
    """

    def __init__(
        self, reactor: IReactorTime, addresses: Sequence[str], policy: IClusterPolicy, timeout_s: float
    ) -> None:
        check_addresses(addresses)
        self._reactor = reactor
        self._addresses = tuple(addresses)
        self._timeout_s = timeout_s
        self._answered = self._addresses[0]
        self._slots = DeferredSemaphore(MAX_CALLS)
        self._pool = self._new_pool()
        self.use_policy(policy)
        self.skew_s: float | None = None
        """The server's clock minus ours at the last answer, in seconds; None before the first."""

    def use_policy(self, policy: IClusterPolicy) -> None:
        """Connections made from now on follow *policy*; calls under way end on their old ones."""
        self._pool.cachedConnectionTimeout = 0
        old, self._pool = self._pool, self._new_pool()
        old.closeCachedConnections()
        self._policy = policy
        dialler = Dialler(self._reactor, policy, CONNECT_TIMEOUT_S)
        self._http = HTTPClient(Agent.usingEndpointFactory(self._reactor, dialler, self._pool))

    def _new_pool(self) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(self._reactor)
        pool.retryAutomatically = False
        pool.cachedConnectionTimeout = KEPT_CONNECTION_S
        pool.maxPersistentPerHost = KEPT_CONNECTIONS
        return pool

    async def call(self, call: Call) -> object:
        """What the server answered.

        :raises ConnectionProblem: no address answered; the sentence is that of the first.
        :raises ClockSkew: TLS failed, and a wrong clock explains it.
        :raises TeleportError: what the server answered, or found wrong with TLS.
        """
        await self._slots.acquire()
        try:
            return await self._somewhere(call, read_json)
        finally:
            self._slots.release()

    async def stream(self, call: Call, on_line: Callable[[dict[str, object]], None]) -> None:
        """Hands each JSON line of an endless answer to *on_line*, until the server ends it.

        :raises TeleportError: as :meth:`call`, and what *on_line* raises.
        """
        response = await self._somewhere(call, _opened)
        reader = LineReader(self._reactor, on_line)
        response.deliverBody(reader)
        try:
            await reader.ended
        except NETWORK_ERRORS as reason:
            raise unanswered(reason, self._answered).error from None

    async def close(self) -> None:
        """Ends the connections that are not in use."""
        self._pool.cachedConnectionTimeout = 0
        closed: Deferred[None] = Deferred()

        def close(_: object) -> None:
            if not closed.called:
                closed.callback(None)

        self._pool.closeCachedConnections().addBoth(close)
        with suppress(defer.TimeoutError):
            await closed.addTimeout(CLOSE_TIMEOUT_S, self._reactor)

    async def _somewhere(self, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        first: TeleportError | None = None
        for address in self._in_order():
            try:
                return await self._persistently(address, call, read)
            except _NoAnswer as failed:
                first = first or await self._cause(address, failed.why)
                if failed.why.delivered and not call.repeatable:
                    break
        raise first or ConnectionProblem("There is no auth server to ask.")

    def _in_order(self) -> list[str]:
        """As configured, but first the one that answered last."""
        return sorted(self._addresses, key=lambda address: address != self._answered)

    async def _cause(self, address: str, why: Unanswered) -> TeleportError:
        if not why.tls:
            return why.error
        return await first_cause(self._reactor, address, self._policy, why.error)

    async def _persistently(self, address: str, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        try:
            return await self._once(address, call, read)
        except _NoAnswer as failed:
            if not (failed.why.lost and call.repeatable):
                raise
        # A connection that was kept may have ended while the call was on its way: once more, over a new one.
        return await self._once(address, call, read)

    async def _once(self, address: str, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        try:
            return await within(self._reactor, self._timeout_s, self._exchange(address, call, read))
        except NETWORK_ERRORS as reason:
            raise _NoAnswer(unanswered(reason, address)) from None

    async def _exchange(self, address: str, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        response = await send(self._reactor, self._http, address, call)
        self._answered = address
        theirs = server_time(response)
        if theirs is not None:
            self.skew_s = theirs - self._reactor.seconds()
        try:
            return await read(response)
        except (CertificateExpired, CertificateNotYetValid) as problem:
            raise self._explained(problem, theirs, address) from None

    def _explained(self, problem: CertificateRefused, theirs: float | None, address: str) -> TeleportError:
        """Our certificate was refused for its times: perhaps it is only a clock that is wrong."""
        if theirs is None:
            return problem
        return explanation(problem, None, self._policy.certificate(), self._reactor.seconds(), theirs, address)


async def _opened(response: IResponse) -> IResponse:
    """A stream that has begun; any other answer is an error."""
    if response.code != 200:
        await read_json(response)
        raise ConnectionProblem(f"The auth server answered {response.code} where a stream is due.")
    return response
