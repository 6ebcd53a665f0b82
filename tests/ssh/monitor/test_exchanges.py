"""Exchanges that a monitor signs: how they come to it, and for how many of them it takes logins."""

from __future__ import annotations

import time

from attrs import astuple
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.ssh.monitor.cookies import Cookies
from teleport_conch.ssh.monitor.exchanges import (
    MAX_SESSION_IDS,
    SignedExchanges,
    pack_transcript,
    read_transcript,
)
from teleport_conch.ssh.monitor.host_key import FollowedHostKeys
from teleport_conch.ssh.transport.kex import Transcript
from tests.ssh.monitor.servers import HOST_BLOB, HOST_KEY, host_certificate, transcript


class MessageTests(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=30), min_size=9, max_size=9))
    def test_round_trip(self, parts: list[bytes]) -> None:
        """Nine parts, whatever they are; fewer or more are no exchange."""
        packed = pack_transcript(Transcript(*parts))
        self.assertEqual(astuple(read_transcript(packed)), tuple(parts))
        for wrong in (packed[:-1], packed + b"x", packed + wire.string(b"")):
            self.assertRaises(wire.WireError, read_transcript, wrong)

    def test_secret_is_not_shown(self) -> None:
        """No log has the secret of an exchange, nor the keys that go into it."""
        self.assertNotIn("secret", repr(transcript(bytes(16))))


class MemoryTests(SynchronousTestCase):
    def test_bound(self) -> None:
        """The oldest session that nobody logged in to is forgotten."""
        host_keys, exchanges = FollowedHostKeys(), SignedExchanges()
        host_keys.hold(keys.ssh_private_pem(HOST_KEY), host_certificate(time.time()))
        cookie = Cookies(exchanges.cookies.key)

        def signed() -> bytes:
            exchange = transcript(cookie())
            exchanges.sign(exchange, host_keys)
            return exchange.digest

        first = signed()
        self.assertEqual(exchanges.shown(first), HOST_BLOB)
        second, *_ = [signed() for _ in range(MAX_SESSION_IDS)]
        self.assertEqual((exchanges.shown(first), exchanges.shown(second)), (None, HOST_BLOB))
