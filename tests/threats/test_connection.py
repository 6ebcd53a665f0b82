"""Threats 60 to 65, 70 and 73: what somebody who has logged in may try with channels and requests."""

from __future__ import annotations

import gc
import tracemalloc

from twisted.conch.ssh import connection as conch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.ssh.connection.channel import (
    HIGH_WATER_BYTES,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    Channel,
    ChannelRefused,
)
from teleport_conch.ssh.connection.opening import MAX_CHANNELS
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.forwarding.splice import StreamChannel
from tests.ssh import messages
from tests.ssh.in_memory import Pair
from tests.ssh.recording import RecordingChannel, RecordingLink

READ_BYTES = 64 << 10


class ConnectionThreats(SynchronousTestCase):
    """A client that has logged in over the real transport."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.pair.log_in()
        self.pair.client.got.clear()
        self.owner = self.pair.policy.owner
        self.owner.answers[b"session"] = RecordingChannel

    @property
    def connection(self) -> Connection:
        assert isinstance(self.pair.server.service, Connection)
        return self.pair.server.service

    def open(self, kind: bytes = b"session", window: int = 1 << 20, max_packet: int = 1 << 15) -> tuple[int, bytes]:
        """The answer to an open."""
        self.pair.send(conch.MSG_CHANNEL_OPEN, messages.open_channel(kind, 1, window, max_packet))
        return self.pair.client.got.pop()

    def channel(self, number: int = 0) -> RecordingChannel:
        channel = self.connection._table.open[number]
        assert isinstance(channel, RecordingChannel)
        return channel

    def assert_sent_away(self, sentence: str) -> None:
        self.assertEqual(self.pair.client.errors, [(2, sentence.encode())])
        self.assertTrue(self.pair.server_tcp.losing)
        self.assertEqual(self.flushLoggedErrors(), [])

    def assert_goes_on(self) -> None:
        self.assertEqual((self.pair.client.errors, self.flushLoggedErrors()), ([], []))
        self.assertEqual(self.open(b"session")[0], conch.MSG_CHANNEL_OPEN_CONFIRMATION)


class T60PacketsOfNothing(ConnectionThreats):
    def test_refused(self) -> None:
        """A channel whose packets may hold nothing is refused, so that nobody tries to send into it for ever."""
        sentence = "A channel whose packets may hold nothing is of no use."
        refused = (conch.MSG_CHANNEL_OPEN_FAILURE, messages.open_failure(1, 2, sentence))
        self.assertEqual(self.open(max_packet=0), refused)
        self.assert_goes_on()

    def test_packets_of_one_byte(self) -> None:
        """Small packets are served as they are asked for, stderr too, and the loop ends."""
        self.open(max_packet=1)
        self.channel().write_extended(1, b"error")
        self.pair.pump()
        self.assertEqual([payload[-1:] for _, payload in self.pair.client.got], [b"e", b"r", b"r", b"o", b"r"])


class T61WindowBeyondTheProtocol(ConnectionThreats):
    def test_sent_away(self) -> None:
        """A window that grows past 2^32 - 1."""
        self.open(window=(1 << 32) - 1)
        self.pair.send(conch.MSG_CHANNEL_WINDOW_ADJUST, messages.adjust(0, 1))
        self.assert_sent_away("a window of 4294967295 bytes grows by 1, past what the protocol can say")


class T62DataWhereNoneIsDue(ConnectionThreats):
    def test_beyond_the_window(self) -> None:
        """More than was allowed."""
        self.open()
        self.pair.send(conch.MSG_CHANNEL_DATA, messages.data(0, bytes(1000)))
        self.pair.send(conch.MSG_CHANNEL_DATA, messages.data(0, b"x"))
        self.assert_sent_away("1 bytes arrived where 0 were allowed")

    def test_unknown_channel(self) -> None:
        """A channel that never was."""
        self.pair.send(conch.MSG_CHANNEL_DATA, messages.data(7, b"x"))
        self.assert_sent_away("there never was a channel 7")

    def test_closed_channel(self) -> None:
        """A channel that was: messages cross with its end, as those of honest clients do."""
        self.open()
        self.pair.send(conch.MSG_CHANNEL_CLOSE, wire.uint32(0))
        for number, payload in (
            (conch.MSG_CHANNEL_DATA, messages.data(0, bytes(100_000))),
            (conch.MSG_CHANNEL_EOF, wire.uint32(0)),
            (conch.MSG_CHANNEL_CLOSE, wire.uint32(0)),
            (conch.MSG_CHANNEL_REQUEST, messages.request(0, b"exec")),
        ):
            self.pair.send(number, payload)
        self.assert_goes_on()


class T63ManyChannels(ConnectionThreats):
    def test_open(self) -> None:
        """Of 5,000 channels a limited number opens; what a node allows of sessions is its own, lower, limit."""
        answers = [self.open()[0] for _ in range(5000)]
        self.assertEqual(answers.count(conch.MSG_CHANNEL_OPEN_CONFIRMATION), MAX_CHANNELS)
        self.assertEqual(len(self.connection._table), MAX_CHANNELS)

    def test_refused(self) -> None:
        """However many opens are refused, nothing is kept of them."""
        self.owner.answers[b"session"] = lambda: ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, "You may not.")
        opening = messages.open_channel(b"session", 1, 100, 100)

        def refuse(count: int) -> None:
            for _ in range(count):
                self.connection.packetReceived(conch.MSG_CHANNEL_OPEN, opening)
                self.owner.asked.clear()
                self.pair.server_tcp.written.clear()

        refuse(90_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        refuse(10_000)
        gc.collect()
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)


class T64AnswersToNothing(ConnectionThreats):
    def test_ignored(self) -> None:
        """Answers that nobody waits for are dropped: nothing is sent, and no channel hears of them."""
        self.open()
        told = list(self.channel().told)
        for _ in range(1000):
            self.pair.client.sendPacket(conch.MSG_REQUEST_SUCCESS, b"port")
            self.pair.client.sendPacket(conch.MSG_REQUEST_FAILURE, b"")
            for number in (conch.MSG_CHANNEL_SUCCESS, conch.MSG_CHANNEL_FAILURE):
                self.pair.client.sendPacket(number, wire.uint32(0))
        self.pair.pump()
        self.assertEqual((self.pair.client.got, self.channel().told), ([], told))
        self.assert_goes_on()

    def test_truncated_requests(self) -> None:
        """A request whose payload ends too early is refused, and the channel goes on."""
        self.open()
        for name in (b"exit-status", b"exit-signal", b"window-change"):
            self.pair.send(conch.MSG_CHANNEL_REQUEST, messages.request(0, name, True, b"\0"))
            self.assertEqual(self.pair.client.got.pop(), (conch.MSG_CHANNEL_FAILURE, wire.uint32(1)))
        self.assert_goes_on()


class T65UnknownKindsOfData(ConnectionThreats):
    def test_credited(self) -> None:
        """Data of a kind that nobody knows is dropped, and the window opens again: the channel does not stall."""
        self.owner.answers[b"session"] = Channel
        self.open()
        piece = messages.extended(0, 99, bytes(32 << 10))
        for _ in range(200):
            self.pair.send(conch.MSG_CHANNEL_EXTENDED_DATA, piece)
        granted = [int.from_bytes(payload[4:], "big") for _, payload in self.pair.client.got]
        self.assertGreater(sum(granted), 150 * (32 << 10))
        self.assert_goes_on()


class T70BeforeItIsDecided(ConnectionThreats):
    def test_nothing_before_the_answer(self) -> None:
        """A forward that waits for a decision is not open, and takes no data; refused, it never was."""
        answer: Deferred[Channel] = Deferred()
        self.owner.answers[b"direct-tcpip"] = lambda: answer
        self.pair.send(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"direct-tcpip", 1, 100, 100))
        self.assertEqual((self.pair.client.got, len(self.connection._table)), ([], 0))
        answer.errback(ChannelRefused(OPEN_ADMINISTRATIVELY_PROHIBITED, "Nobody has approved it."))
        self.pair.pump()
        refused = messages.open_failure(1, 1, "Nobody has approved it.")
        self.assertEqual(self.pair.client.got, [(conch.MSG_CHANNEL_OPEN_FAILURE, refused)])

    def test_data_before_the_answer(self) -> None:
        """Data for a channel that is not there yet ends the connection."""
        self.owner.answers[b"direct-tcpip"] = Deferred
        self.pair.send(conch.MSG_CHANNEL_OPEN, messages.open_channel(b"direct-tcpip", 1, 100, 100))
        self.pair.send(conch.MSG_CHANNEL_DATA, messages.data(0, b"early"))
        self.assert_sent_away("there never was a channel 0")


class _Torrent:
    """The transport of a target that sends for ever, as long as it is read."""

    def __init__(self) -> None:
        self.reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing is written to it."""

    def unregisterProducer(self) -> None:
        """Nothing is written to it."""

    def loseConnection(self) -> None:
        self.reading = False

    def abortConnection(self) -> None:
        self.reading = False

    def write(self, data: bytes) -> None:
        """Nobody reads it."""


class T73OverTheTransport(ConnectionThreats):
    def test_bounded(self) -> None:
        """Likewise with the transport, whose client gives no more window, or does not read TCP either."""
        for window in (2 << 20, (1 << 32) - 1):
            self.setUp()
            made = StreamChannel(Clock())
            self.owner.answers[b"direct-tcpip"] = [made].pop
            torrent = _Torrent()
            made.stream.makeConnection(torrent)
            self.assertEqual(self.open(b"direct-tcpip", window)[0], conch.MSG_CHANNEL_OPEN_CONFIRMATION)
            producer = self.pair.server_tcp.producer
            producer.pauseProducing()  # type: ignore[attr-defined]  # as TCP does whose peer does not read
            taken = 0
            while torrent.reading and taken < 1 << 30:
                made.stream.dataReceived(bytes(READ_BYTES))
                taken += READ_BYTES
            self.assertLess(taken + len(self.pair.server_tcp.written), 4 << 20)


class T73AReaderThatSleeps(SynchronousTestCase):
    def test_bounded(self) -> None:
        """Of a target that would send 1 GB to a client that does not read, a window and a buffer are taken."""
        window = 2 << 20
        channel, torrent, link = StreamChannel(Clock()), _Torrent(), RecordingLink()
        channel.bind(link, 0)
        channel.connect(1, window, 32 << 10)
        channel.stream.makeConnection(torrent)
        channel.opened()
        taken = 0
        while torrent.reading and taken < 1 << 30:
            channel.stream.dataReceived(bytes(READ_BYTES))
            taken += READ_BYTES
        self.assertLess(taken, window + HIGH_WATER_BYTES + READ_BYTES)
        self.assertEqual(len(link.data_of(0)), window)
        channel.lost()
