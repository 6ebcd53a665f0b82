"""What anybody may ask for, and how often."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import LimitExceeded
from teleport_conch.https import throttle
from teleport_conch.https.throttle import Failures, InProgress, InProgressOfEach


class InProgressTests(SynchronousTestCase):
    def test_limit(self) -> None:
        """The next beyond the limit is refused with what to do, and comes in once another has ended."""
        gate = InProgress(2, "registrations")
        with gate.one():
            with gate.one():
                reason = self.assertRaises(LimitExceeded, gate.one().__enter__)
                self.assertEqual(reason.sentence, "2 registrations are in progress; try again in a few seconds.")
                self.assertEqual(reason.http_status, 429)
            with gate.one():
                pass

    def test_failure_frees(self) -> None:
        """What fails is not in progress any more."""
        gate = InProgress(1, "registrations")
        for _ in range(3):
            with self.assertRaises(ValueError), gate.one():
                raise ValueError
        self.assertEqual(gate.running, 0)


class InProgressOfEachTests(SynchronousTestCase):
    def test_limit(self) -> None:
        """Who has as many as may be is refused, and nobody else; nothing is kept of who has none any more."""
        gate = InProgressOfEach(1, "watches of this caller")
        with gate.one("alice"):
            reason = self.assertRaises(LimitExceeded, gate.one("alice").__enter__)
            self.assertEqual(reason.sentence, "1 watches of this caller are in progress; try again in a few seconds.")
            with gate.one("bob"):
                self.assertRaises(LimitExceeded, gate.one("alice").__enter__)
            self.assertEqual(list(gate._of), ["alice"])
        with gate.one("alice"):
            pass
        self.assertEqual(gate._of, {})


class FailuresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.failures = Failures(self.clock.seconds, 3)

    def failed(self, address: str = "10.0.0.5", times: int = 3) -> None:
        for _ in range(times):
            self.failures.add(address)

    def test_limit(self) -> None:
        """After so many failures the address is refused, and told for how long."""
        self.failed(times=2)
        self.failures.check("10.0.0.5")
        self.clock.advance(10)
        self.failed(times=1)
        reason = self.assertRaises(LimitExceeded, self.failures.check, "10.0.0.5")
        self.assertEqual(reason.sentence, "Too many failed attempts from 10.0.0.5; try again in 50 seconds.")
        self.assertEqual(reason.facts, {"seconds": 50})

    def test_others_are_not_affected(self) -> None:
        """Another address has failed in nothing."""
        self.failed()
        self.failures.check("10.0.0.6")

    def test_a_minute_later(self) -> None:
        """The count starts anew."""
        self.failed()
        self.clock.advance(60)
        self.failures.check("10.0.0.5")

    def test_one_host_of_ipv6(self) -> None:
        """A /64 is one host, an IPv4 address in IPv6 form is that address, and what is no address is itself."""
        for first, other in (("2001:db8::1", "2001:db8::ffff:2"), ("::ffff:10.0.0.5", "10.0.0.5"), ("peer", "peer")):
            self.failed(first)
            self.assertRaises(LimitExceeded, self.failures.check, other)
        self.failures.check("2001:db8:0:1::1")

    def test_memory_is_bounded(self) -> None:
        """The address that failed longest ago is forgotten."""
        self.patch(throttle, "ADDRESSES_REMEMBERED", 2)
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
            self.failed(address)
        self.failures.check("10.0.0.1")
        self.assertRaises(LimitExceeded, self.failures.check, "10.0.0.3")


class ReportsTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """So many for each address, so many in all, and again a minute later."""
        clock = Clock()
        reports = throttle.Reports(Failures(clock.seconds, 2), Failures(clock.seconds, 3))
        said = [reports.allow(address) for address in ("a", "a", "a", "b", "b", "c")]
        self.assertEqual(said, [True, True, False, True, False, False])
        clock.advance(60)
        self.assertTrue(reports.allow("a"))
