"""What the kernel has recorded, between the processes of a server."""

from __future__ import annotations

from typing import cast

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.monitor import frames, orders
from teleport_conch.ssh.monitor.anchors import FollowedAnchors
from teleport_conch.ssh.monitor.frames import Frame, Peer
from teleport_conch.ssh.monitor.host_key import HostKeys
from teleport_conch.ssh.monitor.loop import Conversation, Loop
from teleport_conch.ssh.monitor.monitor import Monitor
from teleport_conch.ssh.monitor.traced import MAX_UNTAKEN, NOTHING, Telling, Traced, read_traced
from teleport_conch.ssh.processes.monitored import FRAMES_AT_ONCE
from teleport_conch.ssh.processes.monitored import Monitor as ServedMonitor
from teleport_conch.ssh.processes.monitored_process import MonitoredProcess
from teleport_conch.ssh.tracing.layout import COMMAND, DISK, KINDS, NETWORK
from teleport_conch.wire import WireError

_COUNT = st.integers(0, 0xFFFFFFFF)
_TRACED = st.builds(
    Traced, st.sampled_from(KINDS), st.lists(st.binary(max_size=20), max_size=5), st.tuples(*[_COUNT] * len(NOTHING))
)


class CodecTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(_TRACED)
    def test_round_trip(self, traced: Traced) -> None:
        self.assertEqual(read_traced(traced.packed()), traced)

    @settings(max_examples=100, deadline=None)
    @given(_TRACED, st.data())
    def test_cut(self, traced: Traced, data: st.DataObject) -> None:
        """What is cut is refused."""
        packed = traced.packed()
        end = data.draw(st.integers(0, len(packed) - 1))
        self.assertRaises(WireError, read_traced, packed[:end])

    def test_refused(self) -> None:
        for kind, count in ((3, 0), (COMMAND, 4097)):
            body = bytes([kind]) + bytes(16) + count.to_bytes(4, "big")
            self.assertEqual(
                str(self.assertRaises(WireError, read_traced, body)), f"{count} records of the kind {kind}"
            )


@define
class Talk:
    """A conversation with somebody who takes what there is when :attr:`waiting` is 0."""

    waiting: int = 0
    sent: list[tuple[int, Traced]] = field(factory=list)

    def send(self, kind: int, number: int, body: bytes) -> None:
        assert kind == orders.TRACED
        self.sent.append((number, read_traced(body)))


class TellingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.talk = Talk()
        self.telling = Telling(cast(Conversation, self.talk))

    def test_told(self) -> None:
        """Who listens gets everything as it is, packed or not."""
        one, other = Traced(DISK, [b"a"]), Traced(NETWORK, [b"b"], (1, 2, 3, 4))
        self.telling.tell(7, one)
        self.telling.pass_on(8, other.packed())
        self.telling.end(7)
        self.assertEqual(self.talk.sent, [(7, one), (8, other)])

    def test_not_heard(self) -> None:
        """Who does not listen is told afterwards how much there was, by kind and session."""
        self.talk.waiting = MAX_UNTAKEN
        self.telling.tell(7, Traced(DISK, [b"a", b"b"]))
        self.telling.pass_on(7, Traced(COMMAND, [b"c"], (0, 0, 5, 6)).packed())
        self.telling.tell(8, Traced(NETWORK, [b"d"]))
        self.assertEqual((self.talk.sent, self.telling.heard), ([], False))
        self.talk.waiting = MAX_UNTAKEN - 1
        self.telling.pass_on(7, Traced(DISK, [b"e"]).packed())
        self.telling.pass_on(7, Traced(DISK, [b"f"]).packed())
        self.assertEqual(self.talk.sent, [(7, Traced(DISK, [b"e"], (1, 2, 5, 6))), (7, Traced(DISK, [b"f"]))])

    def test_end(self) -> None:
        """Before the end of a session, and only of that one, it is told even to who does not listen."""
        self.talk.waiting = MAX_UNTAKEN
        for number in (7, 8):
            self.telling.tell(number, Traced(NETWORK, [b"d"]))
        self.telling.end(7)
        self.assertEqual(self.talk.sent, [(7, Traced(COMMAND, [], (0, 0, 1, 0)))])


class FloodTests(SynchronousTestCase):
    def test_others_have_their_turn(self) -> None:
        """A server does not read on as long as something comes."""
        server, monitor = frames.pair()
        self.addCleanup(monitor.close)
        clock = MemoryReactorClock()
        served = ServedMonitor(clock, clock, server, lambda: None)
        self.addCleanup(served.close)
        told: list[Traced] = []
        served._processes[7] = process = MonitoredProcess(1, -1, -1, None, None, served, 7)
        process.on_traced = told.append
        peer = Peer(monitor)
        for _ in range(FRAMES_AT_ONCE + 1):
            peer.send(Frame(orders.TRACED, 7, Traced(DISK, [b"a"]).packed()))
        served.doRead()
        self.assertEqual(len(told), FRAMES_AT_ONCE)
        served.doRead()
        self.assertEqual(len(told), FRAMES_AT_ONCE + 1)


class MonitorTests(SynchronousTestCase):
    """The monitor between the starter and a server that does not read."""

    def setUp(self) -> None:
        self.ends = [socket for _ in range(2) for socket in frames.pair()]
        for end in self.ends:
            self.addCleanup(end.close)
        keys = cast(HostKeys, None)
        self.monitor = Monitor(Loop(), Peer(self.ends[0]), [Peer(self.ends[2])], FollowedAnchors(), keys)
        (self.server,) = self.monitor._servers
        self.server._pass_on(5, orders.START, b"")
        order = Peer(self.ends[1]).receive()
        assert order is not None
        self.number = order.number

    def told(self) -> list[tuple[int, int, bytes]]:
        """What the server gets."""
        peer, found = Peer(self.ends[3]), []
        while (frame := peer.receive()) is not None:
            found.append((frame.kind, frame.number, frame.body))
        return found

    def test_passed_on(self) -> None:
        """What is recorded goes on under the server's number, and the order goes on as well."""
        body = Traced(DISK, [b"a"]).packed()
        for kind in (orders.TRACED, orders.DONE, orders.TRACED, orders.EXITED, orders.TRACED):
            self.monitor._from_starter(Frame(kind, self.number, body))
        kinds = (orders.TRACED, orders.DONE, orders.TRACED, orders.EXITED)
        self.assertEqual(self.told(), [(kind, 5, body) for kind in kinds])

    def test_before_the_end(self) -> None:
        """How much was lost is told before the end is."""
        self.patch(Telling, "heard", False)
        self.monitor._from_starter(Frame(orders.TRACED, self.number, Traced(DISK, [b"a", b"b"]).packed()))
        self.monitor._from_starter(Frame(orders.EXITED, self.number, b"0"))
        lost = Traced(COMMAND, (), (0, 2, 0, 0)).packed()
        self.assertEqual(self.told(), [(orders.TRACED, 5, lost), (orders.EXITED, 5, b"0")])
