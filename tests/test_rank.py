"""One of several processes, and its part of what they have together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.rank import ALONE, Rank


class RankTests(SynchronousTestCase):
    def test_names(self) -> None:
        """The one that leads has the name that a service without others has."""
        self.assertEqual([Rank(number, 3).name("node") for number in range(3)], ["node", "node.w1", "node.w2"])
        self.assertEqual([Rank(number, 3).leads for number in range(3)], [True, False, False])
        self.assertEqual(ALONE.name("proxy"), "proxy")

    def test_shares(self) -> None:
        """The only one has all of a bound; of several each has its part, and a little more, but never more than all."""
        table = [(1, 200, 200), (2, 200, 120), (4, 200, 65), (8, 1000, 148), (2, 1, 1), (2, 2, 2), (8, 1, 1)]
        for of, bound, share in table:
            self.assertEqual(Rank(0, of).share(bound), share, (of, bound))

    def test_parts(self) -> None:
        """Where all together have to stay within a bound, each has its part and no more."""
        table = [(1, 300, 300), (2, 300, 150), (8, 300, 37), (8, 4, 1)]
        for of, bound, part in table:
            self.assertEqual(Rank(0, of).part(bound), part, (of, bound))
