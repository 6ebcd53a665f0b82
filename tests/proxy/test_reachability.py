"""The proxy dials back to who joins, and says it at both ends where nobody answers."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import ConnectionProblem
from teleport_conch.proxy.reachability import AGAIN_S, SECOND_TRY_S, Reachability
from teleport_conch.resources.server import Presence, Server, State

WEB1 = Server(kind="node", name="uuid-1", hostname="web1", addr="10.0.0.1:3022", presence=Presence(State.ONLINE))
REFUSED = "10.0.0.1:3022 cannot be reached: refused."


class ReachabilityTests(SynchronousTestCase):
    """What answers at an address is as the test says; what auth hears is kept."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes: list[Server] = [WEB1]
        self.answering = True
        self.probed: list[tuple[str, str]] = []
        self.reported: list[tuple[str, str]] = []
        self.reachability = Reachability(self.clock, lambda: self.nodes, self, lambda: self)
        self.reachability.startService()
        self.addCleanup(self.reachability.stopService)

    async def probe(self, node: str, address: str) -> None:
        self.probed.append((node, address))
        if not self.answering:
            raise ConnectionProblem(REFUSED)

    async def report_reachability(self, uuid: str, error: str) -> None:
        self.reported.append((uuid, error))

    def test_reachable(self) -> None:
        """Whoever joins is dialled once, and where that works nothing is said."""
        self.reachability.nodes_changed()
        self.reachability.nodes_changed()
        self.clock.advance(AGAIN_S)
        self.assertEqual((self.probed, self.reported), ([("uuid-1", "10.0.0.1:3022")], []))

    def test_unreachable(self) -> None:
        """The proxy's log and auth both hear why."""
        self.answering = False
        with capturedLogs() as logged:
            self.reachability.nodes_changed()
            self.clock.advance(SECOND_TRY_S)
        self.assertEqual(self.reported, [("uuid-1", REFUSED)])
        self.assertEqual([entry["error"] for entry in logged], [REFUSED])

    def test_a_moment_too_early(self) -> None:
        """A node that listens a moment after it announced itself is not called unreachable."""
        self.answering = False
        self.reachability.nodes_changed()
        self.answering = True
        self.clock.advance(SECOND_TRY_S)
        self.assertEqual((len(self.probed), self.reported), (2, []))

    def test_reachable_again(self) -> None:
        """Those that failed are dialled every minute, and it is said when that works."""
        self.answering = False
        self.reachability.nodes_changed()
        self.clock.advance(SECOND_TRY_S)
        self.nodes = [evolve(WEB1, presence=Presence(State.ONLINE, unreachable=REFUSED))]
        self.answering = True
        self.clock.advance(AGAIN_S)
        self.assertEqual(self.reported[1:], [("uuid-1", "")])

    def test_another_address(self) -> None:
        """A node that moves is dialled at its new address."""
        self.reachability.nodes_changed()
        self.nodes = [evolve(WEB1, addr="10.0.0.2:3022")]
        self.reachability.nodes_changed()
        self.assertEqual([address for _, address in self.probed], ["10.0.0.1:3022", "10.0.0.2:3022"])

    def test_only_who_is_there(self) -> None:
        """A node that is not online is not dialled."""
        self.nodes = [evolve(WEB1, presence=Presence(State.OFFLINE))]
        self.reachability.nodes_changed()
        self.assertEqual(self.probed, [])

    def test_stopped(self) -> None:
        """A proxy that stops gives up what it was about to try again."""
        self.answering = False
        self.reachability.nodes_changed()
        self.reachability.stopService()
        self.clock.advance(SECOND_TRY_S)
        self.assertEqual((len(self.probed), self.reported), (1, []))
        self.reachability.startService()
