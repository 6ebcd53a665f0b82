"""Dials a node for a client, says who the client is, and makes sure that it is SSH that answers."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable

from attrs import frozen
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from teleport_conch import proxy_protocol
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import ConnectionProblem
from teleport_conch.proxy.routing import split_address
from teleport_conch.ssh.channel import Channel
from teleport_conch.ssh.forwarding import StreamFactory
from teleport_conch.ssh.splice import StreamChannel, StreamProtocol
from teleport_conch.starting import Reactor

DIAL_TIMEOUT_S = 30.0
DEFAULT_NODE_PORT = 3022
GREETING = b"SSH-"


@frozen
class HostKey:
    """The proxy's own SSH key and its certificate, with which it vouches for its clients."""

    key: Key
    certificate: SSHCertificate

    def sign(self, data: bytes) -> bytes:
        signature: bytes = self.key.sign(data)
        return signature


class NodeStream(StreamProtocol):
    """The connection to a node, which has to show that it speaks SSH before anything of the client's reaches it."""

    def __init__(self, channel: Channel, ended: Callable[[], None]) -> None:
        super().__init__(channel, ended)
        self.greeted: Deferred[None] = Deferred()
        """Fires when the greeting has arrived, or fails with :class:`ConnectionProblem`."""
        self._greeting = b""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if self.greeted.called:
            super().dataReceived(data)
            return
        self._greeting += data
        if self._greeting.startswith(GREETING):
            self.pauseProducing()
            self.greeted.callback(None)
        elif not GREETING.startswith(self._greeting[: len(GREETING)]):
            self._fail("something answers there that is not SSH")
            self.abandon()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail("it hung up without a word")
        super().connectionLost(reason)

    def _fail(self, why: str) -> None:
        if not self.greeted.called:
            self.greeted.errback(Failure(ConnectionProblem(why)))

    def start(self) -> None:
        """Passes the greeting on, and then everything."""
        greeting, self._greeting = self._greeting, b""
        super().dataReceived(greeting)
        super().start()


class NodeChannel(StreamChannel):
    """A client's own channel to a node, as ``direct-tcpip`` asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.stream: NodeStream = NodeStream(self, self.close)


@frozen
class Dialer:
    """Connects clients to nodes.

    :param host_key: answers the proxy's key and certificate as they are now.
    """

    reactor: Reactor
    host_key: Callable[[], HostKey]

    async def dial_node(self, stream: NodeStream, node: str, address: str, client: proxy_protocol.Address) -> None:
        """Connects ``stream`` to the node with this UUID at ``address``; the node hears that ``client`` is there.

        :raises ConnectionProblem: it cannot be reached, or is not SSH.
        """
        host, port = split_address(address)
        server = (host, port) if _is_ip(host) else client
        own, now = self.host_key(), self.reactor.seconds()
        stream.preface = proxy_protocol.encode(
            client, server, node, own.certificate, own.sign, now, os.urandom(proxy_protocol.NONCE_BYTES)
        )
        await self._dial(stream, host, port or DEFAULT_NODE_PORT)

    async def dial_host(self, stream: NodeStream, host: str, port: int) -> None:
        """Connects ``stream`` to a host that is no node of ours, such as one that runs ``sshd``: it gets no header."""
        await self._dial(stream, host, port or 22)

    async def probe(self, node: str, address: str) -> None:
        """Whether a node answers at ``address``. Raises :class:`ConnectionProblem`."""
        stream = NodeStream(Channel(), lambda: None)
        await self.dial_node(stream, node, address, ("127.0.0.1", 0))
        stream.abandon()

    async def _dial(self, stream: NodeStream, host: str, port: int) -> None:
        endpoint = HostnameEndpoint(self.reactor, host, port, timeout=DIAL_TIMEOUT_S)
        try:
            await endpoint.connect(StreamFactory(stream))
            stream.greeted.addTimeout(DIAL_TIMEOUT_S, self.reactor)
            await stream.greeted
        except (ConnectError, DNSLookupError, OSError, DeferredTimeout, ConnectionProblem) as problem:
            stream.abandon()
            raise ConnectionProblem(f"{host}:{port} cannot be reached: {_reason(problem)}") from problem


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _reason(problem: BaseException) -> str:
    text = str(problem).strip().rstrip(".") or type(problem).__name__
    return f"{text}."
