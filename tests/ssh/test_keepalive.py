"""Silent clients are asked whether they are there, and given up in the end."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.keepalive import KeepAlive, KeepAliveRhythm


class KeepAliveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[str] = []
        self.alive = KeepAlive(
            self.clock,
            KeepAliveRhythm(10.0, 3),
            lambda: self.events.append("asked"),
            lambda: self.events.append("given up"),
        )
        self.alive.start()

    def test_silent_client(self) -> None:
        """After three questions without an answer, the client is gone, and nobody asks again."""
        self.clock.pump([10.0] * 10)
        self.assertEqual(self.events, ["asked", "asked", "asked", "given up"])

    def test_answers_count(self) -> None:
        """A client that says anything is not given up, however long it takes."""
        for _ in range(20):
            self.clock.advance(10.0)
            self.alive.heard()
        self.assertEqual(self.events, ["asked"])

    def test_an_answer_begins_anew(self) -> None:
        """One answer after two questions, and three more questions are due."""
        self.clock.pump([10.0] * 2)
        self.alive.heard()
        self.clock.pump([10.0] * 5)
        self.assertEqual(self.events, ["asked"] * 5 + ["given up"])

    def test_stop(self) -> None:
        """A connection that has ended is not asked."""
        self.alive.stop()
        self.clock.pump([10.0] * 5)
        self.assertEqual(self.events, [])
