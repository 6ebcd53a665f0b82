"""Port forwarding: what ``direct-tcpip`` asks for (RFC 4254, section 7.2), and the channel that carries it."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from teleport_conch.ssh.channel import OPEN_CONNECT_FAILED, ChannelRefused
from teleport_conch.ssh.splice import StreamChannel, StreamProtocol
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


class StreamFactory(Factory[StreamProtocol]):
    """Connects the one stream that it is given."""

    noisy = False

    def __init__(self, stream: StreamProtocol) -> None:
        self._stream = stream

    def buildProtocol(self, addr: object) -> StreamProtocol:
        return self._stream


async def connect(clock: IReactorTime, endpoint: IStreamClientEndpoint, called: str) -> StreamChannel:
    """A channel that is coupled with a new connection to ``endpoint``, which is ``called`` so in a refusal.

    The connection is there before the channel is confirmed: a refused port is a refused channel. Raises
    :class:`ChannelRefused`.
    """
    channel = StreamChannel()
    dialling = endpoint.connect(StreamFactory(channel.stream))
    dialling.addTimeout(DIAL_TIMEOUT_S, clock)
    try:
        await dialling
    except (ConnectError, OSError, DeferredTimeout) as problem:
        why = getattr(problem, "osError", None) or problem
        raise ChannelRefused(OPEN_CONNECT_FAILED, f"{called} cannot be reached: {_reason(why)}.") from problem
    return channel


def _reason(problem: BaseException | object) -> str:
    text = str(problem).rstrip(".")
    return text or type(problem).__name__
