"""Dials a node for a client, says who the client is, and makes sure that it is SSH that answers."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from typing import NoReturn

from attrs import frozen
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from teleport_conch import proxy_protocol
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.errors import ConnectionProblem
from teleport_conch.proxy.routing import split_address
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.forwarding.direct import DIAL_TIMEOUT_S, dial
from teleport_conch.ssh.forwarding.splice import StreamChannel, StreamProtocol
from teleport_conch.starting import Reactor

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
    """The connection to a node, over which both sides have to show that they speak SSH before anything passes.

    The client's bytes are looked at, too: who trusts the proxy's address might believe a header that a client made up.
    """

    def __init__(self, clock: IReactorTime, channel: Channel, ended: Callable[[], None]) -> None:
        super().__init__(clock, channel, ended)
        self.greeted: Deferred[None] = Deferred()
        """Fires when the greeting has arrived, or fails with :class:`ConnectionProblem`."""
        self._greeting = b""
        self._client_greeting = b""
        self._client_greeted = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if self.greeted.called:
            super().dataReceived(data)
            return
        self._greeting += data
        is_ssh = _is_ssh(self._greeting)
        if is_ssh:
            self.pauseProducing()
            self.greeted.callback(None)
        elif is_ssh is False:
            self._fail("something answers there that is not SSH")
            self.abandon()

    def readConnectionLost(self) -> None:
        self._fail(_HUNG_UP)
        super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail(_HUNG_UP)
        super().connectionLost(reason)

    def _fail(self, why: str) -> None:
        if not self.greeted.called:
            self.greeted.errback(Failure(ConnectionProblem(why)))

    def start(self) -> None:
        """Passes the greeting on, and then everything."""
        greeting, self._greeting = self._greeting, b""
        super().dataReceived(greeting)
        super().start()

    def send(self, data: bytes) -> None:
        if self._client_greeted:
            super().send(data)
            return
        self._client_greeting += data
        is_ssh = _is_ssh(self._client_greeting)
        if is_ssh:
            self._client_greeted = True
            super().send(self._client_greeting)
        elif is_ssh is False:
            self.abandon()


class NodeChannel(StreamChannel):
    """A client's own channel to a node, as ``direct-tcpip`` asks for it."""

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock)
        self.stream: NodeStream = NodeStream(clock, self, self.close)


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
        if not host or port >= 1 << 16:
            raise ConnectionProblem(f'The node advertises the address "{address}", which cannot be dialled.')
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
        stream = NodeStream(self.reactor, Channel(), lambda: None)
        await self.dial_node(stream, node, address, ("127.0.0.1", 0))
        stream.abandon()

    async def _dial(self, stream: NodeStream, host: str, port: int) -> None:
        try:
            await dial(self.reactor, HostnameEndpoint(self.reactor, host, port), stream)
            await stream.greeted.addTimeout(DIAL_TIMEOUT_S, self.reactor, _silent)
        except ConnectionProblem as problem:
            stream.abandon()
            raise ConnectionProblem(f"{host}:{port} cannot be reached: {problem.sentence}.") from problem
        except CancelledError:
            stream.abandon()
            raise


_HUNG_UP = "it hung up without a word"


def _silent(result: object, timeout_s: float) -> NoReturn:
    raise ConnectionProblem(f"it said nothing for {timeout_s:.0f} seconds")


def _is_ssh(start: bytes) -> bool | None:
    """Whether what starts so is SSH; None where more bytes decide."""
    if len(start) < len(GREETING) and GREETING.startswith(start):
        return None
    return start.startswith(GREETING)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
