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

from teleport_conch import wire
from teleport_conch.ssh.exchange import KeyExchange, NotDue
from teleport_conch.ssh.goodbye import Leaving, cancel
from teleport_conch.ssh.greeting import Greeting
from teleport_conch.ssh.packets import SEQUENCE_MASK, PacketReader, PacketWriter
from teleport_conch.ssh.rekeying import PeerExchanges, RekeyLimits
from teleport_conch.ssh.transport_messages import (
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_METHOD_FIRST,
    MSG_NEWKEYS,
    MSG_PING,
    MSG_PONG,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_FIRST,
    MSG_USERAUTH_SUCCESS,
    PING,
    check_debug,
    extensions_to_content,
    parse_extensions,
    parse_string,
    parse_unimplemented,
)
from teleport_conch.ssh.unsent import Unsent
from teleport_conch.ssh.violation import PROTOCOL_ERROR, ProtocolViolation

EXCHANGE_S = 30.0
"""How long an exchange of keys may take, while what services have to say waits for it."""
MAX_UNREAD_BYTES = 64 << 10
REPLY_BYTES = 64
"""How many bytes of replies to pings and to unknown messages a peer may leave unread, and what each is at least."""
BULK_BYTES = 256 << 10
"""After the login: what is read from the socket at once, and what waits in it before producers are paused."""


class Transport(Leaving):
    """One SSH connection; its subclasses are a server's and a client's.

    :ivar rekey_limits: when we exchange keys anew.
    :ivar host_key_blob: the server's host key, or its certificate, as the first exchange had it.
    :ivar peerExtensions: what the peer told of itself (RFC 8308).
    """

    rekey_limits = RekeyLimits()
    host_key_blob = b""
    logged_in = compresses = False

    _exchange: KeyExchange
    _peer_exchanges: PeerExchanges
    _keyed_at = 0.0
    _unread_bytes = 0
    _working: Deferred[None] | None = None
    _exchange_due: IDelayedCall | None = None

    def __init__(self) -> None:
        self.reader = PacketReader()
        self.writer = PacketWriter()
        self.peerExtensions = {}
        self._unsent = Unsent()
        self._greeting: Greeting | None = Greeting(of_server=self.isClient)

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
        """Hands the connection to ``service``, which is held where an exchange is under way."""
        super().setService(service)
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
        if self.isClient:
            self._begin_compression()

    def _begin_compression(self) -> None:
        """Behind the message of success, of which a server says when it is sent."""
        self.compresses = True
        self._exchange.start_compression()

    @property
    def phase(self) -> str:
        """Where the connection stands: ``greeting``, ``key exchange``, ``login`` or ``connection``."""
        if self._greeting is not None:
            return "greeting"
        if not self._exchange.may_receive:
            return "key exchange"
        return "connection" if self.logged_in else "login"

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

    def _read(self) -> None:
        while not self._ended and self._working is None:
            message = self.reader.next()
            if message is None:
                break
            self._number = message[0]
            self.dispatchMessage(*message)
        if not self._ended and self._exchange.may_receive and self._keys_are_worn():
            self._exchange.begin()

    def _keys_are_worn(self) -> bool:
        limits = self.rekey_limits
        return (
            max(self.reader.opened_bytes, self.writer.sealed_bytes) > limits.data_bytes
            or self.clock.seconds() - self._keyed_at > limits.age_s
        )

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Handles one message. What is not due now is refused (RFC 4253, sections 7.1 and 10)."""
        exchange = self._exchange
        if messageNum >= MSG_USERAUTH_FIRST and exchange.may_receive and self.service is not None:
            if messageNum == MSG_PING and self.logged_in:
                self._pong(payload)
            else:
                self.service.packetReceived(messageNum, payload)
        elif MSG_KEXINIT <= messageNum < MSG_USERAUTH_FIRST:
            self._exchange_message(messageNum, payload)
        elif messageNum == MSG_DISCONNECT:
            self.ssh_DISCONNECT(payload)
        elif messageNum in (MSG_IGNORE, MSG_UNIMPLEMENTED, MSG_DEBUG):
            self._noise(messageNum, payload)
        elif exchange.may_receive:
            self._between(messageNum, payload)
        else:
            raise NotDue(messageNum)

    def _exchange_message(self, number: int, payload: bytes) -> None:
        if number == MSG_KEXINIT and not self._exchange.under_way:
            moved = self.reader.opened_bytes + self.writer.sealed_bytes if self.logged_in else 0
            if not self._peer_exchanges.begin(self.clock.seconds(), moved):
                raise ProtocolViolation("keys are exchanged too often")
        if number in (MSG_KEXINIT, MSG_NEWKEYS) or number >= MSG_METHOD_FIRST:
            self._exchange.received(number, payload)
        else:
            raise NotDue(number)

    def _noise(self, number: int, payload: bytes) -> None:
        """Messages that change nothing, but in a strict first exchange betray who adds them (Terrapin)."""
        if self._exchange.strict and self._exchange.first:
            raise NotDue(number)
        if number == MSG_UNIMPLEMENTED:
            parse_unimplemented(payload)
        elif number == MSG_DEBUG:
            check_debug(payload)

    def _between(self, number: int, payload: bytes) -> None:
        """Messages between the exchanges that are not a service's."""
        if number == MSG_SERVICE_REQUEST:
            self.ssh_SERVICE_REQUEST(payload)
        elif number == MSG_SERVICE_ACCEPT:
            self.ssh_SERVICE_ACCEPT(payload)
        elif number == MSG_EXT_INFO:
            self.ssh_EXT_INFO(payload)
        elif self.logged_in and number < MSG_USERAUTH_FIRST:
            self._count_reply(payload)
            self.sendUnimplemented()
        else:
            raise NotDue(number)

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """Only servers are asked for a service."""
        raise NotDue(MSG_SERVICE_REQUEST)

    def ssh_SERVICE_ACCEPT(self, packet: bytes) -> None:
        """Only clients are granted one."""
        raise NotDue(MSG_SERVICE_ACCEPT)

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """Extensions are told to who asked for them: to a client of ours, before its login."""
        if not self.isClient or self.logged_in:
            raise NotDue(MSG_EXT_INFO)
        self.peerExtensions = parse_extensions(packet)

    def _pong(self, payload: bytes) -> None:
        """The answer to a ping (OpenSSH's PROTOCOL, section 1.9)."""
        data = parse_string(payload)
        self._count_reply(payload)
        self.sendPacket(MSG_PONG, wire.string(data))

    def _count_reply(self, payload: bytes) -> None:
        """A peer that does not read cannot have any number of replies sent."""
        congested = getattr(self.service, "congested", False)
        self._unread_bytes = self._unread_bytes + len(payload) + REPLY_BYTES if congested else 0
        if self._unread_bytes > MAX_UNREAD_BYTES:
            raise ProtocolViolation("too many replies wait to be read")

    # What is sent.

    def sendPacket(self, messageType: int, payload: bytes | memoryview = b"", *more: bytes | memoryview) -> None:
        """Sends a message, whose content may come in parts. Where an exchange is under way it waits for its end."""
        if self._ended:
            return
        if self._exchange.may_send or messageType < MSG_SERVICE_REQUEST:
            self.transmit(messageType, payload, *more)
            if self.writer.sealed_bytes > self.rekey_limits.data_bytes and not self._exchange.under_way:
                self._exchange.begin()
        else:
            try:
                self._unsent.put(messageType, (payload, *more))
            except ProtocolViolation as violation:
                self._refuse(violation)

    def transmit(self, number: int, *parts: bytes | memoryview) -> None:
        """Sends a message now."""
        self.transport.write(self.writer.pack(number, *parts))
        if number == MSG_USERAUTH_SUCCESS:
            self._begin_compression()

    def sendUnimplemented(self) -> None:
        """The message that is being handled is not known here."""
        self.sendPacket(MSG_UNIMPLEMENTED, wire.uint32((self.reader.sequence - 1) & SEQUENCE_MASK))

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
