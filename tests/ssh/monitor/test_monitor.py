"""The monitor and the starter without their processes: what they keep, and what they do where the host has no room."""

from __future__ import annotations

import os
import signal
import time

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.errors import LimitExceeded, TeleportError
from teleport_conch.ssh.monitor import frames, keeper, orders
from teleport_conch.ssh.monitor.anchors import FollowedAnchors
from teleport_conch.ssh.monitor.cookies import Cookies
from teleport_conch.ssh.monitor.exchanges import pack_transcript
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.host_key import FollowedHostKeys
from teleport_conch.ssh.monitor.loop import Loop
from teleport_conch.ssh.monitor.monitor import MAX_CHECKS, Monitor, Served
from teleport_conch.ssh.monitor.verifier import pack_proof
from tests.certs import samples
from tests.ssh.monitor.servers import HOST_KEY, host_certificate, own_name, signed_proof, transcript, user_certificate


class LoginTests(SynchronousTestCase):
    """Logins, of which the starter is asked what the host says."""

    def setUp(self) -> None:
        ours, theirs = frames.pair()
        self.starter = Peer(theirs)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        anchors = FollowedAnchors(tuple(samples.USER_CA.public().ssh_keys))
        self.monitor = Monitor(Loop(), Peer(ours), [], anchors, FollowedHostKeys())
        self.served = Served()
        self.answers: list[bytes | TeleportError] = []
        line = host_certificate(time.time()).to_line()
        self.cookie = Cookies(
            self.monitor.hold(self.served, wire.text(keys.ssh_private_pem(HOST_KEY)) + wire.text(line))
        )

    def log_in(self) -> None:
        exchange = transcript(self.cookie())
        self.monitor.sign(self.served, pack_transcript(exchange))
        proof = signed_proof(exchange.digest, own_name(), user_certificate(time.time(), own_name()))
        self.monitor.log_in(self.served, pack_proof(proof, "::1"), self.answers.append)

    def answer(self, kind: int, body: bytes = b"") -> None:
        """The starter answers what it was asked last."""
        asked = self.starter.receive()
        assert asked is not None
        self.monitor._from_starter(Frame(kind, asked.number, body))

    def test_nothing_is_kept(self) -> None:
        """Of a login that was let in, or was not, nothing stays but the login."""
        for kind, body in ((orders.DONE, b""), (orders.REFUSED, orders.pack_refusal("ACCESS_DENIED", "no"))):
            self.log_in()
            self.answer(kind, body)
        self.assertEqual(([len(self.served.logins), self.served.checks], self.monitor._answers), ([1, 0], {}))

    def test_limit(self) -> None:
        """Each question to the host may be a process: they are limited, and an answer makes room."""
        self.served.checks = MAX_CHECKS - 1
        self.log_in()
        refusal = self.assertRaises(LimitExceeded, self.log_in)
        self.assertEqual(refusal.sentence, "The host is being asked about 1000 logins, and about no more at a time.")
        self.answer(orders.DONE)
        self.log_in()


class ForkTests(SynchronousTestCase):
    def test_no_room(self) -> None:
        """Where the host has no room for a process, signals are heard afterwards as before."""

        def no_room() -> int:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        self.patch(os, "fork", no_room)
        self.assertRaises(BlockingIOError, keeper.fork)
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), before)
