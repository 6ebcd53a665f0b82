"""Forwarding from this host to the client: ports and Unix sockets on which a connection listens for it.

Ports are asked for as in RFC 4254, section 7.1, Unix sockets as in OpenSSH's PROTOCOL, section 2.4. Whether a client
may forward at all is decided before anything here is asked; what is decided here is where it may listen.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime

from teleport_conch import wire
from teleport_conch.errors import AccessDenied, AlreadyExists, BadParameter, ConnectionProblem, LimitExceeded, NotFound
from teleport_conch.ssh.connection.channel import Opener
from teleport_conch.ssh.forwarding.accepting import Accepting, stopped
from teleport_conch.ssh.forwarding.account_sockets import Sockets, Stop
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.wire import Reader, WireError

REQUESTS = frozenset(
    (
        b"tcpip-forward",
        b"cancel-tcpip-forward",
        b"streamlocal-forward@openssh.com",
        b"cancel-streamlocal-forward@openssh.com",
    )
)
MAX_WHERE_CHARS = 255
MAX_FORWARDS = 32
"""On how many ports and sockets one connection may listen."""
FIRST_FREE_PORT = 1024
_ATTEMPTS = 5
"""How often a free port is looked for that both families have."""

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
EVERYWHERE = {4: "0.0.0.0", 6: "::"}  # noqa: S104  # only where the policy says so


@frozen
class ListenRules:
    """Where a client may listen.

    :ivar everywhere: on all interfaces of this host, and not on loopback alone (OpenSSH's ``GatewayPorts``).
    :ivar privileged: on ports below 1024, too: the login is root's.
    """

    everywhere: bool = False
    privileged: bool = False


@frozen
class ListenRequest:
    """Where the client wants to be listened for, or no longer.

    :ivar where: the address to bind, as the client calls it, or the path of a Unix socket.
    :ivar port: 0 for any; None for a Unix socket.
    """

    where: str
    port: int | None
    ends: bool = False

    @classmethod
    def parse(cls, name: bytes, payload: bytes) -> ListenRequest:
        """One of :data:`REQUESTS`. Raises :class:`WireError` for what is no address or path at all."""
        reader = Reader(payload)
        where = reader.text()
        port = reader.uint32() if name.endswith(b"tcpip-forward") else None
        reader.end()
        if port is not None and port >= 1 << 16:
            raise WireError(f"there is no port {port}")
        if len(where) > MAX_WHERE_CHARS or not where.isprintable():
            raise WireError("that is neither a host name nor a path")
        return cls(where, port, name.startswith(b"cancel-"))

    def __str__(self) -> str:
        return self.where if self.port is None else f"{self.where or '*'}:{self.port}"


def interfaces(host: str, everywhere: bool) -> Sequence[str]:
    """The addresses to bind for what a client says (RFC 4254, section 7.1).

    Where only loopback is allowed, that is what every request gets, as from OpenSSH with ``GatewayPorts no``.

    :raises BadParameter: a name, where an address is due.
    """
    families = {"0.0.0.0": (4,), "127.0.0.1": (4,), "::": (6,), "::1": (6,)}.get(host, (4, 6))  # noqa: S104
    if not everywhere or host in ("localhost", *LOOPBACK.values()):
        return [LOOPBACK[family] for family in families]
    if host in ("", "*", *EVERYWHERE.values()):
        return [EVERYWHERE[family] for family in families]
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        raise BadParameter(f"{host[:64]!a} is no address of this host; names are not looked up.") from None


@define(eq=False)
class RemoteForwards:
    """Where one connection listens for its client.

    :param connection: opens the channels.
    :param sockets: makes Unix sockets as the account of the login.
    """

    tcp: IReactorTCP
    clock: IReactorTime
    connection: Opener
    rules: ListenRules
    sockets: Sockets
    _stops: dict[tuple[str, int | None], list[Stop]] = field(factory=dict)

    async def answer(self, request: ListenRequest) -> bytes:
        """Does what is asked; the data of a successful reply. Raises :class:`TeleportError`."""
        if request.ends:
            return await self._cancel(request)
        if (request.where, request.port) in self._stops:
            raise AlreadyExists(f"This connection listens on {request} already.")
        if len(self._stops) >= MAX_FORWARDS:
            raise LimitExceeded(f"One connection may listen on {MAX_FORWARDS} ports and sockets.")
        if request.port is None:
            return await self._listen_unix(request.where)
        return await self._listen(request, request.port)

    async def _cancel(self, request: ListenRequest) -> bytes:
        stops = self._stops.pop((request.where, request.port), None)
        if stops is None:
            raise NotFound(f"This connection does not listen on {request}.")
        for stop in stops:
            await stop()
        return b""

    async def stop(self) -> None:
        """Listens nowhere any more; connections that were made go on until their channels close."""
        stops = list(chain.from_iterable(self._stops.values()))
        self._stops.clear()
        for stop in stops:
            await stop()

    # Ports.

    async def _listen(self, request: ListenRequest, port: int) -> bytes:
        if 0 < port < FIRST_FREE_PORT and not self.rules.privileged:
            raise AccessDenied(f"Only root may listen on ports below {FIRST_FREE_PORT}.")
        ports = await self._bound(request, interfaces(request.where, self.rules.everywhere))
        number = _number(ports[0])
        self._stops[request.where, number] = [partial(stopped, port) for port in ports]
        return b"" if port else wire.uint32(number)

    async def _bound(self, request: ListenRequest, addresses: Sequence[str]) -> list[IListeningPort]:
        """Listens on one port of all addresses; one that only some of them have will do, where it has to."""
        for attempt in range(_ATTEMPTS):
            listening, problem = self._bound_once(request, addresses)
            if not listening:
                raise ConnectionProblem(f"This host cannot listen on {request}: {problem}.")
            if len(listening) == len(addresses) or request.port or attempt == _ATTEMPTS - 1:
                break
            for port in listening:
                await stopped(port)
        return listening

    def _bound_once(self, request: ListenRequest, addresses: Sequence[str]) -> tuple[list[IListeningPort], str]:
        listening: list[IListeningPort] = []
        problem = ""
        for address in addresses:
            accepting = Accepting(self.clock, self._forwarded(request.where), f"{request} at {address}")
            number = _number(listening[0]) if listening else request.port or 0
            try:
                listening.append(self.tcp.listenTCP(number, accepting, interface=address))
            except CannotListenError as refused:
                problem = refused.socketError.strerror or str(refused.socketError)
        return listening, problem

    def _forwarded(self, host: str) -> Callable[[StreamChannel, object], None]:
        def ask(channel: StreamChannel, address: object) -> None:
            assert isinstance(address, IPv4Address | IPv6Address)
            here = channel.stream.transport.getHost()
            payload = wire.text(host) + wire.uint32(here.port) + wire.text(address.host) + wire.uint32(address.port)
            self.connection.open(b"forwarded-tcpip", channel, payload)

        return ask

    # Unix sockets.

    async def _listen_unix(self, path: str) -> bytes:
        accepting = Accepting(self.clock, self._forwarded_unix(path), path)
        try:
            stop = await self.sockets.listen(path, accepting)
        except ConnectionProblem as problem:
            raise ConnectionProblem(f"This host cannot listen on {path}: {problem.sentence}.") from problem
        self._stops[path, None] = [stop]
        return b""

    def _forwarded_unix(self, path: str) -> Callable[[StreamChannel, object], None]:
        def ask(channel: StreamChannel, address: object) -> None:
            payload = wire.text(path) + wire.text("")
            self.connection.open(b"forwarded-streamlocal@openssh.com", channel, payload)

        return ask


def _number(port: IListeningPort) -> int:
    address = port.getHost()
    assert isinstance(address, IPv4Address | IPv6Address)
    return address.port
