"""Long lists leave others their turn."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.turns import ITEMS_AT_ONCE, in_turns


class TurnsTests(SynchronousTestCase):
    def test_turns(self) -> None:
        """All items come, in order, and no more of them at once than the bound says."""
        clock, seen, turns = Clock(), list[int](), list[int]()

        def other() -> None:
            turns.append(len(seen))
            if len(turns) < 3:
                clock.callLater(0, other)

        async def go_through() -> None:
            async for item in in_turns(clock, range(2 * ITEMS_AT_ONCE + 5)):
                seen.append(item)

        clock.callLater(0, other)
        done = Deferred.fromCoroutine(go_through())
        clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(turns, [ITEMS_AT_ONCE, 2 * ITEMS_AT_ONCE, 2 * ITEMS_AT_ONCE + 5])
        self.assertEqual(seen, list(range(2 * ITEMS_AT_ONCE + 5)))

    def test_short(self) -> None:
        """A short list takes no turns."""

        async def go_through() -> list[int]:
            return [item async for item in in_turns(Clock(), range(5))]

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(go_through())), [0, 1, 2, 3, 4])
