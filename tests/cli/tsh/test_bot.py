"""Robots on the way to their first certificates."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.certs import keys
from teleport_conch.cli.tsh import bot
from teleport_conch.cli.tsh.places import ProxyAddress
from teleport_conch.client import private_files
from teleport_conch.client.tls import PublicPolicy, UnverifiedPolicy
from teleport_conch.client.web import ProxyFacts, ProxyWeb, Verified
from teleport_conch.errors import ConnectionProblem

FACTS = ProxyFacts("one.example.org", "otp", "", "", "", "")


class JoiningTests(SynchronousTestCase):
    def said(self, proxy: Verified) -> str:
        """What a robot says that joins there, before it finds that nothing more is answered."""

        async def verified(*_: object, **__: object) -> Verified:
            return proxy

        async def cacert(_: object) -> tuple[str, ...]:
            raise ConnectionProblem("Nothing answers.")

        self.patch(bot, "verified", verified)
        self.patch(ProxyWeb, "cacert", cacert)
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        token = Path(self.mktemp())
        private_files.write(token, "secret\n")
        joining = bot.Joining(Clock(), ProxyAddress("proxy.example.org"), "", token, True)
        joined = Deferred.fromCoroutine(joining.join(keys.private_pem(keys.generate_tls_key())))
        self.failureResultOf(joined, ConnectionProblem)
        return said.getvalue()

    def test_insecure(self) -> None:
        """Where nobody knows who answers, what that risks is said before the token is sent."""
        self.assertIn("WARNING: this proxy was not verified.", self.said(Verified(UnverifiedPolicy(), FACTS)))
        self.assertEqual(self.said(Verified(PublicPolicy("proxy.example.org"), FACTS)), "")
