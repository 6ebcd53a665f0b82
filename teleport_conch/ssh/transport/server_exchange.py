"""The server's role in an exchange of keys: it answers the client's half, and signs for both (RFC 5656, section 4)."""

from __future__ import annotations

import os

from teleport_conch import wire
from teleport_conch.ssh.transport import kex
from teleport_conch.ssh.transport.exchange import MSG_REPLY, MSG_REQUEST, KeyExchange, NotDue, Offer, Party
from teleport_conch.ssh.transport.hostkeys import HostKey, HostKeys
from teleport_conch.ssh.transport.kex import Transcript
from teleport_conch.ssh.transport.negotiation import COOKIE_BYTES, STRICT_SERVER, Agreement
from teleport_conch.wire import Reader


class ServerExchange(KeyExchange):
    """The server's role.

    :param host_keys: what the offer's names of host keys stand for.
    """

    is_client = False
    markers = (STRICT_SERVER,)

    def __init__(self, party: Party, offer: Offer, host_keys: HostKeys) -> None:
        super().__init__(party, offer)
        self._host_keys = host_keys

    def _method_message(self, agreement: Agreement, number: int, content: Reader) -> None:
        if number != MSG_REQUEST:
            raise NotDue(number)
        client_public = content.string()
        content.end()
        self._answered = True
        host_key = self._host_keys[agreement.host_key]
        server_public, secret = kex.METHODS[agreement.kex].respond(client_public)
        transcript = self._transcript(agreement.kex, host_key.blob, client_public, server_public, secret)
        self._party.wait_for(self._answer(agreement, host_key, transcript))

    async def _answer(self, agreement: Agreement, host_key: HostKey, transcript: Transcript) -> None:
        signature = await host_key.sign(transcript)
        self._party.transmit(MSG_REPLY, *map(wire.string, (host_key.blob, transcript.server_public, signature)))
        self._send_new_keys(agreement, transcript)

    def _cookie(self) -> bytes:
        """Of whoever holds the keys, who may want to know it again."""
        for key in self._host_keys.values():
            return key.cookie()
        return os.urandom(COOKIE_BYTES)
