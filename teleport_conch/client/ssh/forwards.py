"""Forwarding with our own client: ``-L``, ``-R`` and ``-D``, as OpenSSH writes them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define, frozen
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.protocol import Protocol

from teleport_conch import wire
from teleport_conch.client.ssh import socks
from teleport_conch.errors import BadParameter, ConnectionProblem
from teleport_conch.ssh.client.connection import ClientConnection
from teleport_conch.ssh.connection.channel import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    Channel,
    ChannelRefused,
    Opener,
)
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.forwarding.accepting import Accepted, Accepting, stopped
from teleport_conch.ssh.forwarding.direct import connect
from teleport_conch.ssh.forwarding.splice import StreamChannel
from teleport_conch.ssh.session.owners import OpensNothing
from teleport_conch.wire import Reader

_PART = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::|$)")


@frozen
class Forward:
    """From where to where; of ``-D``, the second address is empty."""

    bind: str
    port: int
    host: str = ""
    host_port: int = 0


def parse_forward(text: str) -> Forward:
    """Reads ``[bind:]port:host:hostport``.

    :raises BadParameter: anything else.
    """
    parts = _parts(text)
    if len(parts) == 3:
        parts = ["127.0.0.1", *parts]
    if len(parts) != 4 or not parts[2]:
        raise _unreadable(text)
    return Forward(parts[0] or "0.0.0.0", _port(parts[1], text), parts[2], _port(parts[3], text))  # noqa: S104 - asked for


def parse_dynamic(text: str) -> Forward:
    """Reads ``[bind:]port``."""
    parts = _parts(text)
    if len(parts) == 1:
        parts = ["127.0.0.1", *parts]
    if len(parts) != 2:
        raise _unreadable(text)
    return Forward(parts[0] or "0.0.0.0", _port(parts[1], text))  # noqa: S104 - asked for


def _parts(text: str) -> list[str]:
    found, at = list[str](), 0
    while at <= len(text):
        part = _PART.match(text, at)
        if part is None:
            raise _unreadable(text)
        found.append(part[1].strip("[]").replace("*", ""))
        if part.end() == len(text) and not part[0].endswith(":"):
            return found
        at = part.end()
    raise _unreadable(text)


def _port(part: str, text: str) -> int:
    if not (part.isascii() and part.isdigit() and int(part) < 1 << 16):
        raise _unreadable(text)
    return int(part)


def _unreadable(text: str) -> BadParameter:
    return BadParameter(f"{text[:128]!a} is not a forward: write -L or -R [BIND:]PORT:HOST:PORT, and -D [BIND:]PORT.")


@define
class Forwarder:
    """All forwards of one connection."""

    local: Sequence[Forward]
    remote: Sequence[Forward]
    dynamic: Sequence[Forward]

    def owner(self, reactor: Any) -> ForwardedOwner:
        """What the node may open of us: what was asked of it to listen for, and nothing else."""
        return ForwardedOwner(reactor, self.remote)

    async def start(self, reactor: Any, node: ClientConnection) -> Callable[[], Awaitable[None]]:
        """Listens here, and has the node listen; answers what ends the listening here.

        :raises ConnectionProblem: a port is in use, or the node refuses.
        """
        ports = [self._listen(reactor, node.connection, each) for each in (*self.local, *self.dynamic)]
        for each in self.remote:
            await _ask(node, each)

        async def stop() -> None:
            for port in ports:
                await stopped(port)

        return stop

    def _listen(self, reactor: Any, connection: Opener, forward: Forward) -> IListeningPort:
        factory: Accepting = _Socks(reactor, connection) if not forward.host else _local(reactor, connection, forward)
        try:
            port: IListeningPort = reactor.listenTCP(forward.port, factory, interface=forward.bind)
        except CannotListenError as reason:
            why = getattr(reason.socketError, "strerror", None) or reason.socketError
            raise ConnectionProblem(
                f"The port {forward.port} of {forward.bind} cannot be listened on: {why}."
            ) from None
        return port


def _local(clock: IReactorTime, connection: Opener, forward: Forward) -> Accepting:
    def open_channel(channel: StreamChannel, address: object) -> None:
        connection.open(b"direct-tcpip", channel, direct(forward.host, forward.host_port))

    return Accepting(clock, open_channel, f"the port {forward.port}")


def direct(host: str, port: int) -> bytes:
    """What a ``direct-tcpip`` channel asks for (RFC 4254, section 7.2)."""
    return wire.text(host) + wire.uint32(port) + wire.text("127.0.0.1") + wire.uint32(0)


async def _ask(node: ClientConnection, forward: Forward) -> None:
    bind = "localhost" if forward.bind == "127.0.0.1" else "" if forward.bind == "0.0.0.0" else forward.bind  # noqa: S104
    try:
        await node.connection.global_request(b"tcpip-forward", wire.text(bind) + wire.uint32(forward.port))
    except RequestRefused:
        raise ConnectionProblem(f"The node does not listen on port {forward.port} for us.") from None


class ForwardedOwner(OpensNothing):
    """Connects what comes in on the node's ports to where ``-R`` says."""

    def __init__(self, reactor: Any, forwards: Sequence[Forward]) -> None:
        self._reactor = reactor
        self._forwards = {forward.port: forward for forward in forwards}

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        if kind != b"forwarded-tcpip" or not self._forwards:
            return await super().open_channel(kind, payload)
        reader = Reader(payload)
        reader.string()
        port = reader.uint32()
        forward = self._forwards.get(port) or self._forwards.get(0)
        if forward is None:
            raise ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, "Nobody asked to be listened for there.")
        endpoint = HostnameEndpoint(self._reactor, forward.host, forward.host_port)
        return await connect(self._reactor, endpoint, f"{forward.host}:{forward.host_port}")


class _Socks(Accepting):
    """A port on which each connection says first where it wants to go."""

    def __init__(self, clock: IReactorTime, connection: Opener) -> None:
        super().__init__(clock, self._nowhere, "the port for SOCKS")
        self.connection = connection

    def _nowhere(self, channel: StreamChannel, address: object) -> None:
        """Channels are opened once it is known where to."""

    def buildProtocol(self, addr: object) -> Protocol:
        return _SocksConnection(self, addr, _SocksChannel(self.clock))


class _SocksChannel(StreamChannel):
    def opened(self) -> None:
        self.stream.transport.write(socks.CONNECTED)
        super().opened()

    def refused(self, refusal: ChannelRefused) -> None:
        self.stream.transport.write(socks.REFUSED)
        self.stream.transport.loseConnection()


class _SocksConnection(Accepted):
    def __init__(self, factory: _Socks, address: object, channel: _SocksChannel) -> None:
        super().__init__(factory, address, channel)
        self._socks, self._asked = factory, bytearray()
        self._greeted = self._knows = False

    def accepted(self) -> None:
        """Not yet: the client has to speak first."""

    def dataReceived(self, data: bytes) -> None:
        if self._knows:
            super().dataReceived(data)
            return
        self._asked += data
        try:
            self._go_on()
        except BadParameter as reason:
            self._cut_off(reason.sentence)

    def _go_on(self) -> None:
        if not self._greeted:
            size = socks.greeting_size(bytes(self._asked))
            if not size:
                return
            self._greeted = True
            del self._asked[:size]
            self.transport.write(socks.NO_LOGIN)
        found = socks.target(bytes(self._asked))
        if found is None:
            if len(self._asked) > socks.MAX_REQUEST_BYTES:
                raise BadParameter("A client of SOCKS asks for too much.")
            return
        self._knows = True
        rest = bytes(self._asked[found.size :])
        super().accepted()
        self._socks.connection.open(b"direct-tcpip", self._stream_channel, direct(found.host, found.port))
        if rest:
            super().dataReceived(rest)
