"""Questions to silent clients."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.factory import ServerFactory, ServerLimits
from teleport_conch.ssh.transport.keepalive import KeepAlive, KeepAliveRhythm
from tests.ssh import messages
from tests.ssh.in_memory import Pair, sample_host_keys
from tests.ssh.logins import SamplePolicy


class KeepAliveTests(SynchronousTestCase):
    def start(self, interval_s: float = 10.0, count_max: int = 2) -> KeepAlive:
        self.clock, self.said = Clock(), list[str]()
        rhythm = KeepAliveRhythm(interval_s, count_max)
        alive = KeepAlive(self.clock, rhythm, lambda: self.said.append("asked"), lambda: self.said.append("given up"))
        alive.start()
        return alive

    def test_silent(self) -> None:
        """A silent client is asked some times, and given up when it has not answered the last question either."""
        self.start()
        self.clock.pump([9.0, 1.0, 10.0])
        self.assertEqual(self.said, ["asked", "asked"])
        self.clock.pump([10.0, 100.0])
        self.assertEqual(self.said, ["asked", "asked", "given up"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_talking(self) -> None:
        """Who says anything in each interval is never asked."""
        alive = self.start()
        for _ in range(10):
            alive.heard()
            self.clock.advance(10)
        self.assertEqual(self.said, [])

    def test_answering(self) -> None:
        """An answer starts the count anew."""
        alive = self.start()
        for _ in range(5):
            self.clock.advance(10)
            alive.heard()
            self.clock.advance(10)
        self.assertEqual(self.said, ["asked"] * 5)

    def test_never(self) -> None:
        """An interval of zero means that nobody is asked."""
        self.start(interval_s=0.0)
        self.clock.pump([0.0, 1.0, 1000.0])
        self.assertEqual((self.said, self.clock.getDelayedCalls()), ([], []))

    def test_stopped(self) -> None:
        """Nothing is asked of a client that has gone; stopping twice is no matter."""
        alive = self.start()
        alive.stop()
        alive.stop()
        self.clock.advance(100)
        self.assertEqual(self.said, [])


class ServerTests(SynchronousTestCase):
    def pair(self, limits: ServerLimits) -> Pair:
        clock, policy = Clock(), SamplePolicy()
        pair = Pair(factory=ServerFactory(clock, policy, sample_host_keys(), limits))
        pair.clock, pair.policy = clock, policy
        return pair

    def test_asked(self) -> None:
        """A client that has logged in is asked as OpenSSH asks, and any answer will do."""
        pair = self.pair(ServerLimits(keep_alive=lambda: KeepAliveRhythm(10, 1)))
        pair.log_in()
        pair.client.got.clear()
        pair.clock.advance(10)
        pair.pump()
        self.assertEqual(pair.client.got, [(80, messages.global_request(b"keepalive@openssh.com"))])
        pair.send(82)
        pair.clock.advance(10)
        self.assertFalse(pair.server_tcp.losing)

    def test_gone(self) -> None:
        """One that does not answer is let go, and so is what it held."""
        pair = self.pair(ServerLimits(keep_alive=lambda: KeepAliveRhythm(10, 2)))
        pair.log_in()
        pair.clock.pump([10.0, 10.0, 10.0, 10.0])
        pair.pump()
        self.assertEqual(pair.client.errors, [(10, b"no answer")])
        pair.lose()
        self.assertEqual((pair.policy.owner.ended, pair.clock.getDelayedCalls()), (1, []))
