"""A command line is bytes (RFC 4254, section 6.5): git and rsync put file names into it, in whatever encoding."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.forwarding.x11 import X11Request
from teleport_conch.ssh.session.channel import Session, SessionChannel, SessionStart
from tests.ssh.processes.test_spawn import SpawnCase

COMMAND = b"printf %s caf\xe9 \xed\xa0\x80 \xff'\xfe' \xe2\x82\xac"
PRINTED = b"caf\xe9\xed\xa0\x80\xff\xfe\xe2\x82\xac"


class _Owner:
    """Keeps what was asked for, and starts nothing."""

    def __init__(self) -> None:
        self.asked: list[SessionStart] = []

    def accepts_variable(self, name: str) -> bool:
        return True

    async def start(self, request: SessionStart, channel: SessionChannel) -> Session:
        self.asked.append(request)
        raise AccessDenied("This is a test.")

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        raise AccessDenied("no windows")

    async def forward_agent(self, channel: SessionChannel) -> None:
        raise AccessDenied("This is a test.")

    def channel_closed(self, channel: SessionChannel) -> None:
        """Nothing is kept."""


def command_of(case: SynchronousTestCase, sent: bytes) -> str:
    """What the owner of a session is asked to run for the command line ``sent``."""
    owner = _Owner()
    asking = Deferred.fromCoroutine(SessionChannel(owner).request_received(b"exec", wire.string(sent)))
    case.assertTrue(case.successResultOf(asking))
    return owner.asked[0].command


class CommandLineTests(SpawnCase):
    def test_nul(self) -> None:
        """Nothing is started for what no program can be given; nothing else suffers from it."""
        owner = _Owner()
        channel = SessionChannel(owner)
        asking = Deferred.fromCoroutine(channel.request_received(b"exec", wire.string(b"id\0")))
        self.assertTrue(self.successResultOf(asking), "the client reads why")
        self.assertIn("holds a NUL byte", str(channel._refusal))
        self.assertEqual(owner.asked, [])

    def test_text(self) -> None:
        self.assertEqual(command_of(self, "echo \u20ac".encode()), "echo \u20ac")

    def test_any_bytes(self) -> None:
        """They reach the program as they were sent."""
        outcome = self.run_to_end(["/bin/sh", "-c", command_of(self, COMMAND)])
        self.assertEqual((os.fsencode(outcome.output), outcome.error, outcome.code), (PRINTED, "", 0))
