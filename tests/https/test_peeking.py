"""Connections whose first bytes decide: none is kept waiting by another, and none waits for ever (threat 105)."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import BadParameter
from teleport_conch.https.limits import PEEK_S, SAY_AGAIN_S
from teleport_conch.https.peeking import Chosen, Peek, PeekFactory


class _Wire(StringTransport):
    """A transport that knows who speaks over it, as Twisted's do."""

    protocol: Protocol
    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True
        self.protocol.connectionLost(Failure(connectionDone.value))


class _Speaker(Protocol):
    """Whoever goes on."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class PeekingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.full = False
        self.factory = PeekFactory(self.clock, self.choose, 5, 3, lambda start: b"no: " + start)

    def choose(self, start: bytes, peer: IAddress) -> Chosen | None:
        if start.startswith(b"!"):
            raise BadParameter("Nothing begins so.")
        if len(start) < 4:
            return None
        return (None if self.full else _Speaker()), start[2:]

    def connect(self, host: str = "10.0.0.1") -> _Wire | None:
        address = IPv4Address("TCP", host, 4000)
        peek = self.factory.buildProtocol(address)
        if peek is None:
            return None
        wire = _Wire(peerAddress=address)
        wire.protocol = peek
        peek.makeConnection(wire)
        return wire

    def connected(self, host: str = "10.0.0.1") -> _Wire:
        wire = self.connect(host)
        assert wire is not None
        return wire

    def test_handed_over(self) -> None:
        """Whoever was chosen gets what it should have, and everything from then on."""
        wire = self.connected()
        for each in (b"ab", b"cde"):
            wire.protocol.dataReceived(each)
        wire.protocol.dataReceived(b"f")
        assert isinstance(wire.protocol, _Speaker)
        self.assertEqual(wire.protocol.heard, b"cdef")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """With a word of farewell, and one line of the log a minute."""
        with capturedLogs() as logged:
            for _ in range(3):
                wire = self.connected()
                wire.protocol.dataReceived(b"!")
                self.assertEqual((wire.value(), wire.disconnecting), (b"no: !", True))
                wire.protocol.connectionLost(connectionDone)
            self.assertEqual([event["why"] for event in logged], ["Nothing begins so."])
            self.clock.advance(SAY_AGAIN_S)
            self.connected().protocol.dataReceived(b"!")
            self.assertEqual(len(logged), 2)

    def test_nobody(self) -> None:
        """Where whoever should go on takes no more, the connection is cut."""
        self.full = True
        wire = self.connected()
        wire.protocol.dataReceived(b"abcd")
        self.assertTrue(wire.aborting)

    def test_105_silent(self) -> None:
        """Who says nothing, or not enough, is cut after ten seconds; bytes that trickle do not prolong it."""
        silent, slow = self.connected(), self.connected()
        self.clock.advance(PEEK_S - 1)
        slow.protocol.dataReceived(b"a")
        self.assertFalse(silent.aborting or slow.aborting)
        self.clock.advance(1)
        self.assertTrue(silent.aborting and slow.aborting)

    def test_105_one_address(self) -> None:
        """One address has so many that wait, and may have the next when one of them waits no more."""
        waiting = [self.connected() for _ in range(3)]
        self.assertIs(self.connect(), None)
        waiting[0].protocol.dataReceived(b"abcd")
        self.connected()
        self.assertIs(self.connect(), None)

    def test_105_many_addresses(self) -> None:
        """When all places are taken, the one that has waited longest makes room for the next."""
        waiting = [self.connected(f"10.0.0.{number}") for number in range(5)]
        self.connected("10.0.1.1").protocol.dataReceived(b"abcd")
        self.assertEqual([each.aborting for each in waiting], [True, False, False, False, False])

    def test_forgotten(self) -> None:
        """Nothing is kept of connections that have gone."""
        wires = [self.connected(f"10.0.0.{number}") for number in range(4)]
        wires[0].protocol.dataReceived(b"abcd")
        wires[1].protocol.connectionLost(connectionDone)
        self.factory.end()
        self.assertEqual((self.factory._waiting, dict(self.factory._by_address)), ({}, {}))
        self.assertTrue(wires[2].aborting and wires[3].aborting)
        self.assertIsInstance(wires[3].protocol, Peek)
