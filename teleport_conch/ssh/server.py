"""An SSH server over Conch's transport: host certificates, a time to log in, one end for every malformed message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_CONNECTION_LOST,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    DISCONNECT_TOO_MANY_CONNECTIONS,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_SERVICE_ACCEPT,
    MSG_UNIMPLEMENTED,
    SSHServerTransport,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.ssh import algorithms
from teleport_conch.ssh.admission import Refusal, Visit
from teleport_conch.ssh.connection import Connection
from teleport_conch.ssh.hostkeys import HostKeys
from teleport_conch.ssh.keepalive import KeepAlive, KeepAliveRhythm
from teleport_conch.ssh.policy import LoginPolicy
from teleport_conch.ssh.userauth import UserAuth
from teleport_conch.wire import Reader

GOODBYE_S = 2.0
REKEY_S = 30.0
"""How long a client may take for a new exchange of keys, while what channels have to send waits in them."""
VERSION = b"SSH-2.0-OpenSSH_9.9 Teleport"
"""OpenSSH's client uses its extensions, such as the end of write, only with servers that are called like it; see
``docs/decisions/version-string.rst``."""

_ALWAYS_DUE = frozenset((MSG_DISCONNECT, MSG_IGNORE, MSG_UNIMPLEMENTED, MSG_DEBUG))
_EXCHANGE = range(30, 50)
_GREETING = b"SSH-"


class TCPTransport(Protocol):
    """The byte stream under a server's transport."""

    def write(self, data: bytes) -> None:
        """See ``ITransport``."""

    def loseConnection(self) -> None:
        """See ``ITransport``."""

    def loseWriteConnection(self) -> None:
        """See ``ITCPTransport``."""

    def abortConnection(self) -> None:
        """See ``ITCPTransport``."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See ``IConsumer``."""

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ``ITCPTransport``."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ``ITCPTransport``."""


class Limits(Protocol):
    """What a transport reads of the bounds of its server."""

    @property
    def login_grace_s(self) -> float:
        """The time to log in, from the accepted connection on, in seconds."""

    @property
    def keep_alive(self) -> Callable[[], KeepAliveRhythm]:
        """Answers how often a silent client is asked, at this moment."""


class Factory(Protocol):
    """What a transport knows of who made it."""

    @property
    def clock(self) -> IReactorTime:
        """Measures every time-out."""

    @property
    def limits(self) -> Limits:
        """The bounds of the server."""

    @property
    def host_keys(self) -> HostKeys:
        """The host keys of this moment, most wanted first."""

    def entered(self, transport: ServerTransport) -> Refusal | None:
        """A client is connected; answers why it may not stay."""

    def left(self, transport: ServerTransport) -> None:
        """It is connected no more."""


class ServerTransport(SSHServerTransport):
    """One client's connection.

    ``client_address`` is the address of the client, which behind a proxy is not that of the TCP peer; ``host:port``.
    ``host_key_blob`` is the host key, or its certificate, as the first key exchange had it. ``visit`` is the connection
    as the limits on new connections see it.
    """

    factory: Factory  # type: ignore[assignment]  # what is read of it is less than Conch's
    transport: TCPTransport  # type: ignore[assignment]  # servers listen on TCP
    ourVersionString = VERSION
    supportedKeyExchanges = list(algorithms.KEY_EXCHANGES)
    supportedCiphers = list(algorithms.CIPHERS)
    supportedMACs = list(algorithms.MACS)
    supportedCompressions = list(algorithms.COMPRESSIONS)
    client_address = ""
    host_key_blob = b""
    visit: Visit
    login_policy: LoginPolicy

    def __init__(self) -> None:
        self._grace: IDelayedCall | None = None
        self._abort: IDelayedCall | None = None
        self._rekey: IDelayedCall | None = None
        self._ended = False
        self._exchanging = False
        self._keys_agreed = False
        self._alive: KeepAlive | None = None
        self._host_keys: HostKeys = {}

    def connectionMade(self) -> None:
        """Sends the version and starts the clock for the login."""
        refusal = self.factory.entered(self)
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._host_keys = self.factory.host_keys
        self.supportedPublicKeys = list(self._host_keys)
        self._grace = self.factory.clock.callLater(self.factory.limits.login_grace_s, self._too_slow)
        super().connectionMade()
        if refusal is not None:
            self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """There are too many connections, which the admission has put into the log: the client reads why."""
        if refusal.silent:
            self._ended = True
            self.transport.abortConnection()
        else:
            self._say_goodbye(DISCONNECT_TOO_MANY_CONNECTIONS, refusal.sentence.encode())

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Stops the service and every clock."""
        self.factory.left(self)
        self._ended = True
        _cancel(self._grace)
        _cancel(self._abort)
        _cancel(self._rekey)
        if self._alive is not None:
            self._alive.stop()
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()

    def _too_slow(self) -> None:
        self.visit.too_slow = True
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, b"the time to log in is over")

    def authenticated(self) -> None:
        """The login succeeded; from now on the client is asked whether it is there, when it falls silent."""
        _cancel(self._grace)
        self.visit.log_in()
        rhythm = self.factory.limits.keep_alive()
        self._alive = KeepAlive(self.factory.clock, rhythm, self._ask_alive, self._gone)
        self._alive.start()

    def _ask_alive(self) -> None:
        if isinstance(self.service, Connection):
            self.service.ask_alive()

    def _gone(self) -> None:
        self._log.info("{client} has not answered for too long", client=self.client_address)
        self.sendDisconnect(DISCONNECT_CONNECTION_LOST, b"no answer")

    def dataReceived(self, data: bytes) -> None:
        """Nothing is read, or kept, behind a goodbye; nor is anything in front of the client's version."""
        if self._ended:
            return
        self.visit.heard = True
        if not self.gotVersion and not _GREETING.startswith((self.buf + data)[: len(_GREETING)]):
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"a client begins with its version, SSH-2.0")
            return
        super().dataReceived(data)

    def _due(self, number: int) -> bool:
        """Whether a client may send this message now (RFC 4253, sections 7.1 and 10)."""
        if number in _ALWAYS_DUE:
            return True
        if number == MSG_KEXINIT:
            return not self._exchanging
        if number == MSG_NEWKEYS:
            return self._keys_agreed
        if number in _EXCHANGE:
            return self._exchanging and not self._keys_agreed
        if self._exchanging or not self.isEncrypted("both"):
            return False
        return number != MSG_SERVICE_ACCEPT if number < 50 else self.service is not None

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Handles one message; what cannot be handled ends in one disconnect, and nothing is read behind that."""
        if self._ended:
            return
        if not self._due(messageNum):
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"message %d is not due now" % messageNum)
            return
        if self._alive is not None:
            self._alive.heard()
        try:
            super().dispatchMessage(messageNum, payload)
        except Exception as problem:  # noqa: BLE001  # Conch's parsers raise whatever struct and OpenSSL raise
            self._log.warn(
                "{client} sent message {number}, which cannot be read: {why}",
                client=self.client_address,
                number=messageNum,
                why=repr(problem),
            )
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"a message cannot be read")

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The client says goodbye, most often because its person is done."""
        reader = Reader(packet)
        self._log.debug("{client} left: {why!r}", client=self.client_address, why=(reader.uint32(), reader.string()))
        self._end()
        self.transport.loseConnection()

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Says why, and closes our direction; a client that does not close its own is cut off after two seconds.

        To close both at once would answer what the client is just sending with a reset, before it reads the reason.
        """
        if self._ended:
            return
        self._log.info("{client} is sent away: {why!r} ({code})", client=self.client_address, why=desc, code=reason)
        self._say_goodbye(reason, desc)

    def _say_goodbye(self, reason: int, desc: bytes) -> None:
        self._end()
        self.sendPacket(MSG_DISCONNECT, wire.uint32(reason) + wire.string(desc) + wire.string(b""))
        self.transport.loseWriteConnection()

    def _end(self) -> None:
        """From now on nothing is read, and nothing that waits to be written keeps the connection."""
        self._ended = True
        self.transport.unregisterProducer()
        self._abort = self.factory.clock.callLater(GOODBYE_S, self._cut_off)

    def _cut_off(self) -> None:
        self.transport.abortConnection()

    # The exchange of keys.

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """The client begins or answers an exchange, which it has to finish before it says anything else."""
        self._exchanging = True
        super().ssh_KEXINIT(packet)

    def sendKexInit(self) -> None:
        """Begins or answers an exchange; where the connection is in use, data waits for the end of it."""
        super().sendKexInit()
        if isinstance(self.service, Connection):
            self.service.hold()
            self._rekey = self.factory.clock.callLater(REKEY_S, self._rekey_too_slow)

    def _rekey_too_slow(self) -> None:
        self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"the key exchange takes too long")

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        if self.sessionID is None:
            self.host_key_blob = self._host_keys[self.keyAlg].blob()
        super()._keySetup(sharedSecret, exchangeHash)
        self._keys_agreed = True

    def _newKeys(self) -> None:
        self._exchanging = self._keys_agreed = False
        _cancel(self._rekey)
        super()._newKeys()
        if isinstance(self.service, Connection):
            self.service.release()

    def _getHostKeys(self, keyAlg: bytes) -> tuple[Key, Key]:
        """The key that was offered under this name when the connection was made."""
        return self._host_keys[keyAlg], self._host_keys[keyAlg]

    def sendExtInfo(self, extensions: list[tuple[bytes, bytes]]) -> None:
        """Tells which algorithms *users* may sign with; Conch would tell those of the host key."""
        super().sendExtInfo(
            [(b"server-sig-algs", algorithms.server_sig_algs()), (b"publickey-hostbound@openssh.com", b"0")]
        )

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """User authentication, once, and only after the key exchange (RFC 4253, section 10)."""
        reader = Reader(packet)
        name = reader.string()
        reader.end()
        if name != UserAuth.name or self.service is not None or self.sessionID is None:
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service now")
            return
        self.sendPacket(MSG_SERVICE_ACCEPT, wire.string(name))
        self.setService(UserAuth(self.factory.clock))


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
