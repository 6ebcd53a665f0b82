"""The proxy dials back to who joins, and says it at both ends where nobody answers."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import ConnectionProblem
from teleport_conch.proxy.reachability import AGAIN_S, MAX_PROBES, SECOND_TRY_S, Reachability
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
        self.away = False
        self.unknown = False
        self.waiting: list[Deferred[None]] | None = None
        self.reachability = Reachability(self.clock, self.known_nodes, self, lambda: self)
        self.reachability.startService()
        self.addCleanup(self.reachability.stopService)

    def known_nodes(self) -> list[Server]:
        if self.unknown:
            raise ConnectionProblem("Nothing is known of the nodes.")
        return self.nodes

    async def probe(self, node: str, address: str) -> None:
        self.probed.append((node, address))
        if self.waiting is not None:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if not self.answering:
            raise ConnectionProblem(REFUSED)

    async def report_reachability(self, uuid: str, error: str) -> None:
        if self.away:
            raise ConnectionProblem("auth is away")
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

    def test_told_later(self) -> None:
        """What auth could not be told is told when it is back, good news above all."""
        self.nodes = [evolve(WEB1, presence=Presence(State.ONLINE, unreachable=REFUSED))]
        self.away = True
        self.reachability.nodes_changed()
        self.clock.advance(AGAIN_S)
        self.assertEqual(self.reported, [])
        self.away = False
        self.clock.advance(AGAIN_S)
        self.assertEqual(self.reported, [("uuid-1", "")])
        self.nodes = [WEB1]
        self.clock.advance(AGAIN_S)
        self.assertEqual(len(self.probed), 3)

    def test_many_that_fail(self) -> None:
        """Those that are tried again collect in no queue, and who joins does not wait behind them."""
        self.nodes = [evolve(WEB1, name=f"uuid-{number}", addr=f"10.0.0.{number}:3022") for number in range(100)]
        self.answering = False
        self.reachability.nodes_changed()
        self.clock.advance(SECOND_TRY_S)
        while len(self.reported) < 100:
            self.clock.advance(SECOND_TRY_S)
        self.waiting = []
        for _ in range(10):
            self.clock.advance(AGAIN_S)
        self.assertEqual(len(self.waiting), MAX_PROBES)
        self.nodes.append(evolve(WEB1, name="uuid-new", addr="10.0.1.1:3022"))
        self.reachability.nodes_changed()
        self.waiting.pop(0).callback(None)
        self.assertEqual(self.probed[-1], ("uuid-new", "10.0.1.1:3022"))
        tried = len(self.probed)
        while self.waiting:
            self.waiting.pop(0).callback(None)
        self.assertEqual(len(self.probed) - tried, 100 - MAX_PROBES)

    def test_gone_meanwhile(self) -> None:
        """What is found out of a node that has moved or gone while it was dialled is not told."""
        self.waiting = []
        self.answering = False
        for nodes in ([evolve(WEB1, addr="10.0.0.2:3022")], []):
            self.reachability.nodes_changed()
            self.nodes = nodes
            self.reachability.nodes_changed()
        waiting, self.waiting = self.waiting, None
        for each in waiting:
            each.callback(None)
        self.clock.advance(SECOND_TRY_S)
        self.assertEqual((len(waiting), self.reported), (2, []))

    def test_nothing_known(self) -> None:
        """A proxy whose knowledge is too old probes nobody, and goes on when it knows something again."""
        self.unknown = True
        self.reachability.nodes_changed()
        self.clock.advance(AGAIN_S)
        self.unknown, self.answering = False, False
        self.reachability.nodes_changed()
        self.clock.advance(SECOND_TRY_S)
        self.clock.advance(AGAIN_S)
        self.assertEqual(len(self.probed), 3)

    def test_stopped(self) -> None:
        """A proxy that stops gives up what it was about to try again."""
        self.answering = False
        self.reachability.nodes_changed()
        self.reachability.stopService()
        self.clock.advance(SECOND_TRY_S)
        self.assertEqual((len(self.probed), self.reported), (1, []))
        self.reachability.startService()
