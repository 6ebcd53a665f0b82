"""Which message may come when, and what becomes of those that are not for a service (RFC 4253, sections 7.1 to 11)."""

from __future__ import annotations

from teleport_conch import wire
from teleport_conch.ssh.transport.exchange import KeyExchange, NotDue
from teleport_conch.ssh.transport.goodbye import Leaving
from teleport_conch.ssh.transport.greeting import Greeting
from teleport_conch.ssh.transport.messages import (
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
    check_debug,
    parse_extensions,
    parse_string,
    parse_unimplemented,
)
from teleport_conch.ssh.transport.packets import SEQUENCE_MASK, PacketReader, PacketWriter
from teleport_conch.ssh.transport.rekeying import PeerExchanges
from teleport_conch.ssh.transport.violation import ProtocolViolation

MAX_UNREAD_BYTES = 64 << 10
REPLY_BYTES = 64
"""How many bytes of replies to pings and to unknown messages a peer may leave unread, and what each is at least."""


class Receiving(Leaving):
    """What a transport makes of the messages that arrive.

    :ivar logged_in: whether the login is over.
    :ivar peerExtensions: what the peer told of itself (RFC 8308).
    """

    logged_in = False
    reader: PacketReader
    writer: PacketWriter
    _exchange: KeyExchange
    _peer_exchanges: PeerExchanges
    _greeting: Greeting | None
    _unread_bytes = 0

    @property
    def phase(self) -> str:
        """Where the connection stands: ``greeting``, ``key exchange``, ``login`` or ``connection``."""
        if self._greeting is not None:
            return "greeting"
        if not self._exchange.may_receive:
            return "key exchange"
        return "connection" if self.logged_in else "login"

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Handles one message. What is not due now is refused."""
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

    def sendUnimplemented(self) -> None:
        """The message that is being handled is not known here."""
        self.sendPacket(MSG_UNIMPLEMENTED, wire.uint32((self.reader.sequence - 1) & SEQUENCE_MASK))
