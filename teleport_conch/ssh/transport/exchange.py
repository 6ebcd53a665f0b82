"""The exchanges of keys of one connection, what both roles do alike: the order of messages, and which keys serve when.

RFC 4253, sections 7 to 9; OpenSSH's PROTOCOL, section 1.10 (strict key exchange). The arithmetic is in
:mod:`~teleport_conch.ssh.transport.kex`, and what two offers have in common in
:mod:`~teleport_conch.ssh.transport.negotiation`. Each direction takes its new keys at that direction's NEWKEYS, neither
before nor behind it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import ClassVar, Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred

from teleport_conch.ssh.transport import algorithms, kex
from teleport_conch.ssh.transport.ciphers import Keys, Opener, key_sizes
from teleport_conch.ssh.transport.compression import DELAYED, NONE
from teleport_conch.ssh.transport.kex import Transcript
from teleport_conch.ssh.transport.messages import MSG_KEXINIT, MSG_NEWKEYS
from teleport_conch.ssh.transport.negotiation import (
    Agreement,
    EachWay,
    KexInit,
    agree,
)
from teleport_conch.ssh.transport.packets import PacketReader, PacketWriter
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader

MSG_REQUEST = 30
MSG_REPLY = 31

Names = tuple[bytes, ...]
_Each = TypeVar("_Each")


class NotDue(ProtocolViolation):
    """A message at a moment at which it may not be sent."""

    def __init__(self, number: int) -> None:
        super().__init__(f"message {number} is not due now")


class NotStrict(ProtocolViolation):
    """A peer that speaks strict key exchange, and does not begin with it: somebody put a message in front."""


@frozen
class Offer:
    """The algorithms that we offer, most wanted first, the same in both directions."""

    host_keys: Names
    kex: Names = algorithms.KEY_EXCHANGES
    ciphers: Names = algorithms.CIPHERS
    macs: Names = algorithms.MACS
    compressions: Names = algorithms.COMPRESSIONS

    def to_kexinit(self, markers: Names, cookie: bytes) -> KexInit:
        """The message; ``markers`` follow the methods."""
        ciphers, macs, compressions = (EachWay(each, each) for each in (self.ciphers, self.macs, self.compressions))
        return KexInit(cookie, (*self.kex, *markers), self.host_keys, ciphers, macs, compressions)


class Party(Protocol):
    """The transport, as its exchanges see it."""

    reader: PacketReader
    writer: PacketWriter

    @property
    def versions(self) -> tuple[bytes, bytes]:
        """The client's version, and the server's."""

    @property
    def compresses(self) -> bool:
        """Whether the login is over, so that compression begins with new keys."""

    def transmit(self, number: int, *parts: bytes) -> None:
        """Sends a message now."""

    def wait_for(self, work: Coroutine[Deferred[object], object, None]) -> None:
        """Reads no message before ``work`` is done."""

    def exchange_begun(self) -> None:
        """Our offer was sent; other messages have to wait."""

    def keys_sent(self) -> None:
        """Our new keys are in use; other messages may be sent."""

    def exchange_over(self, first: bool) -> None:
        """The peer's new keys are in use, too."""


class KeyExchange:
    """What both roles do alike.

    :ivar session_id: the hash of the first exchange; empty before it.
    :ivar first: whether the first exchange is not over.
    :ivar under_way: whether an exchange has begun and is not over.
    :ivar may_send: whether we may send other messages now; ``may_receive`` is the same for the peer.
    :ivar strict: whether packets are counted anew from each NEWKEYS on, and the first exchange is undisturbed.
    :ivar host_key_blob: the server's key or certificate, as the first exchange had it.
    :ivar tells_extensions: whether the peer wants to hear of our extensions (RFC 8308).
    """

    is_client: ClassVar[bool]
    markers: ClassVar[Names]

    def __init__(self, party: Party, offer: Offer) -> None:
        self.session_id = b""
        self.first, self.under_way = True, False
        self.may_send = self.may_receive = False
        self.strict = self.tells_extensions = False
        self.host_key_blob = b""
        self._party = party
        self._offer = offer
        self._compressions = (NONE, NONE)
        self._forget()

    def _forget(self) -> None:
        """Nothing of an exchange is kept behind its end."""
        self._our_payload = self._their_payload = b""
        self._ours: KexInit | None = None
        self._agreement: Agreement | None = None
        self._answered = self._ignores_next = False
        self._incoming: tuple[Opener, bool] | None = None

    def begin(self) -> None:
        """Sends our offer, where none is under way."""
        if self._ours is not None:
            return
        self._ours = self._offer.to_kexinit(self.markers if self.first else (), self._cookie())
        self._our_payload = self._ours.to_payload()
        self.under_way, self.may_send = True, False
        self._party.exchange_begun()
        self._party.transmit(MSG_KEXINIT, self._our_payload[1:])

    def received(self, number: int, content: bytes) -> None:
        """A message of an exchange: KEXINIT, NEWKEYS, or one of the method's.

        :raises ProtocolViolation: it is not due, or no honest peer sends it.
        """
        if number == MSG_KEXINIT:
            self._offered(content)
        elif number == MSG_NEWKEYS:
            self._new_keys(content)
        elif self._ignores_next:
            self._ignores_next = False
        elif self._agreement is None or self._answered:
            raise NotDue(number)
        else:
            self._method_message(self._agreement, number, Reader(content))

    def _offered(self, content: bytes) -> None:
        if self._their_payload:
            raise NotDue(MSG_KEXINIT)
        self._their_payload = bytes((MSG_KEXINIT,)) + content
        theirs = KexInit.parse(self._their_payload)
        self.may_receive = False
        self.begin()
        assert self._ours is not None
        client, server = (self._ours, theirs) if self.is_client else (theirs, self._ours)
        agreement = agree(client, server, self.first)
        if self.first:
            self.tells_extensions = (
                agreement.server_wants_ext_info if self.is_client else agreement.client_wants_ext_info
            )
            self.strict = agreement.strict
            if self.strict and self._party.reader.sequence != 1:
                raise NotStrict("a strict key exchange begins with the first packet")
        self._ignores_next = theirs.first_kex_packet_follows and agreement.guess_was_wrong
        self._agreement = agreement
        self._agreed(kex.METHODS[agreement.kex])

    def _agreed(self, method: kex.Method) -> None:
        """Both offers are known."""

    def _cookie(self) -> bytes:
        """What makes our offer unlike every other."""
        raise NotImplementedError

    def _method_message(self, agreement: Agreement, number: int, content: Reader) -> None:
        """A message of the method that was agreed upon."""
        raise NotImplementedError

    def _transcript(
        self, method: bytes, host_key_blob: bytes, client_public: bytes, server_public: bytes, secret: bytes
    ) -> Transcript:
        client, server = self._party.versions
        offers = (self._our_payload, self._their_payload)
        client_offer, server_offer = offers if self.is_client else reversed(offers)
        said = (client, server, client_offer, server_offer, host_key_blob, client_public, server_public, secret)
        return Transcript(method, *said)

    def _send_new_keys(self, agreement: Agreement, transcript: Transcript) -> None:
        """The exchange succeeded: our direction takes its new keys, and the peer's has them ready."""
        if not self.session_id:
            self.session_id, self.host_key_blob = transcript.digest, transcript.host_key
        outgoing, incoming = self._keys(agreement, transcript.secret, transcript.digest)
        self._compressions = self._ways(agreement.compression)
        compresses = [self._party.compresses and each == DELAYED for each in self._compressions]
        self._incoming = incoming.opener(), compresses[1]
        self._party.transmit(MSG_NEWKEYS)
        self._party.writer.switch(outgoing.sealer(), compresses[0], self.strict)
        self.may_send = True
        self._party.keys_sent()

    def _ways(self, each: EachWay[_Each]) -> tuple[_Each, _Each]:
        """What was agreed upon for sending, and for receiving."""
        ways = each.client_to_server, each.server_to_client
        return ways if self.is_client else (ways[1], ways[0])

    def _keys(self, agreement: Agreement, secret: bytes, hashed: bytes) -> tuple[Keys, Keys]:
        method = kex.METHODS[agreement.kex]

        def keys(cipher: bytes, mac: bytes, letters: bytes) -> Keys:
            derived = (
                kex.derive(method, secret, hashed, self.session_id, bytes((letter,)), size) if size else b""
                for letter, size in zip(letters, key_sizes(cipher, mac), strict=True)
            )
            return Keys(cipher, mac, *derived)

        (cipher_out, cipher_in), (mac_out, mac_in) = self._ways(agreement.cipher), self._ways(agreement.mac)
        letters_out, letters_in = (b"ACE", b"BDF") if self.is_client else (b"BDF", b"ACE")
        return keys(cipher_out, mac_out, letters_out), keys(cipher_in, mac_in, letters_in)

    def _new_keys(self, content: bytes) -> None:
        if self._incoming is None:
            raise NotDue(MSG_NEWKEYS)
        Reader(content).end()
        opener, compressed = self._incoming
        self._party.reader.switch(opener, compressed, self.strict)
        self._forget()
        first, self.first, self.under_way, self.may_receive = self.first, False, False, True
        self._party.exchange_over(first)

    def start_compression(self) -> None:
        """The login is over: what was agreed upon for then begins with the next packets."""
        outgoing, incoming = self._compressions
        if outgoing == DELAYED:
            self._party.writer.deflate()
        if incoming == DELAYED:
            self._party.reader.inflate()
