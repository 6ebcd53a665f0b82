"""Data over the connection service: windows, congestion, turns, ends, and what a peer may not do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh import connection as conch
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.channel import Channel
from tests.ssh import messages
from tests.ssh.connections import ConnectionCase, joined
from tests.ssh.recording import RecordingChannel, RecordingOwner, RecordingProducer

CHANNEL_MESSAGES = {
    conch.MSG_CHANNEL_WINDOW_ADJUST: lambda number: messages.adjust(number, 5),
    conch.MSG_CHANNEL_DATA: lambda number: messages.data(number, b"text"),
    conch.MSG_CHANNEL_EXTENDED_DATA: lambda number: messages.extended(number, 1, b"text"),
    conch.MSG_CHANNEL_EOF: lambda number: number.to_bytes(4, "big"),
    conch.MSG_CHANNEL_CLOSE: lambda number: number.to_bytes(4, "big"),
    conch.MSG_CHANNEL_REQUEST: lambda number: messages.request(number, b"shell"),
}


class ReceiveTests(ConnectionCase):
    def test_data(self) -> None:
        """Data reaches its channel, and the window opens again as the channel uses it."""
        channel = self.opened()
        self.receive(conch.MSG_CHANNEL_DATA, messages.data(0, b"x" * 600))
        self.assertEqual((channel.told, self.transport.take()), (["opened", b"x" * 600], []))
        channel.consumed(600)
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_WINDOW_ADJUST, messages.adjust(40, 600))])

    def test_end(self) -> None:
        """EOF ends one direction; CLOSE is answered, and the number of the channel is not used again."""
        channel = self.opened()
        self.receive(conch.MSG_CHANNEL_EOF, b"\0\0\0\0")
        channel.write(b"still here")
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_DATA, messages.data(40, b"still here"))])
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.assertEqual(self.transport.take(), [(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\x28")])
        self.assertEqual(channel.told, ["opened", "eof", "closed"])
        self.assertEqual(self.opened(sender=41).local_id, 1)

    def test_too_much(self) -> None:
        """Data beyond the window ends the connection."""
        channel = self.opened()
        self.receive(conch.MSG_CHANNEL_DATA, messages.data(0, bytes(1000)))
        self.receive(conch.MSG_CHANNEL_DATA, messages.data(0, b"x"))
        self.assert_ended("1 bytes arrived where 0 were allowed")
        self.assertEqual(channel.told, ["opened", bytes(1000)])

    def test_too_much_of_a_kind(self) -> None:
        """Extended data counts towards the same window."""
        self.opened()
        self.receive(conch.MSG_CHANNEL_EXTENDED_DATA, messages.extended(0, 1, bytes(1001)))
        self.assert_ended("1001 bytes arrived where 1000 were allowed")

    def test_window_beyond_the_protocol(self) -> None:
        """A window that grows past 2^32 - 1 ends the connection."""
        self.opened(window=(1 << 32) - 2)
        self.receive(conch.MSG_CHANNEL_WINDOW_ADJUST, messages.adjust(0, 1))
        self.assertEqual(self.transport.disconnects, [])
        self.receive(conch.MSG_CHANNEL_WINDOW_ADJUST, messages.adjust(0, 1))
        self.assert_ended("a window of 4294967295 bytes grows by 1, past what the protocol can say")

    def test_a_channel_that_never_was(self) -> None:
        """A message for a channel that nobody opened ends the connection."""
        for number, payload in CHANNEL_MESSAGES.items():
            self.setUp()
            self.opened()
            self.receive(number, payload(1))
            self.assert_ended("there never was a channel 1")

    def test_a_channel_that_was(self) -> None:
        """Messages for a channel that has been closed cross with the CLOSE, and are dropped."""
        channel = self.opened()
        self.receive(conch.MSG_CHANNEL_CLOSE, b"\0\0\0\0")
        self.transport.take()
        for number, payload in CHANNEL_MESSAGES.items():
            self.receive(number, payload(0))
        self.assertEqual((self.transport.disconnects, self.transport.sent), ([], []))
        self.assertEqual(channel.told, ["opened", "closed"])

    def test_a_channel_that_is_not_yet(self) -> None:
        """A channel of ours takes nothing before the peer has confirmed it."""
        for number, payload in CHANNEL_MESSAGES.items():
            self.setUp()
            channel = RecordingChannel()
            self.connection.open(b"auth-agent@openssh.com", channel)
            self.receive(number, payload(0))
            self.assert_ended("channel 0 is not open yet")
            self.assertEqual(channel.told, [])


class MalformedTests(ConnectionCase):
    def test_truncated(self) -> None:
        """A message that ends too early ends the connection, wherever it ends, and reaches no channel."""
        whole = {number: payload(0) for number, payload in CHANNEL_MESSAGES.items()} | {
            conch.MSG_CHANNEL_OPEN: messages.open_channel(b"session", 1, 2, 3),
            conch.MSG_GLOBAL_REQUEST: messages.global_request(b"keepalive@openssh.com"),
            conch.MSG_CHANNEL_OPEN_CONFIRMATION: messages.confirmation(0, 1, 2, 3),
        }
        for number, payload in whole.items():
            for length in range(len(payload)):
                self.setUp()
                if number == conch.MSG_CHANNEL_OPEN_CONFIRMATION:
                    channel = RecordingChannel()
                    self.connection.open(b"agent", channel)
                else:
                    channel = self.opened()
                told = list(channel.told)
                self.receive(number, payload[:length])
                self.assertEqual([reason for reason, _ in self.transport.disconnects], [2], (number, length))
                self.assertEqual(channel.told, told)

    def test_too_long(self) -> None:
        """Bytes behind the last field are refused where the RFC leaves no room for any."""
        for number, payload in CHANNEL_MESSAGES.items():
            if number != conch.MSG_CHANNEL_REQUEST:
                self.setUp()
                self.opened()
                self.receive(number, payload(0) + b"!")
                is_data = number == conch.MSG_CHANNEL_DATA
                self.assert_ended("a message of data that is not as long as it says" if is_data else "1 bytes too many")

    def test_unknown_message(self) -> None:
        """A message number that nobody knows is answered as RFC 4253 says, and changes nothing."""
        self.receive(130, b"what?")
        self.assertEqual((self.transport.take(), self.transport.disconnects), ([(3, b"")], []))

    @given(st.lists(st.tuples(st.integers(80, 101), st.binary(max_size=40)), max_size=8))
    @settings(deadline=None)
    def test_anything(self, received: list[tuple[int, bytes]]) -> None:
        """Whatever arrives, nothing is raised and nothing is logged as a failure."""
        self.setUp()
        self.opened()
        self.owner.answers.clear()
        for number, payload in received:
            if number not in (conch.MSG_CHANNEL_OPEN, conch.MSG_GLOBAL_REQUEST):
                self.receive(number, payload)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(CHANNEL_MESSAGES)),
                st.integers(0, 2),
                st.binary(max_size=8),
            ),
            max_size=20,
        )
    )
    @settings(deadline=None)
    def test_anything_nearly_right(self, received: list[tuple[int, int, bytes]]) -> None:
        """The same for messages with a good beginning."""
        self.setUp()
        self.opened()
        self.connection.open(b"agent", RecordingChannel())
        for number, recipient, rest in received:
            self.receive(number, recipient.to_bytes(4, "big") + rest)
        self.assertEqual(self.flushLoggedErrors(), [])


class SendTests(ConnectionCase):
    def test_data_messages(self) -> None:
        """Plain and extended data as RFC 4254, section 5.2, has them."""
        channel = self.opened()
        channel.write(b"out")
        channel.write_extended(1, b"err")
        self.assertEqual(
            self.transport.take(),
            [
                (conch.MSG_CHANNEL_DATA, messages.data(40, b"out")),
                (conch.MSG_CHANNEL_EXTENDED_DATA, messages.extended(40, 1, b"err")),
            ],
        )

    def test_requests(self) -> None:
        """A request of ours wants no reply."""
        channel = self.opened()
        channel.send_request(b"exit-status", b"\0\0\0\3")
        self.assertEqual(
            self.transport.take(),
            [(conch.MSG_CHANNEL_REQUEST, messages.request(40, b"exit-status", False, b"\0\0\0\3"))],
        )

    def test_congestion(self) -> None:
        """While the transport's buffer is full nothing is sent, and every channel goes on behind it."""
        self.assertIs(self.transport.transport.producer, self.connection)
        first, second = self.opened(sender=40), self.opened(sender=41)
        producer = RecordingProducer()
        first.registerProducer(producer)
        self.connection.pauseProducing()
        first.write(bytes(1 << 20))
        second.write(b"short")
        self.assertEqual((self.transport.take(), producer.calls), ([], ["pause"]))
        self.connection.resumeProducing()
        sent = self.transport.take()
        self.assertEqual(sum(len(payload) - 8 for _, payload in sent), (1 << 20) + 5)
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_turns(self) -> None:
        """Channels that all have more to send than the transport takes are served in turn."""
        channels = [self.opened(sender=sender) for sender in (40, 41, 42)]
        self.connection.pauseProducing()
        for channel in channels:
            channel.write(bytes(100 << 10))
        served = []
        for _ in range(6):
            self.transport.on_packet = self.connection.pauseProducing
            self.connection.resumeProducing()
            served += [payload[3] for _, payload in self.transport.take()]
        self.assertEqual(served, [40, 41, 42, 40, 41, 42])

    def test_stopped(self) -> None:
        """With its transport gone a channel sends nothing."""
        channel = self.opened()
        self.connection.stopProducing()
        channel.write(b"nobody")
        self.assertEqual(self.transport.take(), [])

    def test_a_peer_that_does_not_read(self) -> None:
        """Who asks and asks without reading the answers is cut off before they fill our memory."""
        self.owner.global_answers[b"keepalive@openssh.com"] = b""
        self.connection.pauseProducing()
        for _ in range(10_000):
            self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"keepalive@openssh.com"))
            if self.transport.disconnects:
                break
        self.assert_ended("1024 answers wait to be read")
        self.assertEqual(len(self.transport.sent), 1024)

    def test_a_peer_that_reads_slowly(self) -> None:
        """Who reads now and then may ask as much as it likes, and data needs no answer."""
        self.owner.global_answers[b"keepalive@openssh.com"] = b""
        self.opened()
        for _ in range(3):
            self.connection.pauseProducing()
            for _ in range(1000):
                self.receive(conch.MSG_GLOBAL_REQUEST, messages.global_request(b"keepalive@openssh.com"))
                self.receive(conch.MSG_CHANNEL_WINDOW_ADJUST, messages.adjust(0, 1))
            self.connection.resumeProducing()
        self.assertEqual(self.transport.disconnects, [])


class EndTests(ConnectionCase):
    def test_every_channel(self) -> None:
        """With the connection go all its channels, and the owner hears of it once they are gone."""
        channels = [self.opened(), self.opened()]
        self.connection.serviceStopped()
        self.assertEqual([channel.told for channel in channels], [["opened", "closed"]] * 2)
        self.assertEqual((self.owner.ended, self.transport.sent), (1, []))
        self.assertIs(channels[0].connection, None)

    def test_a_channel_that_fails(self) -> None:
        """A channel that fails to end keeps no other from its end."""

        class Failing(RecordingChannel):
            def closed(self) -> None:
                raise RuntimeError("this one cannot end")

        self.opened(Failing())
        other = self.opened()
        self.connection.serviceStopped()
        self.assertEqual((other.told, self.owner.ended), (["opened", "closed"], 1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class Source(RecordingChannel):
    """Writes a number of bytes, as fast as it may, and then ends."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.left = total
        self.paused = False

    def opened(self) -> None:
        super().opened()
        self.registerProducer(self)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            count = min(self.left, 10_007)
            self.left -= count
            self.write(bytes(count))
        if not self.left:
            self.send_eof()
            self.close()

    def stopProducing(self) -> None:
        self.told.append("stop")


class Sink(Channel):
    """Counts what arrives and uses it in steps."""

    def __init__(self, window_bytes: int) -> None:
        super().__init__(window_bytes)
        self.count = 0
        self.unused = 0
        self.ended = False

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        self.unused += len(data)
        if self.unused > 1000:
            used, self.unused = self.unused, 0
            self.consumed(used)

    def eof_received(self) -> None:
        self.ended = True


class TransferTests(SynchronousTestCase):
    def test_eight_megabytes(self) -> None:
        """All of 8,000,000 bytes pass a small window and a transport that is full most of the time."""
        owner = RecordingOwner()
        pair = joined(RecordingOwner(), owner)
        source, sink = Source(8_000_000), Sink(5000)
        owner.answers[b"data"] = lambda: sink
        pair.near.open(b"data", source)
        pair.deliver()
        self.assertEqual((sink.count, sink.ended, source.left), (8_000_000, True, 0))
        self.assertEqual((source.told, sink.connection), (["opened", "stop", "closed"], None))
        self.assertLess(pair.there.longest, 10)
