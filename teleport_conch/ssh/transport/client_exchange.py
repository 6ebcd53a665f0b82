"""The client's role in an exchange of keys: it begins, and looks at who answers (RFC 5656, section 4)."""

from __future__ import annotations

import os
from typing import ClassVar, Protocol

from teleport_conch import wire
from teleport_conch.ssh.transport import kex
from teleport_conch.ssh.transport.exchange import MSG_REPLY, MSG_REQUEST, KeyExchange, NotDue, Offer, Party
from teleport_conch.ssh.transport.kex import Transcript
from teleport_conch.ssh.transport.negotiation import COOKIE_BYTES, EXT_INFO_CLIENT, STRICT_CLIENT, Agreement
from teleport_conch.ssh.transport.violation import HOST_KEY_NOT_VERIFIABLE, ProtocolViolation
from teleport_conch.wire import Reader


class HostKeyChanged(ProtocolViolation):
    """The server shows another host key than the one that was verified."""

    reason: ClassVar[int] = HOST_KEY_NOT_VERIFIABLE


class HostCheck(Protocol):
    """Decides whether a server is the one that was meant."""

    async def __call__(self, algorithm: bytes, blob: bytes, signature: bytes, exchange_hash: bytes) -> None:
        """Takes the host key or certificate in ``blob``, which was agreed upon as ``algorithm``, and its signature.

        :raises TeleportError: it is not to be trusted, or did not sign.
        """


class ClientExchange(KeyExchange):
    """The client's role.

    :param check: is asked about the host key of each exchange; that of the first one must not change.
    """

    is_client = True
    markers = (EXT_INFO_CLIENT, STRICT_CLIENT)

    def __init__(self, party: Party, offer: Offer, check: HostCheck) -> None:
        super().__init__(party, offer)
        self._check = check
        self._half: kex.Half | None = None

    def _agreed(self, method: kex.Method) -> None:
        self._half = method.start()
        self._party.transmit(MSG_REQUEST, wire.string(self._half.public))

    def _method_message(self, agreement: Agreement, number: int, content: Reader) -> None:
        if number != MSG_REPLY or self._half is None:
            raise NotDue(number)
        blob, server_public, signature = content.string(), content.string(), content.string()
        content.end()
        self._answered = True
        if self.host_key_blob and blob != self.host_key_blob:
            raise HostKeyChanged("the host key changed during the connection")
        half, self._half = self._half, None
        secret = half.finish(server_public)
        transcript = self._transcript(agreement.kex, blob, half.public, server_public, secret)
        self._party.wait_for(self._verify(agreement, transcript, signature))

    async def _verify(self, agreement: Agreement, transcript: Transcript, signature: bytes) -> None:
        await self._check(agreement.host_key, transcript.host_key, signature, transcript.digest)
        self._send_new_keys(agreement, transcript)

    def _cookie(self) -> bytes:
        return os.urandom(COOKIE_BYTES)
