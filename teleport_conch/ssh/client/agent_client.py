"""A client of ssh-agent (draft-ietf-sshm-ssh-agent): which keys it holds, and signatures by them.

A message is ``uint32 length, byte type, content``. Answers carry no number and come in the order of the requests.
"""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.signatures import Signature
from teleport_conch.errors import CertificateRefused, ConnectionProblem
from teleport_conch.ssh.client.identities import algorithms_of, described
from teleport_conch.ssh.login.proof import signature_algorithm
from teleport_conch.wire import Reader, WireError

MAX_FRAME_BYTES = 256 << 10
MAX_AGENT_KEYS = 2048
LIST_S = 10.0
"""How long an agent may take to list its keys; signing waits for a person, and has the limit of the login."""

FAILURE = 5
REQUEST_IDENTITIES = 11
IDENTITIES_ANSWER = 12
SIGN_REQUEST = 13
SIGN_RESPONSE = 14
RSA_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentProblem(ConnectionProblem):
    """The agent cannot be reached, will not sign, or answers what no agent answers."""

    code = "AGENT"


class Frames:
    """Cuts a stream of bytes into messages, of which none is longer than :data:`MAX_FRAME_BYTES`."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now, without their lengths.

        :raises WireError: one is empty or too long, which is told before any of it is kept.
        """
        self._data += data
        found = []
        while len(self._data) >= 4:
            length = int.from_bytes(self._data[:4], "big")
            if not 0 < length <= MAX_FRAME_BYTES:
                raise WireError(f"a message of {length} bytes, where 1 to {MAX_FRAME_BYTES} are due")
            if len(self._data) < 4 + length:
                break
            found.append(bytes(self._data[4 : 4 + length]))
            del self._data[: 4 + length]
        return found


class Agent(Protocol):
    """One connection to an agent.

    :param clock: for the time that it may take to list its keys.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._frames = Frames()
        self._waiting: deque[Deferred[bytes]] = deque()
        self._gone: str | None = None

    async def identities(self) -> list[AgentIdentity]:
        """The keys and certificates that can be used, in the agent's order; others are left out.

        :raises AgentProblem: there is no answer, or none that makes sense.
        """
        asked = self._ask(wire.byte(REQUEST_IDENTITIES)).addTimeout(LIST_S, self._clock, _too_slow)
        try:
            reader = _expect(await asked, IDENTITIES_ANSWER)
            held = _read_keys(reader)
        except WireError as problem:
            self.close()
            raise AgentProblem(f"The agent's list of keys cannot be read: {problem}.") from problem
        return [AgentIdentity(self, blob, blob, name) for blob, comment in held if (name := _name(blob, comment))]

    async def sign(self, key: bytes, algorithm: str, data: bytes) -> bytes:
        """A signature blob over ``data`` by the key with this blob.

        :raises AgentProblem: the agent refuses (its person may have), or signs with something else.
        """
        flags = RSA_FLAGS.get(algorithm, 0)
        asked = self._ask(wire.byte(SIGN_REQUEST) + wire.string(key) + wire.string(data) + wire.uint32(flags))
        try:
            reader = _expect(await asked, SIGN_RESPONSE)
            signature = reader.string()
            reader.end()
            given = Signature.parse(signature).algorithm
        except WireError as problem:
            self.close()
            raise AgentProblem(f"The agent's signature cannot be read: {problem}.") from problem
        if given != algorithm:
            raise AgentProblem(f"The agent signs with {given[:64]!r}, where {algorithm} is due; it may be too old.")
        return signature

    def close(self) -> None:
        """The agent is not needed any more."""
        if self._gone is None and self.transport is not None:
            self.transport.loseConnection()

    def _ask(self, message: bytes) -> Deferred[bytes]:
        if self._gone is not None or self.transport is None:
            raise AgentProblem(self._gone or "The agent is not connected.")
        answer: Deferred[bytes] = Deferred()
        self._waiting.append(answer)
        self.transport.write(wire.string(message))
        return answer

    def dataReceived(self, data: bytes) -> None:
        """What answers nothing, and what is too long for an answer, ends the connection."""
        if self._gone is not None:
            return
        try:
            frames = self._frames.feed(data)
        except WireError as problem:
            self._end(f"The agent sent {problem}.")
            return
        for frame in frames:
            if not self._waiting:
                self._end("The agent sent an answer to nothing.")
                return
            waiting = self._waiting.popleft()
            if not waiting.called:
                waiting.callback(frame)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail("The agent ended the connection.")

    def _end(self, sentence: str) -> None:
        self.close()
        self._fail(sentence)

    def _fail(self, sentence: str) -> None:
        self._gone = self._gone or sentence
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.called:
                waiting.errback(AgentProblem(self._gone))


@frozen
class AgentIdentity:
    """A key that an agent holds.

    :ivar key: the blob by which the agent knows it.
    :ivar blob: what the server is shown: the same, or a certificate over the key that the agent does not have.
    """

    agent: Agent = field(repr=False)
    key: bytes = field(repr=False)
    blob: bytes = field(repr=False)
    name: str
    asks: bool = True

    def certified(self, certificate: SSHCertificate) -> AgentIdentity:
        """The same key with a certificate over it."""
        blob = certificate.to_blob()
        return AgentIdentity(self.agent, self.key, blob, described(blob))

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        return await self.agent.sign(self.key, signature_algorithm(algorithm), data)


async def connect_agent(clock: IReactorTime, endpoint: IStreamClientEndpoint) -> Agent:
    """The agent at ``endpoint``, most often the Unix socket of ``SSH_AUTH_SOCK``.

    :raises AgentProblem: there is none.
    """
    agent = Agent(clock)
    try:
        await endpoint.connect(_AgentFactory(agent)).addTimeout(LIST_S, clock, _too_slow)
    except AgentProblem:
        raise
    except Exception as problem:
        raise AgentProblem(f"The agent cannot be reached: {problem}") from problem
    return agent


class _AgentFactory(Factory):
    noisy = False

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def buildProtocol(self, addr: object) -> Agent:
        return self._agent


def _too_slow(result: object, timeout_s: float) -> NoReturn:
    raise AgentProblem(f"The agent did not answer for {timeout_s:.0f} seconds.")


def _expect(frame: bytes, kind: int) -> Reader:
    """The content of an answer of a kind. Raises AgentProblem for a refusal, WireError for anything else."""
    if frame[0] == FAILURE:
        raise AgentProblem("The agent refuses; its person may have said no, or it is locked.")
    if frame[0] != kind:
        raise WireError(f"an answer of the kind {frame[0]}, where {kind} is due")
    return Reader(memoryview(frame)[1:], MAX_FRAME_BYTES)


def _read_keys(reader: Reader) -> list[tuple[bytes, bytes]]:
    count = reader.uint32()
    if count > MAX_AGENT_KEYS:
        raise WireError(f"{count} keys, where {MAX_AGENT_KEYS} are the limit")
    held = [(reader.string(), reader.string()) for _ in range(count)]
    reader.end()
    return held


def _name(blob: bytes, comment: bytes) -> str:
    """What to call a key of the agent; empty where it is none that we could use."""
    if not algorithms_of(blob):
        return ""
    try:
        shown = "".join(each for each in comment.decode("utf-8", "replace")[:64] if each.isprintable())
        return f"{described(blob)} ({shown}) of the agent"
    except (WireError, CertificateRefused):
        return ""
