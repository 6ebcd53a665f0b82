"""The transport of both roles, over Conch's: packets, phases, key exchanges, and one end for every malformed message.

Services (user authentication, the connection) find what Conch's transport offers them: ``sendPacket``,
``sendDisconnect``, ``sendUnimplemented``, ``setService``, ``sessionID``. Nothing of Conch's packet layer is left below.

Whatever is wrong with what the peer sends ends in one disconnect with the code that RFC 4253 has for it, and in one
event of the log that says who, in which phase, with which message, and why; nothing is read behind that.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping

from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from teleport_conch.ssh.transport.exchange import KeyExchange
from teleport_conch.ssh.transport.goodbye import cancel
from teleport_conch.ssh.transport.greeting import Greeting
from teleport_conch.ssh.transport.messages import (
    MSG_EXT_INFO,
    MSG_SERVICE_REQUEST,
    MSG_USERAUTH_SUCCESS,
    PING,
    extensions_to_content,
)
from teleport_conch.ssh.transport.packets import PacketReader, PacketWriter
from teleport_conch.ssh.transport.receiving import Receiving
from teleport_conch.ssh.transport.rekeying import PeerExchanges, RekeyLimits
from teleport_conch.ssh.transport.tcp import push
from teleport_conch.ssh.transport.unsent import Unsent
from teleport_conch.ssh.transport.violation import PROTOCOL_ERROR, ProtocolViolation

EXCHANGE_S = 30.0
"""How long an exchange of keys may take, while what services have to say waits for it."""
BULK_BYTES = 256 << 10
"""After the login: what is read from the socket at once, and what waits in it before producers are paused."""
SEND_BYTES = 512 << 10
"""After the login: what the socket takes at once, so that all that waits goes in one call and is copied once."""


class Transport(Receiving):
    """One SSH connection; its subclasses are a server's and a client's.

    :ivar rekey_limits: when we exchange keys anew.
    :ivar host_key_blob: the server's host key, or its certificate, as the first exchange had it.
    :ivar compresses: whether the login is over on the wire, so that what was agreed upon for then is done.
    """

    rekey_limits = RekeyLimits()
    host_key_blob = b""
    compresses = False
    _keyed_at = 0.0
    _working: Deferred[None] | None = None
    _exchange_due: IDelayedCall | None = None
    _written = False

    def __init__(self) -> None:
        self.reader = PacketReader()
        self.writer = PacketWriter()
        self.peerExtensions = {}
        self._unsent = Unsent()
        self._greeting = Greeting(of_server=self.isClient)

    # What the roles say.

    def make_exchange(self) -> KeyExchange:
        """The exchanges of this role. Asked for once, when the connection is made."""
        raise NotImplementedError

    def extensions(self) -> Mapping[bytes, bytes]:
        """What a peer that asks is told of us behind the first exchange (RFC 8308)."""
        return {PING: b"0"}

    def connectionSecure(self) -> None:
        """The first exchange is over. Called once."""

    # The life of a connection.

    def connectionMade(self) -> None:
        """Sends our version and our first offer."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self._keyed_at = self.clock.seconds()
        self._peer_exchanges = PeerExchanges(self._keyed_at)
        self._exchange = self.make_exchange()
        self.transport.write(self.ourVersionString + b"\r\n")
        self._exchange.begin()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Stops the service, every clock, and what is being worked on."""
        self._ended = True
        cancel(self._abort)
        cancel(self._exchange_due)
        if self._working is not None:
            self._working.cancel()
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()

    def _end(self) -> None:
        """Nothing that waits is sent any more, nor worked on."""
        super()._end()
        self._unsent.take()
        if self._working is not None:
            self._working.cancel()

    def setService(self, service: SSHService) -> None:
        """Hands the connection to ``service``, which is held where an exchange is under way.

        Conch's own makes an event for the log of each, which costs a server more than all the rest of it.
        """
        if self.service is not None:
            self.service.serviceStopped()
        self.service = service
        service.transport = self
        service.serviceStarted()
        if not self._exchange.may_send:
            self._tell_service("hold")

    def _tell_service(self, what: str) -> None:
        """Calls ``hold`` or ``release`` of a service that has them."""
        told = getattr(self.service, what, None)
        if told is not None:
            told()

    def authenticated(self) -> None:
        """The login succeeded: bulk may follow, and the time for the login is over."""
        self.logged_in = True
        self.transport.bufferSize = BULK_BYTES
        self.transport.SEND_LIMIT = SEND_BYTES
        if self.isClient:
            self._begin_compression()

    def _begin_compression(self) -> None:
        """Behind the message of success, of which a server says when it is sent."""
        self.compresses = True
        self._exchange.start_compression()

    def isEncrypted(self, direction: str = "out") -> bool:
        """Whether ``out``, ``in`` or ``both`` is behind its first new keys."""
        sent, received = bool(self._exchange.session_id), not self._exchange.first
        return {"out": sent, "in": received, "both": sent and received}[direction]

    def isVerified(self, direction: str = "out") -> bool:
        """The same: there is no encryption without a tag."""
        return self.isEncrypted(direction)

    # What arrives.

    def dataReceived(self, data: bytes) -> None:
        """Handles every message that has arrived as a whole. Nothing is read, or kept, behind a goodbye."""
        if self._ended:
            return
        try:
            if self._greeting is not None:
                behind = self._greeting.feed(data)
                if behind is None:
                    return
                self.otherVersionString, self.gotVersion, self._greeting = self._greeting.version, True, None
                data = behind
            self.reader.feed(data)
            self._read()
        except Exception as problem:  # noqa: BLE001  # whatever a peer can provoke ends here
            self._refuse(problem)
        self.push()

    def _read(self) -> None:
        while not self._ended and self._working is None:
            message = self.reader.next()
            if message is None:
                break
            self._number = message[0]
            self.dispatchMessage(*message)
        if not self._ended and self._may_change_keys() and self._keys_are_worn():
            self._exchange.begin()

    def _may_change_keys(self) -> bool:
        """Not before the login: OpenSSH's client takes no exchange then, and what a login needs wears no keys."""
        return self.logged_in and self._exchange.may_receive and not self._exchange.under_way

    def _keys_are_worn(self) -> bool:
        limits = self.rekey_limits
        return (
            max(self.reader.opened_bytes, self.writer.sealed_bytes) > limits.data_bytes
            or self.clock.seconds() - self._keyed_at > limits.age_s
        )

    # What is sent.

    def sendPacket(self, messageType: int, payload: bytes | memoryview = b"", *more: bytes | memoryview) -> None:
        """Sends a message, whose content may come in parts. Where an exchange is under way it waits for its end."""
        if self._ended:
            return
        if self._exchange.may_send or messageType < MSG_SERVICE_REQUEST:
            self.transmit(messageType, payload, *more)
            if self.writer.sealed_bytes > self.rekey_limits.data_bytes and self._may_change_keys():
                self._exchange.begin()
        else:
            try:
                self._unsent.put(messageType, (payload, *more))
            except ProtocolViolation as violation:
                self._refuse(violation)

    def transmit(self, number: int, *parts: bytes | memoryview) -> None:
        """Sends a message now."""
        self._written = True
        self.transport.write(self.writer.pack(number, *parts))
        if number == MSG_USERAUTH_SUCCESS:
            self._begin_compression()

    def push(self) -> None:
        """Sends now what was written in this turn of the reactor: answers, and what a person waits to see."""
        if self._written and not self._ended:
            self._written = False
            push(self.transport)

    # What the exchange of keys calls.

    @property
    def versions(self) -> tuple[bytes, bytes]:
        """The client's version line, and the server's."""
        ours, theirs = self.ourVersionString, self.otherVersionString
        return (ours, theirs) if self.isClient else (theirs, ours)

    def wait_for(self, work: Coroutine[Deferred[object], object, None]) -> None:
        """Reads no message before ``work`` is done; what arrives meanwhile stays in the socket."""
        working = Deferred.fromCoroutine(work)
        if not working.called:
            self._working = working
            self.transport.pauseProducing()
        working.addCallbacks(self._work_done, self._work_failed)

    def _work_done(self, _: None) -> None:
        if self._working is None or self._ended:
            return
        self._working = None
        self.transport.resumeProducing()
        try:
            self._read()
        except Exception as problem:  # noqa: BLE001  # as in dataReceived
            self._refuse(problem)

    def _work_failed(self, failure: Failure) -> None:
        self._working = None
        if not failure.check(CancelledError):
            self._refuse(failure.value or RuntimeError())

    def exchange_begun(self) -> None:
        """Our offer is sent. Services wait, but not for ever."""
        if not self._exchange.first:
            self._exchange_due = self.clock.callLater(EXCHANGE_S, self._exchange_overdue)
            self._tell_service("hold")

    def _exchange_overdue(self) -> None:
        self.sendDisconnect(PROTOCOL_ERROR, b"the key exchange takes too long")

    def keys_sent(self) -> None:
        """Our new keys serve: what has waited is sent."""
        self.sessionID, self.host_key_blob = self._exchange.session_id, self._exchange.host_key_blob
        if self._exchange.first and self._exchange.tells_extensions:
            self.transmit(MSG_EXT_INFO, extensions_to_content(self.extensions()))
        for number, parts in self._unsent.take():
            self.sendPacket(number, *parts)
        self._tell_service("release")

    def exchange_over(self, first: bool) -> None:
        """The peer's new keys serve, too."""
        cancel(self._exchange_due)
        self._keyed_at = self.clock.seconds()
        if first:
            self.connectionSecure()
