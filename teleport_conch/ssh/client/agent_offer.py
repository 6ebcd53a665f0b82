"""Agent forwarding from a client (draft-ietf-sshm-ssh-agent): what runs on the server may use the keys offered here.

An offer is an agent at a socket, or keys in memory. Whoever offers one trusts the server: while the connection lasts,
its root can sign with the keys, though not copy them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.client.agent_client import (
    FAILURE,
    IDENTITIES_ANSWER,
    LIST_S,
    MAX_FRAME_BYTES,
    REQUEST_IDENTITIES,
    RSA_FLAGS,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    Frames,
)
from teleport_conch.ssh.client.identities import Identity, algorithms_of
from teleport_conch.ssh.connection.channel import (
    OPEN_CONNECT_FAILED,
    Channel,
    ChannelOwner,
    ChannelRefused,
    Opener,
)
from teleport_conch.ssh.forwarding.agent import AGENT_CHANNEL
from teleport_conch.ssh.forwarding.direct import StreamFactory
from teleport_conch.ssh.forwarding.splice import StreamChannel, StreamProtocol
from teleport_conch.ssh.login.proof import signature_algorithm
from teleport_conch.wire import Reader, WireError

EXTENSION = 27
SESSION_BIND = "session-bind@openssh.com"
_ANSWER_BYTES = 5
"""Of an answer without content, such as that to the binding."""


@frozen
class HostProof:
    """By what an agent knows a server: its host key, and its signature over the identifier of the session."""

    host_key: bytes
    session_id: bytes
    signature: bytes


class AgentOffer(Protocol):
    """An agent for the programs of a server."""

    async def channel(self, clock: IReactorTime, proof: HostProof) -> Channel:
        """A channel that leads to it. Raises :class:`ChannelRefused`."""


@frozen
class OffersAgent:
    """Owner of a client's connection that opens channels to an agent; all else is for the owner behind it.

    :ivar proof: the server's, once it has shown it.
    """

    clock: IReactorTime
    offer: AgentOffer
    proof: Callable[[], HostProof]
    others: ChannelOwner

    def connection_started(self, connection: Opener) -> None:
        self.others.connection_started(connection)

    async def open_channel(self, kind: bytes, payload: bytes) -> Channel:
        if kind != AGENT_CHANNEL:
            return await self.others.open_channel(kind, payload)
        Reader(payload).end()
        return await self.offer.channel(self.clock, self.proof())

    async def global_request(self, name: bytes, payload: bytes) -> bytes:
        return await self.others.global_request(name, payload)

    def connection_ended(self) -> None:
        self.others.connection_ended()


# An agent at a socket.


@frozen
class SocketAgent:
    """The agent at ``endpoint``, most often the Unix socket of ``SSH_AUTH_SOCK``; a connection for each channel.

    It hears first which server the connection is forwarded to, so that keys that are constrained to other destinations
    stay out of reach (OpenSSH, PROTOCOL.agent, section 1). An agent that does not know what that is goes on as before.
    """

    endpoint: IStreamClientEndpoint

    async def channel(self, clock: IReactorTime, proof: HostProof) -> Channel:
        channel = StreamChannel(clock)
        channel.stream = _Bound(clock, channel, channel.close)
        channel.stream.preface = _binding(proof)
        try:
            await self.endpoint.connect(StreamFactory(channel.stream)).addTimeout(LIST_S, clock)
        except Exception as problem:
            raise ChannelRefused(OPEN_CONNECT_FAILED, "The agent of the client cannot be reached.") from problem
        return channel


def _binding(proof: HostProof) -> bytes:
    """The message by which an agent hears of the server: host key, session identifier, signature, whether forwarded."""
    strings = map(wire.string, (SESSION_BIND.encode(), proof.host_key, proof.session_id, proof.signature))
    return wire.string(wire.byte(EXTENSION) + b"".join(strings) + wire.boolean(True))


class _Bound(StreamProtocol):
    """Keeps the agent's answer to the binding from the server, which asked for nothing."""

    _unheard = _ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        skipped = min(len(data), self._unheard)
        self._unheard -= skipped
        if len(data) > skipped:
            super().dataReceived(data[skipped:])


# Keys in memory.


@frozen
class KeysAgent:
    """These keys and certificates, in this order."""

    identities: Sequence[Identity] = field(repr=False)

    async def channel(self, clock: IReactorTime, proof: HostProof) -> Channel:
        return _KeysChannel(self.identities)


class _KeysChannel(Channel):
    """Answers one question after the other; of what has no answer yet there is at most a window."""

    _log = Logger()

    def __init__(self, identities: Sequence[Identity]) -> None:
        super().__init__()
        self._identities = identities
        self._frames = Frames()
        self._waiting: deque[bytes] = deque()
        self._answering: Deferred[None] | None = None
        self._busy = self._eof = False

    def data_received(self, data: bytes) -> None:
        try:
            self._waiting.extend(self._frames.feed(data))
        except WireError:
            self.close()
            return
        if not self._busy:
            self._answering = Deferred.fromCoroutine(self._answer_all())
            self._answering.addErrback(self._failed)

    async def _answer_all(self) -> None:
        self._busy = True
        while self._waiting:
            frame = self._waiting.popleft()
            self.write(wire.string(await answer_of(self._identities, frame)))
            self.consumed(4 + len(frame))
        self._busy = False
        if self._eof:
            self.close()

    def _failed(self, failure: Failure) -> None:
        if self.connection is not None:
            self._log.failure("a key of the agent failed", failure=failure)
            self.close()

    def eof_received(self) -> None:
        """Closes behind the last answer."""
        self._eof = True
        if not self._busy:
            self.close()

    def closed(self) -> None:
        if self._answering is not None:
            self._answering.cancel()


async def answer_of(identities: Sequence[Identity], question: bytes) -> bytes:
    """What an agent with these keys answers, without its length; a failure for whatever it does not know."""
    reader = Reader(memoryview(question)[1:], MAX_FRAME_BYTES)
    try:
        if question[0] == REQUEST_IDENTITIES:
            reader.end()
            return _listing(identities)
        if question[0] == SIGN_REQUEST:
            key, data, flags = reader.string(), reader.string(), reader.uint32()
            reader.end()
            return await _signature(identities, key, data, flags)
    except (WireError, TeleportError):
        pass
    return wire.byte(FAILURE)


def _listing(identities: Sequence[Identity]) -> bytes:
    listed = (wire.string(each.blob) + wire.text(each.name) for each in identities)
    return wire.byte(IDENTITIES_ANSWER) + wire.uint32(len(identities)) + b"".join(listed)


async def _signature(identities: Sequence[Identity], key: bytes, data: bytes, flags: int) -> bytes:
    for identity in identities:
        for algorithm in algorithms_of(key):
            if identity.blob == key and RSA_FLAGS.get(signature_algorithm(algorithm), 0) == flags:
                return wire.byte(SIGN_RESPONSE) + wire.string(await identity.sign(algorithm, data))
    return wire.byte(FAILURE)
