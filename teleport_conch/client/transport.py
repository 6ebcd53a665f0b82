"""Calls to whichever auth server answers: kept connections, limits of time, and the first cause of a failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IResponse

from teleport_conch.client.connections import Connections, check_addresses
from teleport_conch.client.exchange import Call, read_bytes, read_json, send, server_time
from teleport_conch.client.failures import AUTH, NETWORK_ERRORS, Called, Unanswered, unanswered, within
from teleport_conch.client.lines import LineReader
from teleport_conch.client.skew import explanation, first_cause
from teleport_conch.client.tls import IClusterPolicy
from teleport_conch.errors import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRefused,
    ConnectionProblem,
    HostBarred,
    TeleportError,
)

#: Calls under way at once; the next ones wait.
MAX_CALLS = 32

_Answer = TypeVar("_Answer")


class _NoAnswer(Exception):
    """One attempt at one address failed."""

    def __init__(self, why: Unanswered) -> None:
        super().__init__(why)
        self.why = why


class Transport:
    """Sends calls to the first of ``addresses`` that answers, and stays with that one.

    :param addresses: ``host:port`` each.
    :param timeout_s: seconds that one attempt at one address may take, from connecting to the last byte.
    :param called: what answers there.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        addresses: Sequence[str],
        policy: IClusterPolicy,
        timeout_s: float,
        called: Called = AUTH,
    ) -> None:
        check_addresses(addresses)
        self._called = called
        self._reactor = reactor
        self._addresses = tuple(addresses)
        self._timeout_s = timeout_s
        self._answered = self._addresses[0]
        self._slots = DeferredSemaphore(MAX_CALLS)
        self._connections: dict[str, Connections] = {}
        self.use_policy(policy)
        self.skew_s: float | None = None
        """The server's clock minus ours at the last answer, in seconds; None before the first."""

    def use_policy(self, policy: IClusterPolicy) -> None:
        """Connections made from now on follow *policy*; calls under way end on their old ones."""
        for old in self._connections.values():
            old.retire()
        self._policy = policy
        self._connections = {address: Connections(self._reactor, address, policy) for address in self._addresses}

    async def call(self, call: Call) -> object:
        """What the server answered.

        :raises ConnectionProblem: no address answered; the sentence is that of the first.
        :raises ClockSkew: TLS failed, and a wrong clock explains it.
        :raises TeleportError: what the server answered, or found wrong with TLS.
        """
        return await self._in_turn(call, read_json)

    async def call_for_bytes(self, call: Call) -> bytes:
        """The same for an answer that is no JSON."""
        return await self._in_turn(call, read_bytes)

    async def _in_turn(self, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        await self._slots.acquire()
        try:
            return await self._somewhere(call, read)
        except HostBarred as reason:
            if not self._called.instead:
                raise
            raise ConnectionProblem(self._called.instead) from reason
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
            raise unanswered(reason, self._answered, self._called).error from None

    async def close(self) -> None:
        """Ends the connections that are not in use."""
        for connections in self._connections.values():
            await connections.close()

    async def _somewhere(self, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        first: TeleportError | None = None
        for address in self._in_order():
            try:
                return await self._persistently(address, call, read)
            except _NoAnswer as failed:
                first = first or await self._cause(address, failed.why)
                if failed.why.delivered and not call.repeatable:
                    break
        if self._called.instead:
            raise ConnectionProblem(self._called.instead) from first
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
            raise _NoAnswer(unanswered(reason, address, self._called)) from None

    async def _exchange(self, address: str, call: Call, read: Callable[[IResponse], Awaitable[_Answer]]) -> _Answer:
        response = await send(self._reactor, self._connections[address].http, call)
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
