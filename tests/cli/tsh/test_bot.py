"""When a robot renews: by half of the time of its certificates, again after a failure, and no more after a refusal."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh.bot import FIRST_RETRY_S, LEAST_WAIT_S, Joining, Keeping
from teleport_conch.cli.tsh.bot_folder import BotFolder
from teleport_conch.cli.tsh.places import ProxyAddress
from teleport_conch.client.profiles import Login
from teleport_conch.errors import BadParameter, CertificateExpired, ConnectionProblem, IdentityCopied, TeleportError
from tests.cli.tsh.logins import login

HOUR = 3600.0


class Answering(Keeping):
    """A robot that is answered by the test: certificates of an hour, or an error."""

    def answer(self, *answers: TeleportError | None) -> None:
        self.answers, self.asked_with = list(answers), list[str]()

    async def _again(self, known: Login, key: str) -> tuple[Login, int]:
        self.asked_with.append(key)
        problem = self.answers.pop(0)
        if problem is not None:
            raise problem
        return login("bot-ci", ttl_s=HOUR), self._folder.generation() + 1


class KeepingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "stderr", io.StringIO())
        self.clock, self.folder = Clock(), BotFolder(Path(self.mktemp()).absolute())

    def keeping(self, kind: type[Keeping] = Answering) -> Keeping:
        """One that has just joined."""
        begun = time.time()
        with self.folder.locked():
            self.folder.keep(login("bot-ci", ttl_s=HOUR), 1)
        joining = Joining(self.clock, ProxyAddress("proxy.example.org"), "", None, False)
        return kind(self.clock, self.folder, joining, lambda seconds: seconds, lambda: begun + self.clock.seconds())

    def answering(self, *answers: TeleportError | None) -> tuple[Answering, Deferred[None]]:
        keeping = self.keeping()
        assert isinstance(keeping, Answering)
        keeping.answer(*answers)
        return keeping, Deferred.fromCoroutine(keeping.forever())

    def test_half_of_the_time(self) -> None:
        """Certificates of an hour are renewed after half of one, whatever their start was set back by."""
        _, running = self.answering(None)
        self.clock.advance(1790)
        self.assertEqual(self.folder.generation(), 1)
        self.clock.advance(20)
        self.assertEqual(self.folder.generation(), 2)
        self.assertNoResult(running)
        (next_call,) = self.clock.getDelayedCalls()
        self.assertEqual(next_call.getTime(), self.clock.seconds() + LEAST_WAIT_S)

    def test_failure(self) -> None:
        """What may pass is tried again, with the same key, after growing waits."""
        gone = ConnectionProblem("away")
        keeping, running = self.answering(gone, gone, None)
        self.clock.advance(1810)
        self.clock.advance(FIRST_RETRY_S + 0.1)
        self.clock.advance(0)
        self.assertEqual(len(keeping.asked_with), 2)
        self.clock.advance(FIRST_RETRY_S * 2 + 0.1)
        self.clock.advance(0)
        self.assertEqual((len(set(keeping.asked_with)), self.folder.generation()), (1, 2))
        self.assertNoResult(running)

    def test_copied(self) -> None:
        """A refusal is the end."""
        _, running = self.answering(IdentityCopied("It was renewed before."))
        self.clock.advance(1810)
        self.failureResultOf(running, IdentityCopied)

    def test_ended(self) -> None:
        """Nothing is left to renew with: the sentence says what to do."""
        keeping = self.keeping(kind=Keeping)
        self.clock.advance(HOUR + 10)
        problem = self.failureResultOf(Deferred.fromCoroutine(keeping.once()), CertificateExpired).value
        assert isinstance(problem, CertificateExpired)
        self.assertIn("Make a new one with 'tctl bots add'", problem.sentence)

    def test_not_due(self) -> None:
        """A timer that comes early changes nothing."""
        keeping = self.keeping(kind=Keeping)
        self.successResultOf(Deferred.fromCoroutine(keeping.once()))
        self.assertEqual(self.folder.generation(), 1)

    def test_no_token(self) -> None:
        joining = Joining(self.clock, ProxyAddress("proxy.example.org"), "", None, False)
        problem = self.failureResultOf(Deferred.fromCoroutine(joining.join("")), BadParameter).value
        assert isinstance(problem, BadParameter)
        self.assertIn("give its token with --token-file=FILE.", problem.sentence)
