"""A channel that is coupled with a real TCP connection: bytes, ends, and back-pressure in both directions."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.channel import HIGH_WATER_BYTES, Channel
from teleport_conch.ssh.forwarding.direct import connect
from teleport_conch.ssh.forwarding.splice import LINGER_S, StreamChannel, StreamProtocol
from tests.ssh.in_memory import MemoryTCP
from tests.ssh.recording import RecordingLink
from tests.ssh.streams import FarEnd, FarEnds, StreamCase, clock, tcp

MEGABYTES = 8_000_000


class StreamChannelCase(StreamCase):
    async def coupled(self, window: int = 1 << 30) -> tuple[StreamChannel, RecordingLink, FarEnd]:
        """A channel that is open, its connection, and the far end of its stream."""
        ends = FarEnds()
        channel = await connect(clock, TCP4ClientEndpoint(tcp, "127.0.0.1", self.listen(ends)), "the test")
        await self.until(lambda: bool(ends.made))
        self.addCleanup(self.close_of, ends.made[0])
        link = RecordingLink()
        channel.bind(link, 0)
        channel.connect(7, window, 1 << 15)
        channel.opened()
        return channel, link, ends.made[0]

    def feed(self, channel: Channel, data: bytes) -> None:
        """The peer sends this, as far as the window allows, which has to suffice."""
        channel.receive_window.charge(len(data))
        channel.data_received(data)


class BytesTests(StreamChannelCase):
    async def test_both_ways(self) -> None:
        """What one side writes the other reads, and small messages leave at once."""
        channel, link, far = await self.coupled()
        self.feed(channel, b"question")
        await self.until(lambda: far.received == b"question")
        far.transport.write(b"answer")
        await self.until(lambda: link.data_of(0) == b"answer")
        self.assertTrue(channel.stream.transport.getTcpNoDelay())

    async def test_nothing_before_it_is_open(self) -> None:
        """What the stream says waits until the peer knows the channel."""
        ends = FarEnds(b"greeting")
        channel = await connect(clock, TCP4ClientEndpoint(tcp, "127.0.0.1", self.listen(ends)), "the test")
        await self.until(lambda: bool(ends.made))
        self.addCleanup(self.close_of, ends.made[0])
        link = RecordingLink()
        channel.bind(link, 0)
        channel.connect(7, 1000, 1000)
        self.assertEqual(link.said, [])
        channel.opened()
        await self.until(lambda: link.data_of(0) == b"greeting")
        channel.lost()

    async def test_to_a_slow_stream(self) -> None:
        """A far end that does not read holds the peer: no credit is given, and nothing is lost."""
        channel, link, far = await self.coupled()
        far.transport.pauseProducing()  # type: ignore[attr-defined]
        sent = 0
        while channel.receive_window.left:
            piece = bytes(min(32 << 10, channel.receive_window.left))
            self.feed(channel, piece)
            sent += len(piece)
            await self.turns(1)
        granted = sum(said[1] for said in link.said if said[0] == "grant" and isinstance(said[1], int))
        self.assertLess(granted, channel.receive_window.size + (8 << 20))
        far.transport.resumeProducing()  # type: ignore[attr-defined]
        await self.until(lambda: len(far.received) == sent)
        self.assertGreater(channel.receive_window.left, channel.receive_window.size // 2)

    async def test_from_a_quick_stream(self) -> None:
        """A peer whose window is closed holds the far end: a bounded piece of 8 MB is read, and all of it arrives."""
        channel, link, far = await self.coupled(window=0)
        far.transport.write(bytes(MEGABYTES))
        await self.until(lambda: channel._queued_bytes >= HIGH_WATER_BYTES)
        held = channel._queued_bytes
        await self.turns()
        self.assertEqual(channel._queued_bytes, held)
        self.assertLess(held, 2 * HIGH_WATER_BYTES)
        for _ in range(8):
            channel.allow(MEGABYTES // 8)
        await self.until(lambda: len(link.data_of(0)) == MEGABYTES)


class EndTests(StreamChannelCase):
    async def test_peer_ends(self) -> None:
        """The peer's EOF shuts the stream down behind its data; the answer comes all the same, then all is over."""
        channel, link, far = await self.coupled()
        self.feed(channel, b"question")
        channel.eof_received()
        await self.until(lambda: far.ends == ["eof"])
        self.assertEqual(far.received, b"question")
        far.transport.write(b"answer")
        far.transport.loseConnection()
        await self.until(lambda: ("close",) in link.said)
        self.assertEqual(link.take(), [("data", 0, b"answer"), ("eof",), ("close",)])
        await self.until(lambda: far.ends == ["eof", "lost"])

    async def test_stream_ends(self) -> None:
        """The stream's end is the channel's EOF, behind its data; what the peer sends still arrives."""
        channel, link, far = await self.coupled()
        far.transport.write(b"all that I say")
        far.transport.loseWriteConnection()
        await self.until(lambda: ("eof",) in link.said)
        self.assertEqual(link.take(), [("data", 0, b"all that I say"), ("eof",)])
        self.feed(channel, b"and now you")
        channel.eof_received()
        await self.until(lambda: "eof" in far.ends)
        self.assertEqual(far.received, b"and now you")
        await self.until(lambda: ("close",) in link.said)

    async def test_stream_is_reset(self) -> None:
        """A stream that breaks closes the channel."""
        _, link, far = await self.coupled()
        far.transport.abortConnection()
        await self.until(lambda: ("close",) in link.said)

    async def test_channel_closes(self) -> None:
        """With the channel goes the stream, behind what was sent."""
        channel, link, far = await self.coupled()
        self.feed(channel, b"last words")
        channel.close_received()
        await self.until(lambda: "eof" in far.ends)
        self.assertEqual((far.received, link.take()), (b"last words", [("close",), ("forgotten",)]))

    async def test_channel_closes_before_it_is_open(self) -> None:
        """A stream whose channel never opened is closed, too."""
        ends = FarEnds()
        channel = await connect(clock, TCP4ClientEndpoint(tcp, "127.0.0.1", self.listen(ends)), "the test")
        channel.bind(RecordingLink(), 0)
        channel.lost()
        await self.until(lambda: bool(ends.made) and "eof" in ends.made[0].ends)


class Congested(MemoryTCP):
    """A stream whose buffer is full after the first write."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and len(self.written) > 10:
            self.producer.pauseProducing()  # type: ignore[attr-defined]

    def loseWriteConnection(self) -> None:
        self.options.add("shut")  # and the other direction goes on

    def pauseProducing(self) -> None:
        self.options.add("paused")

    def resumeProducing(self) -> None:
        self.options.discard("paused")


class CongestionTests(SynchronousTestCase):
    """The same in memory, where the buffer's state is the test's to say."""

    def setUp(self) -> None:
        self.clock, self.link = Clock(), RecordingLink()
        self.channel = StreamChannel(self.clock)
        self.tcp = Congested()
        self.channel.stream.makeConnection(self.tcp)
        self.channel.bind(self.link, 0)
        self.channel.connect(7, 1000, 1000)
        self.channel.opened()

    def feed(self, data: bytes) -> None:
        self.channel.receive_window.charge(len(data))
        self.channel.data_received(data)

    def room(self) -> bytes:
        """The buffer has been written out."""
        taken = self.tcp.take()
        producer = self.tcp.producer
        producer.resumeProducing()  # type: ignore[attr-defined]
        return taken

    def test_transport(self) -> None:
        """The stand-in has what the tests here need of a transport."""
        self.assertIn("loseConnection", ITransport)

    def test_credit_follows_the_bytes(self) -> None:
        """What waits in the buffer is credited when it has left, and what comes meanwhile is held back in one piece."""
        size = self.channel.receive_window.size
        self.feed(bytes(size // 2))
        for _ in range(100):
            self.feed(b"xy")
        self.assertEqual((len(self.tcp.written), self.link.take()), (size // 2, []))
        self.assertEqual(len(self.room()), size // 2)
        self.assertEqual(self.link.take(), [("grant", size // 2)])
        self.assertEqual(self.room(), b"xy" * 100)
        self.feed(b"z")
        self.assertEqual(self.room(), b"z")

    def test_eof_behind_what_is_held(self) -> None:
        """The end is said behind what waits for room."""
        self.feed(b"first, which fills it")
        self.feed(b"second")
        self.channel.eof_received()
        self.assertEqual(self.tcp.take(), b"first, which fills itsecond")
        self.assertEqual((self.tcp.producer, "shut" in self.tcp.options), (None, True))
        self.feed(b"behind the end")
        self.assertEqual(self.tcp.take(), b"")

    def test_a_stream_that_does_not_read(self) -> None:
        """With its channel gone, a stream has a minute for what it has not sent, and is cut off then."""
        self.feed(b"first, which fills it")
        self.feed(b"second")
        self.channel.close_received()
        self.assertEqual((self.tcp.losing, self.tcp.aborted, self.tcp.producer), (True, False, None))
        self.assertEqual(self.tcp.take(), b"first, which fills itsecond")
        self.clock.advance(LINGER_S - 1)
        self.assertFalse(self.tcp.aborted)
        self.clock.advance(1)
        self.assertTrue(self.tcp.aborted)

    def test_both_ends_and_does_not_read(self) -> None:
        """So has one whose two directions have ended."""
        self.feed(b"first, which fills it")
        self.channel.eof_received()
        stream = self.channel.stream
        assert isinstance(stream, StreamProtocol)
        stream.readConnectionLost()
        self.assertTrue(self.tcp.losing)
        self.clock.advance(LINGER_S)
        self.assertTrue(self.tcp.aborted)
        stream.connectionLost()
        self.assertEqual(self.link.take(), [("eof",), ("close",)])

    def test_nothing_is_left(self) -> None:
        """A stream that is gone has no clock running, and hears nothing more."""
        self.channel.close_received()
        self.channel.stream.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.channel.stream.send(b"nobody")
        self.channel.stream.end_sending()
        self.channel.stream.abandon()
        self.assertEqual(self.clock.getDelayedCalls(), [])
