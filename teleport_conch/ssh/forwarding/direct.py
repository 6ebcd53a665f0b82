"""Forwarding from the client: what it asks to be connected to, and the channel that carries the connection.

Ports are asked for as in RFC 4254, section 7.2, Unix sockets as in OpenSSH's PROTOCOL, section 2.4.
"""

from __future__ import annotations

import os
from typing import NoReturn

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.connection.channel import OPEN_CONNECT_FAILED, ChannelRefused
from teleport_conch.ssh.forwarding.account_sockets import Sockets
from teleport_conch.ssh.forwarding.splice import StreamChannel, StreamProtocol
from teleport_conch.wire import Reader, WireError

DIAL_TIMEOUT_S = 30.0
MAX_HOST_CHARS = 255


@frozen
class DirectTCPIP:
    """Where the client wants to be connected to, and where it says that the request came from."""

    host: str
    port: int
    origin_host: str
    origin_port: int

    @classmethod
    def parse(cls, payload: bytes) -> DirectTCPIP:
        """Raises :class:`WireError` for what is no address at all."""
        reader = Reader(payload)
        request = cls(reader.text(), reader.uint32(), reader.text(), reader.uint32())
        reader.end()
        if not 0 <= request.port < 1 << 16:
            raise WireError(f"there is no port {request.port}")
        if not 0 < len(request.host) <= MAX_HOST_CHARS or not request.host.isprintable() or " " in request.host:
            raise WireError("that is no host name")
        return request


def parse_direct_streamlocal(payload: bytes) -> str:
    """The path that ``direct-streamlocal@openssh.com`` asks for (OpenSSH, PROTOCOL, section 2.4).

    :raises WireError: that is no path.
    """
    reader = Reader(payload)
    path, _, _ = reader.text(), reader.string(), reader.uint32()
    reader.end()
    if not path.startswith("/") or not path.isprintable():
        raise WireError("that is no absolute path")
    return path


class StreamFactory(Factory):
    """Connects the one stream that it is given."""

    noisy = False

    def __init__(self, stream: StreamProtocol) -> None:
        self._stream = stream

    def buildProtocol(self, addr: object) -> StreamProtocol:
        return self._stream


async def dial(clock: IReactorTime, endpoint: IStreamClientEndpoint, stream: StreamProtocol) -> None:
    """Connects ``stream`` to ``endpoint``, in :data:`DIAL_TIMEOUT_S` at most.

    :raises ConnectionProblem: with the reason only, as the end of somebody's sentence.
    """
    try:
        await endpoint.connect(StreamFactory(stream)).addTimeout(DIAL_TIMEOUT_S, clock, _too_slow)
    except (CancelledError, ConnectingCancelledError) as given_up:
        raise CancelledError from given_up
    except Exception as problem:
        raise ConnectionProblem(_reason(problem)) from problem
    stream.transport.setTcpNoDelay(True)


async def connect(clock: IReactorTime, endpoint: IStreamClientEndpoint, called: str) -> StreamChannel:
    """A channel that is coupled with a new connection to ``endpoint``, which is ``called`` so in a refusal.

    The connection is there before the channel is confirmed: a refused port is a refused channel. Raises
    :class:`ChannelRefused`.
    """
    channel = StreamChannel(clock)
    try:
        await dial(clock, endpoint, channel.stream)
    except ConnectionProblem as problem:
        raise ChannelRefused(OPEN_CONNECT_FAILED, f"{called} cannot be reached: {problem.sentence}.") from problem
    return channel


async def connect_unix(clock: IReactorTime, sockets: Sockets, path: str) -> StreamChannel:
    """A channel that is coupled with a new connection to the Unix socket at ``path``, made as the login's account.

    Raises :class:`ChannelRefused`.
    """
    channel = StreamChannel(clock)
    try:
        await sockets.connect(path, StreamFactory(channel.stream))
    except ConnectionProblem as problem:
        raise ChannelRefused(OPEN_CONNECT_FAILED, f"{path} cannot be reached: {problem.sentence}.") from problem
    return channel


def _too_slow(result: object, timeout_s: float) -> NoReturn:
    raise ConnectionProblem(f"there was no answer for {timeout_s:.0f} seconds")


def _reason(problem: Exception) -> str:
    number = getattr(problem, "osError", None)
    text = os.strerror(number) if isinstance(number, int) else str(problem).strip().rstrip(".")
    return text or type(problem).__name__
