"""The client's transport: believes the server or not, logs in, and keeps the one reason why it ended."""

from __future__ import annotations

from attrs import field, frozen
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION, DISCONNECT_CONNECTION_LOST
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import ConnectionProblem, TeleportError
from teleport_conch.ssh.client.agent_offer import AgentOffer, HostProof, OffersAgent
from teleport_conch.ssh.client.auth import ClientAuth, Credentials
from teleport_conch.ssh.client.host_offer import HostKeyOffer, HostKeyRefused, HostName, HostVerifier, check_signature
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.plain_text import plain_text
from teleport_conch.ssh.session.owners import OpensNothing
from teleport_conch.ssh.transport import algorithms
from teleport_conch.ssh.transport.base import Transport
from teleport_conch.ssh.transport.client_exchange import ClientExchange, HostKeyChanged
from teleport_conch.ssh.transport.exchange import KeyExchange, Offer
from teleport_conch.ssh.transport.keepalive import KeepAlive, KeepAliveRhythm
from teleport_conch.ssh.transport.messages import MSG_SERVICE_ACCEPT, MSG_SERVICE_REQUEST
from teleport_conch.ssh.transport.rekeying import RekeyLimits
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader, WireError

VERSION = b"SSH-2.0-Teleport"
LOGIN_S = 120.0
"""For all from the first packet of TCP to the end of the login, a person's answers included."""
MAX_REASON_CHARS = 1 << 10

_REASONS = {
    2: "protocol error",
    3: "key exchange failed",
    5: "message authentication failed",
    7: "service not available",
    8: "version not supported",
    9: "host key not verifiable",
    10: "connection lost",
    11: "by application",
    12: "too many connections",
    14: "no more authentication methods",
    15: "illegal user name",
}


@frozen
class ClientOptions:
    """Where to, who, and how.

    :ivar name: what the server is called, whatever the endpoint connects to; its host key is looked up under it.
    :ivar hosts: decides whether the server is the one that was meant.
    :ivar owner: decides what the server may open.
    :ivar agent: what programs of the server may use as their agent; None for no agent.
    :ivar login_s: how long connecting and logging in may take together, in seconds; None for as long as it takes.
    """

    name: HostName
    credentials: Credentials
    hosts: HostVerifier
    owner: ChannelOwner = field(factory=OpensNothing)
    agent: AgentOffer | None = None
    login_s: float | None = LOGIN_S
    keep_alive: KeepAliveRhythm = field(factory=KeepAliveRhythm)
    rekey_limits: RekeyLimits = field(factory=RekeyLimits)
    kex: tuple[bytes, ...] = algorithms.KEY_EXCHANGES
    ciphers: tuple[bytes, ...] = algorithms.CIPHERS
    macs: tuple[bytes, ...] = algorithms.MACS
    compressions: tuple[bytes, ...] = algorithms.COMPRESSIONS
    version: bytes = VERSION

    def offer(self) -> Offer:
        """The algorithms, with those of the host keys that we would believe."""
        return Offer(self.hosts.algorithms(self.name), self.kex, self.ciphers, self.macs, self.compressions)


class ClientTransport(Transport):
    """One connection to a server.

    :ivar ready: fires when the login is over, or fails with the one reason why there is none.
    :ivar gone: fires when the connection has ended, with what ended it, or None where we did.
    """

    isClient = True

    def __init__(self, clock: IReactorTime, options: ClientOptions) -> None:
        super().__init__()
        self.clock = clock
        self.options = options
        self.rekey_limits = options.rekey_limits
        self.ourVersionString = options.version
        self.proof = HostProof(b"", b"", b"")
        self.connection = Connection(self._owner())
        self.ready: Deferred[None] = Deferred()
        self.gone: Deferred[TeleportError | None] = Deferred()
        self._problem: TeleportError | None = None
        self._closing = self._asked = False
        self._alive = KeepAlive(clock, options.keep_alive, self.connection.ask_alive, self._silent)

    def _owner(self) -> ChannelOwner:
        options = self.options
        if options.agent is None:
            return options.owner
        return OffersAgent(self.clock, options.agent, lambda: self.proof, options.owner)

    @property
    def peer_address(self) -> str:
        return str(self.options.name)

    # Keys.

    def make_exchange(self) -> KeyExchange:
        return ClientExchange(self, self.options.offer(), self._check_host)

    async def _check_host(self, algorithm: bytes, blob: bytes, signature: bytes, exchange_hash: bytes) -> None:
        """The signature of every exchange is checked; whether to trust the key, which stays the same, at the first."""
        offer = HostKeyOffer(self.options.name, algorithm, blob)
        check_signature(offer, signature, exchange_hash)
        if not self.sessionID:
            self.proof = HostProof(blob, exchange_hash, signature)
            await self.options.hosts.verify(offer)

    # The login.

    def connectionSecure(self) -> None:
        self._asked = True
        self.sendPacket(MSG_SERVICE_REQUEST, wire.string(ClientAuth.name))

    def ssh_SERVICE_ACCEPT(self, packet: bytes) -> None:
        """Once, and for what was asked for."""
        reader = Reader(packet)
        name = reader.string()
        reader.end()
        if not self._asked or name != ClientAuth.name:
            raise ProtocolViolation(f"message {MSG_SERVICE_ACCEPT} is not due now")
        self._asked = False
        self.setService(ClientAuth(self.options.credentials))

    def authenticated(self) -> None:
        """The server has let us in."""
        super().authenticated()
        self.setService(self.connection)
        self._alive.start()
        self.ready.callback(None)

    def login_failed(self, failure: Failure) -> None:
        """It has not; the reason is what our caller hears."""
        self._note(failure.value or RuntimeError())
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, b"there is nothing left to try")

    # Is the server still there?

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        self._alive.heard()
        super().dispatchMessage(messageNum, payload)

    def _silent(self) -> None:
        self._note(ConnectionProblem(f"{self.options.name} has not answered for too long."))
        self.sendDisconnect(DISCONNECT_CONNECTION_LOST, b"no answer")

    # The end.

    def close(self) -> None:
        """We are done."""
        self._closing = True
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, b"done")

    def abort(self) -> None:
        """Closes at once, whatever the state."""
        self._closing = True
        self.transport.abortConnection()

    def refused(self, problem: BaseException) -> None:
        """The server is not believed, or does not speak SSH as it should."""
        if isinstance(problem, HostKeyChanged):
            problem = HostKeyRefused(
                f"{self.options.name} showed another host key in the middle of the connection, which was ended. "
                "Somebody may stand between you and this host."
            )
        self._note(problem)
        super().refused(problem)

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Where we do not close, and no better reason is known, the server did something that a service refuses."""
        if not self._closing and not self._ended:
            self._note(ProtocolViolation(desc.decode("utf-8", "replace")))
        super().sendDisconnect(reason, desc)

    def _say_goodbye(self, reason: int, desc: bytes) -> None:
        super()._say_goodbye(reason, desc)
        self._fail()

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """Whoever waits for the login need not wait for the end of TCP."""
        super().ssh_DISCONNECT(packet)
        self._fail()

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """The server's reason, which a person may read."""
        said = plain_text(description, MAX_REASON_CHARS).strip().rstrip(".")
        reason = _REASONS.get(reasonCode, f"reason {reasonCode}")
        self._note(ConnectionProblem(f"{self.options.name} ended the connection: {said or reason}.", reason=reasonCode))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Whoever waits hears why."""
        self._alive.stop()
        if not self._closing:
            self._note(ConnectionProblem(self._how_it_ended()))
        super().connectionLost(reason)
        self._fail()
        self.gone.callback(self._problem)

    def _how_it_ended(self) -> str:
        name = self.options.name
        if self.phase == "greeting":
            return f"{name} ended the connection without a word; perhaps it is no SSH server, or takes no more of us."
        return f"{name} ended the connection without saying why."

    def _note(self, problem: BaseException) -> None:
        """The first reason is the one that counts."""
        if self._problem is None:
            self._problem = problem if isinstance(problem, TeleportError) else _told(self.options.name, problem)

    def _fail(self) -> None:
        if not self.ready.called:
            self.ready.errback(self._problem or ConnectionProblem("The connection was closed."))


def _told(name: HostName, problem: BaseException) -> ConnectionProblem:
    """What ended a connection: the server, or a fault of whoever decides about hosts or answers its questions."""
    why = plain_text(str(problem).encode(), MAX_REASON_CHARS).rstrip(".")
    if isinstance(problem, ProtocolViolation | WireError):
        return ConnectionProblem(f"{name} does not speak SSH as it should: {why}.")
    return ConnectionProblem(f"The connection to {name} ended for a fault on this side: {why}.")
