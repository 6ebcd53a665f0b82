"""Who is there: what beats, silence, goodbyes and second machines make of a host's state."""

from __future__ import annotations

import gc
import sys
from types import FrameType
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.auth.hosts.presence import HostKey, PresenceTable
from teleport_conch.errors import HostDuplicate
from teleport_conch.resources.server import State
from tests.auth.fixture import NOW, clocks_of

WEB = HostKey("node", "web")
INTERVAL_S = 15.0


class PresenceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.changes: list[tuple[HostKey, State, State]] = []
        self.table = PresenceTable(clocks_of(self.clock), INTERVAL_S, lambda *change: self.changes.append(change))

    def after(self, seconds: float) -> State:
        """The state of the host after so long."""
        self.clock.advance(seconds)
        self.table.sweep()
        return self.table.get(WEB).state


class StateTests(PresenceTestCase):
    def test_unknown_for_a_window(self) -> None:
        """Of a host that auth has not heard of since its start nothing can be said; then it is offline."""
        self.table.expect(WEB, last_seen_at=NOW - 100)
        self.assertEqual(self.after(52), State.UNKNOWN)
        self.assertEqual(self.after(1), State.OFFLINE)
        self.assertEqual(self.table.get(WEB).last_seen_at, NOW - 100)

    def test_the_window_begins_with_readiness(self) -> None:
        """What passed while auth was not listening yet does not count against anybody."""
        self.table.expect(WEB)
        self.clock.advance(1000)
        self.table.begin()
        self.assertEqual(self.after(52), State.UNKNOWN)

    def test_late_after_one_missed_beat_offline_after_three(self) -> None:
        """Half an interval is allowed for each beat to arrive."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.assertEqual(self.after(22), State.ONLINE)
        self.assertEqual(self.after(1), State.LATE)
        self.assertEqual(self.after(29), State.LATE)
        self.assertEqual(self.after(1), State.OFFLINE)
        self.assertEqual(self.table.get(WEB).last_seen_at, NOW)

    def test_a_beat_makes_online(self) -> None:
        """Whatever the host was before; and each change is told, once."""
        self.table.expect(WEB)
        self.table.beat(WEB, "one", "10.0.0.5")
        self.after(23)
        self.table.beat(WEB, "one", "10.0.0.5")
        self.table.beat(WEB, "one", "10.0.0.5")
        self.assertEqual(
            [(old.value, new.value) for _, old, new in self.changes],
            [("unknown", "online"), ("online", "late"), ("late", "online")],
        )

    def test_regular_beats_stay_online(self) -> None:
        """A beat every interval is never late."""
        for _ in range(20):
            self.table.beat(WEB, "one", "10.0.0.5")
            self.assertEqual(self.after(INTERVAL_S), State.ONLINE)

    def test_goodbye(self) -> None:
        """A host that stops cleanly is offline at once, and stays so."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.table.goodbye(WEB, "one")
        self.assertEqual(self.after(0), State.OFFLINE)
        self.assertFalse(self.table.is_live(WEB))
        self.assertEqual(self.after(1000), State.OFFLINE)

    def test_goodbye_of_another_process(self) -> None:
        """A process that was superseded does not take its successor down."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.table.beat(WEB, "two", "10.0.0.5")
        self.table.goodbye(WEB, "one")
        self.assertEqual(self.after(0), State.ONLINE)

    def test_goodbye_after_a_restart_of_auth(self) -> None:
        """A host that stops before auth heard of it again is offline, too."""
        self.table.expect(WEB, NOW - 5)
        self.table.goodbye(WEB, "one")
        self.assertEqual(self.after(0), State.OFFLINE)

    def test_live(self) -> None:
        """Online, late and unknown hosts may be there; offline ones and strangers are not."""
        self.assertFalse(self.table.is_live(WEB))
        self.table.expect(WEB)
        self.assertTrue(self.table.is_live(WEB))
        self.table.beat(WEB, "one", "10.0.0.5")
        self.after(23)
        self.assertTrue(self.table.is_live(WEB))
        self.after(30)
        self.assertFalse(self.table.is_live(WEB))

    def test_wall_clock_may_jump(self) -> None:
        """Presence is counted on the monotonic clock; the wall clock is for "last seen" only."""
        clocks = clocks_of(self.clock)
        wall = NOW
        table = PresenceTable(type(clocks)(self.clock, lambda: wall, self.clock.seconds), INTERVAL_S, lambda *_: None)
        table.beat(WEB, "one", "10.0.0.5")
        wall += 1e6
        table.sweep()
        self.assertEqual(table.get(WEB).state, State.ONLINE)

    def test_unsaved(self) -> None:
        """What is to be written is when hosts were last seen, each once."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.clock.advance(3)
        self.table.beat(WEB, "one", "10.0.0.5")
        self.assertEqual(self.table.take_unsaved(), {WEB: NOW + 3})
        self.assertEqual(self.table.take_unsaved(), {})

    def test_offline_for_long(self) -> None:
        """Only hosts that are offline are found, by when they were last seen."""
        other = HostKey("node", "other")
        self.table.beat(WEB, "one", "10.0.0.5")
        self.after(60)
        self.table.beat(other, "one", "10.0.0.6")
        self.after(60)
        self.assertEqual(self.table.offline_since_before(NOW + 1), [WEB])
        self.table.beat(WEB, "one", "10.0.0.5")
        self.assertEqual(self.table.offline_since_before(NOW + 1), [])

    def test_forget(self) -> None:
        """A host that was removed is in no state, and nothing of it is written."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.table.forget(WEB)
        self.assertEqual(list(self.table), [])
        self.assertEqual(self.table.take_unsaved(), {})
        self.after(1000)
        self.assertEqual(len(self.changes), 1)

    def test_unreachable(self) -> None:
        """Why a host cannot be dialled is kept beside its state, and told as news once."""
        self.assertFalse(self.table.set_unreachable(WEB, "no route"))
        self.table.beat(WEB, "one", "10.0.0.5")
        self.assertTrue(self.table.set_unreachable(WEB, "no route"))
        self.assertFalse(self.table.set_unreachable(WEB, "no route"))
        self.assertEqual(self.table.get(WEB).unreachable, "no route")
        self.assertTrue(self.table.set_unreachable(WEB, ""))


class DuplicateTests(PresenceTestCase):
    """Threat 94: the same UUID from two hosts."""

    def test_94_from_elsewhere(self) -> None:
        """While a host is there, another machine with its identity is refused."""
        self.table.beat(WEB, "one", "10.0.0.5")
        for _ in range(2):
            reason = self.assertRaises(HostDuplicate, self.table.beat, WEB, "clone", "10.0.0.6")
            self.assertIn("beats from 10.0.0.5 already", reason.sentence)
            self.assertIn("data_dir of its own", reason.sentence)
        self.after(23)
        self.assertRaises(HostDuplicate, self.table.beat, WEB, "clone", "10.0.0.6")
        self.table.beat(WEB, "one", "10.0.0.5")

    def test_94_restart(self) -> None:
        """A new process at the same address takes over, and beats of the old one are refused from then on."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.table.beat(WEB, "two", "10.0.0.5")
        reason = self.assertRaises(HostDuplicate, self.table.beat, WEB, "one", "10.0.0.5")
        self.assertIn("was started again", reason.sentence)
        self.table.beat(WEB, "two", "10.0.0.5")

    def test_94_started_by_mistake(self) -> None:
        """A second process that has gone again, cleanly or not, leaves the first one its place."""
        self.table.beat(WEB, "one", "10.0.0.5")
        for end in (lambda: self.table.goodbye(WEB, "two"), lambda: self.after(60)):
            self.table.beat(WEB, "two", "10.0.0.5")
            self.assertRaises(HostDuplicate, self.table.beat, WEB, "one", "10.0.0.5")
            end()
            self.table.beat(WEB, "one", "10.0.0.5")
            self.assertEqual(self.after(0), State.ONLINE)
            self.assertRaises(HostDuplicate, self.table.beat, WEB, "two", "10.0.0.5")
            self.after(60)

    def test_94_after_silence(self) -> None:
        """Once a host is offline another may come in its place, and the first is refused when it returns."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.after(60)
        self.table.beat(WEB, "two", "10.0.0.6")
        self.assertRaises(HostDuplicate, self.table.beat, WEB, "one", "10.0.0.5")

    def test_same_process_moves(self) -> None:
        """One process may change its address, as a laptop does."""
        self.table.beat(WEB, "one", "10.0.0.5")
        self.table.beat(WEB, "one", "10.0.0.6")
        self.assertEqual(self.table.address(WEB), "10.0.0.6")

    def test_after_a_restart_of_auth(self) -> None:
        """The first to beat is taken for the host, since nothing is known of the process before."""
        self.table.expect(WEB, NOW - 5)
        self.table.beat(WEB, "one", "10.0.0.5")
        self.assertRaises(HostDuplicate, self.table.beat, WEB, "two", "10.0.0.6")


class CostTests(PresenceTestCase):
    def calls(self) -> int:
        """How many functions one beat and one sweep call."""
        count = 0

        def count_calls(frame: FrameType, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        self.table.beat(WEB, "one", "10.0.0.5")
        gc.disable()  # finalizers of what other tests left behind are no steps of ours
        sys.setprofile(count_calls)
        try:
            self.table.beat(WEB, "one", "10.0.0.5")
            self.table.sweep()
        finally:
            sys.setprofile(None)
            gc.enable()
        return count

    def test_cost_does_not_grow(self) -> None:
        """A beat, and a sweep in which nobody is due, take as many steps among 10,000 hosts as for one."""
        alone = self.calls()
        for number in range(10_000):
            self.table.beat(HostKey("node", str(UUID(int=number))), "one", "10.0.0.5")
        self.assertEqual(self.calls(), alone)
