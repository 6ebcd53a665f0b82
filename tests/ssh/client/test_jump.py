"""A channel that behaves like TCP, for protocols that are spoken through another host."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from teleport_conch import wire
from teleport_conch.errors import ConnectionProblem
from teleport_conch.ssh.client.jump import ChannelTransport, FarAddress, JumpEndpoint
from teleport_conch.ssh.connection.channel import Channel, ChannelRefused
from tests.ssh.recording import RecordingLink, RecordingProducer


class Spoken(Protocol):
    """A protocol that takes down what happens to it."""

    transport: ChannelTransport
    pauses = False

    def __init__(self) -> None:
        self.events: list[object] = []

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)
        if self.pauses:
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfSpoken(Spoken):
    """One that knows that one direction may end."""

    def readConnectionLost(self) -> None:
        self.events.append("eof")

    def writeConnectionLost(self) -> None:
        """Nothing is left to write."""


class OpeningLink(RecordingLink):
    """A connection that opens what it is asked for when the test says so."""

    full = False

    def open(self, kind: bytes, channel: Channel, payload: bytes = b"") -> None:
        if self.full:
            raise ChannelRefused(4, "There are too many.")
        assert isinstance(channel, ChannelTransport)
        self.said.append(("open", kind, payload))
        self.channel = channel
        channel.bind(self, 0)


class JumpCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = OpeningLink()
        self.protocol = Spoken()

    def dial(self) -> Deferred[IProtocol]:
        protocol = self.protocol

        class Only(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Spoken:
                self.addr = addr
                return protocol

        self.factory = Only()
        return JumpEndpoint(self.link, "10.0.0.5", 22).connect(self.factory)

    def connected(self, protocol: Spoken | None = None) -> ChannelTransport:
        self.protocol = protocol or self.protocol
        dialled = self.dial()
        channel = self.link.channel
        channel.connect(7, 1 << 20, 1 << 15)
        channel.opened()
        channel.flush()
        self.assertIs(self.successResultOf(dialled), self.protocol)
        self.link.take()
        return channel


class OpeningTests(JumpCase):
    def test_opened(self) -> None:
        """The channel says where to, and the protocol begins when it is open."""
        dialled = self.dial()
        origin = wire.text("127.0.0.1") + wire.uint32(0)
        self.assertEqual(
            self.link.take(), [("open", b"direct-tcpip", wire.text("10.0.0.5") + wire.uint32(22) + origin)]
        )
        self.assertEqual(self.protocol.events, [])
        self.link.channel.connect(7, 1 << 20, 1 << 15)
        self.link.channel.opened()
        self.successResultOf(dialled)
        self.assertEqual(self.protocol.events, ["made"])
        self.assertEqual(self.factory.addr, FarAddress("10.0.0.5", 22))
        self.assertEqual(self.protocol.transport.getPeer(), FarAddress("10.0.0.5", 22))

    def test_refused(self) -> None:
        """The host in between does not connect us, goes, or has too many channels."""
        start = "10.0.0.5:22 cannot be reached through the host in between: "
        dialled = self.dial()
        self.link.channel.refused(ChannelRefused(2, "Connection refused"))
        self.link.channel.lost()
        problem = self.failureResultOf(dialled, ConnectionProblem).value
        self.assertEqual(str(problem), f"{start}Connection refused")
        dialled = self.dial()
        self.link.channel.lost()
        problem = self.failureResultOf(dialled, ConnectionProblem).value
        self.assertEqual(str(problem), f"{start}the connection in between ended")
        self.link.full = True
        self.assertEqual(str(self.failureResultOf(self.dial(), ChannelRefused).value), "There are too many.")

    def test_given_up(self) -> None:
        """A connection that is given up is closed when it opens, and no protocol is made."""
        dialled = self.dial()
        dialled.cancel()
        self.failureResultOf(dialled, CancelledError)
        channel = self.link.channel
        channel.connect(7, 1 << 20, 1 << 15)
        channel.opened()
        channel.flush()
        self.assertEqual(self.link.take()[1:], [("close",)])
        channel.close_received()
        self.assertEqual(self.protocol.events, [])

    def test_interfaces(self) -> None:
        """What protocols may expect of a transport is there."""
        for name in ("setTcpNoDelay", "setTcpKeepAlive", "registerProducer", "loseWriteConnection", "abortConnection"):
            self.assertTrue(hasattr(ChannelTransport, name), name)
        self.assertTrue(verifyClass(IHalfCloseableProtocol, HalfSpoken))


class BytesTests(JumpCase):
    def test_both_ways(self) -> None:
        """What is written leaves, what arrives is delivered, and used."""
        channel = self.connected()
        channel.write(b"up")
        channel.writeSequence([b"a", b"b"])
        self.assertEqual(self.link.data_of(0), b"upab")
        self.link.take()
        channel.receive_window.charge(1 << 20)
        channel.data_received(bytes(1 << 19))
        self.assertEqual(self.link.take(), [("grant", 1 << 19)])
        self.assertEqual(self.protocol.events, ["made", bytes(1 << 19)])

    def test_paused(self) -> None:
        """A protocol that is paused is told nothing, and the peer may send no more; then it gets all, in order."""
        channel = self.connected()
        channel.pauseProducing()
        channel.receive_window.charge(1 << 20)
        channel.data_received(bytes(1 << 19))
        channel.data_received(b"two")
        channel.eof_received()
        self.assertEqual((self.link.take(), self.protocol.events), ([], ["made"]))
        channel.resumeProducing()
        self.assertEqual(self.protocol.events, ["made", bytes(1 << 19), b"two"])
        self.assertEqual(self.link.take(), [("grant", 1 << 19), ("close",)])

    def test_paused_again(self) -> None:
        """A protocol that pauses in the middle of what was held gets the rest later."""
        channel = self.connected()
        channel.pauseProducing()
        for data in (b"one", b"two"):
            channel.data_received(data)
        self.protocol.pauses = True
        channel.resumeProducing()
        self.assertEqual(self.protocol.events, ["made", b"one"])
        channel.resumeProducing()
        self.assertEqual(self.protocol.events, ["made", b"one", b"two"])

    def test_our_producer(self) -> None:
        """Who writes is paused while the channel is full."""
        channel = self.connected()
        producer = RecordingProducer()
        channel.registerProducer(producer, True)
        channel.write(bytes(2 << 20))
        self.assertEqual(producer.calls, ["pause"])
        channel.allow(2 << 20)
        self.assertEqual(producer.calls, ["pause", "resume"])


class EndTests(JumpCase):
    def test_eof(self) -> None:
        """The far side's end closes a protocol that knows no halves, and is told to one that does."""
        self.connected().eof_received()
        self.assertEqual(self.link.take(), [("close",)])
        channel = self.connected(HalfSpoken())
        channel.eof_received()
        self.assertEqual((self.link.take(), self.protocol.events), ([], ["made", "eof"]))
        channel.resumeProducing()
        self.assertEqual(self.protocol.events, ["made", "eof"], "told once")

    def test_half_close(self) -> None:
        """Our end of writing leaves the other direction open."""
        channel = self.connected()
        channel.write(b"last")
        channel.loseWriteConnection()
        self.assertEqual(self.link.take(), [("data", 0, b"last"), ("eof",)])
        channel.data_received(b"answer")
        self.assertEqual(self.protocol.events[-1], b"answer")

    def test_closed(self) -> None:
        """The end of the channel is the end of the connection, behind what was held."""
        channel = self.connected()
        channel.pauseProducing()
        channel.data_received(b"held")
        channel.close_received()
        self.assertEqual(self.protocol.events, ["made", b"held", ConnectionDone])

    def test_lose(self) -> None:
        """Closing waits for what was written, aborting does not."""
        self.link.congested = True
        channel = self.connected()
        channel.write(b"data")
        channel.loseConnection()
        self.assertEqual(self.link.take(), [])
        self.link.congested = False
        channel.flush()
        self.assertEqual(self.link.take(), [("data", 0, b"data"), ("close",)])
        self.link.congested = True
        channel = self.connected()
        channel.write(b"data")
        channel.abortConnection()
        self.assertEqual(self.link.take(), [("close",)])
        channel.close_received()
        self.assertEqual(self.protocol.events[-1], ConnectionAborted)
