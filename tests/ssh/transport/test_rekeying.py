"""How often a peer may exchange keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.transport.rekeying import PEER_EXCHANGES_AT_ONCE, PeerExchanges, RekeyLimits


class PeerExchangesTests(SynchronousTestCase):
    def begun(self, exchanges: PeerExchanges, times: int, step_s: float, moved_bytes: int) -> int:
        """How many of so many exchanges may begin, one after the other."""
        return sum(exchanges.begin(exchanges.now + step_s, moved_bytes) for _ in range(times))

    def test_many_at_once(self) -> None:
        """T19: a thousand in a second, for nothing, are too many."""
        self.assertEqual(self.begun(PeerExchanges(0.0), 1000, 0.001, 0), PEER_EXCHANGES_AT_ONCE)

    def test_for_data(self) -> None:
        """Who moves a megabyte with each set of keys may have as many as that takes."""
        self.assertEqual(self.begun(PeerExchanges(0.0), 1000, 0.001, 1 << 20), 1000)

    def test_slowly(self) -> None:
        """One in a second is always possible."""
        self.assertEqual(self.begun(PeerExchanges(0.0), 1000, 1.0, 0), 1000)

    def test_not_saved(self) -> None:
        """An hour of silence does not earn more than the first moment had."""
        exchanges = PeerExchanges(0.0)
        exchanges.begin(3600.0, 1 << 30)
        self.assertEqual(self.begun(exchanges, 1000, 0.0, 0), PEER_EXCHANGES_AT_ONCE - 1)

    def test_clock_set_back(self) -> None:
        """A clock that is set back takes nothing away."""
        exchanges = PeerExchanges(1000.0)
        self.assertTrue(exchanges.begin(10.0, 0))
        self.assertTrue(exchanges.begin(11.0, 0))

    def test_ours(self) -> None:
        """What RFC 4253, section 9, recommends."""
        self.assertEqual(RekeyLimits(), RekeyLimits(1 << 30, 3600.0))
