"""One channel against a recording connection: windows, water marks, and the order of EOF and CLOSE."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.channel import HIGH_WATER_BYTES, LOW_WATER_BYTES, Channel
from tests.ssh.recording import RecordingChannel, RecordingLink, RecordingProducer


def opened(window: int = 1 << 30, max_packet: int = 1 << 20) -> tuple[RecordingChannel, RecordingLink]:
    """A channel that the peer has confirmed, and its connection."""
    channel, link = RecordingChannel(), RecordingLink()
    channel.bind(link, 0)
    channel.connect(7, window, max_packet)
    return channel, link


class WriteTests(SynchronousTestCase):
    def test_leaves_at_once(self) -> None:
        """What window and transport allow is not held back."""
        channel, link = opened()
        channel.write(b"hello")
        self.assertEqual(link.take(), [("data", 0, b"hello")])

    def test_pieces(self) -> None:
        """A long text leaves in packets that the peer accepts."""
        channel, link = opened(max_packet=4)
        channel.write(b"0123456789")
        self.assertEqual(link.take(), [("data", 0, b"0123"), ("data", 0, b"4567"), ("data", 0, b"89")])

    def test_waits_for_the_window(self) -> None:
        """What exceeds the window leaves when the peer allows it, in order and in its kind."""
        channel, link = opened(window=3)
        channel.write(b"abcde")
        channel.write_extended(1, b"err")
        channel.write(b"fg")
        self.assertEqual(link.take(), [("data", 0, b"abc")])
        channel.allow(4)
        self.assertEqual(link.take(), [("data", 0, b"de"), ("data", 1, b"er")])
        channel.allow(100)
        self.assertEqual(link.take(), [("data", 1, b"r"), ("data", 0, b"fg")])

    def test_waits_for_the_transport(self) -> None:
        """Nothing is sent while the transport's buffer is full, however large the window is."""
        channel, link = opened()
        link.congested = True
        channel.write(b"one")
        channel.allow(100)
        self.assertEqual(link.take(), [])
        link.congested = False
        channel.flush()
        self.assertEqual(link.take(), [("data", 0, b"one")])

    def test_transport_fills_in_the_middle(self) -> None:
        """A transport whose buffer fills while one text is sent gets the rest of it later."""
        channel, link = opened(max_packet=4)

        def fill() -> None:
            link.congested = True

        link.on_data = fill
        channel.write(b"0123456789")
        self.assertEqual(link.take(), [("data", 0, b"0123")])
        link.congested = False
        channel.flush()
        self.assertEqual(link.take(), [("data", 0, b"4567")])

    def test_nothing_before_the_confirmation(self) -> None:
        """What is written into a channel that the peer has not confirmed waits for that."""
        channel, link = RecordingChannel(), RecordingLink()
        channel.bind(link, 0)
        channel.write(b"early")
        channel.send_eof()
        self.assertEqual(link.take(), [])
        channel.connect(7, 100, 100)
        channel.flush()
        self.assertEqual(link.take(), [("data", 0, b"early"), ("eof",)])

    def test_before_a_connection(self) -> None:
        """A channel that belongs to no connection takes nothing."""
        channel = Channel()
        channel.write(b"lost")
        channel.send_request(b"exit-status", b"")
        channel.close()
        self.assertFalse(channel.writable)

    @given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=50)), max_size=30), st.data())
    @settings(deadline=None)
    def test_whole_and_in_order(self, written: list[tuple[int, bytes]], data: st.DataObject) -> None:
        """Whatever the windows and packets are, each kind arrives whole and in order."""
        channel, link = opened(data.draw(st.integers(0, 50)), data.draw(st.integers(1, 20)))
        for kind, text in written:
            channel.write_extended(kind, text)
            channel.allow(data.draw(st.integers(0, 30)))
        channel.send_eof()
        channel.allow(10_000)
        for kind in (0, 1):
            self.assertEqual(link.data_of(kind), b"".join(text for each, text in written if each == kind))
        self.assertEqual(link.said[-1], ("eof",))


class ProducerTests(SynchronousTestCase):
    def test_water_marks(self) -> None:
        """Who writes is paused at the high mark, once, and resumed at the low mark, once."""
        channel, link = opened(window=0)
        producer = RecordingProducer()
        channel.registerProducer(producer)
        channel.write(bytes(HIGH_WATER_BYTES - 1024))
        self.assertEqual(producer.calls, [])
        channel.write(bytes(1024))
        channel.write(b"more")
        self.assertEqual(producer.calls, ["pause"])
        channel.allow(HIGH_WATER_BYTES - LOW_WATER_BYTES - 1024)
        self.assertEqual(producer.calls, ["pause"])
        channel.allow(4096)
        channel.allow(4096)
        self.assertEqual(producer.calls, ["pause", "resume"])
        self.assertGreater(len(link.data_of(0)), 0)

    def test_many_small_pieces(self) -> None:
        """A stream of single bytes is paused long before its bookkeeping takes more memory than the mark allows."""
        channel, _ = opened(window=0)
        producer = RecordingProducer()
        channel.registerProducer(producer)
        for _ in range(HIGH_WATER_BYTES // 128):
            channel.write(b"x")
        self.assertEqual(producer.calls, ["pause"])

    def test_congestion_pauses(self) -> None:
        """A full transport holds who writes, as a closed window does."""
        channel, link = opened()
        producer = RecordingProducer()
        channel.registerProducer(producer)
        link.congested = True
        channel.write(bytes(HIGH_WATER_BYTES))
        self.assertEqual(producer.calls, ["pause"])
        link.congested = False
        channel.flush()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_writes_on_when_resumed(self) -> None:
        """A producer that fills the channel again as soon as it is resumed is paused again, and nothing is lost."""
        channel, link = opened(window=0)
        producer = RecordingProducer(on_resume=lambda: channel.write(bytes(HIGH_WATER_BYTES)))
        channel.registerProducer(producer)
        channel.write(bytes(HIGH_WATER_BYTES))
        channel.allow(HIGH_WATER_BYTES)
        self.assertEqual(producer.calls, ["pause", "resume", "pause"])
        producer.on_resume = None
        channel.allow(1 << 30)
        self.assertEqual(len(link.data_of(0)), 2 * HIGH_WATER_BYTES)

    def test_late(self) -> None:
        """A producer that comes when the channel is full already is paused at once."""
        channel, _ = opened(window=0)
        channel.write(bytes(HIGH_WATER_BYTES))
        producer = RecordingProducer()
        channel.registerProducer(producer)
        self.assertEqual(producer.calls, ["pause"])

    def test_one_only(self) -> None:
        """A second producer would be forgotten by the first, and is a mistake of ours."""
        channel, _ = opened()
        channel.registerProducer(RecordingProducer())
        mistake = self.assertRaises(RuntimeError, channel.registerProducer, RecordingProducer())
        self.assertEqual(str(mistake), "a channel takes one producer")
        channel.unregisterProducer()
        channel.registerProducer(RecordingProducer())

    def test_stopped_at_the_end(self) -> None:
        """A producer that waits to go on hears that nothing can arrive any more."""
        channel, _ = opened(window=0)
        producer = RecordingProducer()
        channel.registerProducer(producer)
        channel.write(bytes(HIGH_WATER_BYTES))
        channel.close_received()
        self.assertEqual(producer.calls, ["pause", "stop"])


class EndTests(SynchronousTestCase):
    def test_eof_behind_the_queue(self) -> None:
        """EOF is said when all that was written has left; nothing can be written behind it."""
        channel, link = opened(window=2)
        channel.write(b"abc")
        channel.send_eof()
        channel.write(b"too late")
        self.assertEqual(link.take(), [("data", 0, b"ab")])
        channel.allow(100)
        self.assertEqual(link.take(), [("data", 0, b"c"), ("eof",)])
        channel.send_eof()
        self.assertEqual(link.take(), [])

    def test_close_behind_eof(self) -> None:
        """CLOSE follows the queue and the EOF, whatever was asked for first."""
        channel, link = opened(window=0)
        channel.write(b"last words")
        channel.close()
        channel.send_eof()
        self.assertEqual(link.take(), [])
        channel.allow(100)
        self.assertEqual(link.take(), [("data", 0, b"last words"), ("eof",), ("close",)])
        channel.close()
        self.assertEqual(link.take(), [])

    def test_request_does_not_wait(self) -> None:
        """An exit status leaves before what is queued, and nothing follows a CLOSE."""
        channel, link = opened(window=0)
        channel.write(b"output")
        channel.send_request(b"exit-status", b"\0\0\0\3")
        channel.close()
        channel.allow(100)
        channel.send_request(b"exit-status", b"\0\0\0\4")
        self.assertEqual(link.take(), [("request", b"exit-status", b"\0\0\0\3"), ("data", 0, b"output"), ("close",)])

    def test_peer_closes_a_full_channel(self) -> None:
        """The peer's CLOSE is answered although a queue waits for a window that will never come."""
        channel, link = opened(window=0)
        channel.write(bytes(1000))
        channel.close_received()
        self.assertEqual(link.take(), [("close",), ("forgotten",)])
        self.assertEqual(channel.told, ["closed"])
        self.assertIs(channel.connection, None)
        channel.allow(1000)
        channel.write(b"nobody")
        channel.close()
        channel.close_received()
        self.assertEqual((link.take(), channel.told), ([], ["closed"]))

    def test_we_close_first(self) -> None:
        """The channel lives until the peer has closed, too; what arrives in between is still handed over."""
        channel, link = opened()
        channel.close()
        self.assertEqual((link.take(), channel.told), ([("close",)], []))
        channel.data_received(b"crossed")
        channel.consumed(500)
        self.assertEqual(link.take(), [])
        channel.close_received()
        self.assertEqual((link.take(), channel.told), ([("forgotten",)], [b"crossed", "closed"]))

    def test_closed_before_the_confirmation(self) -> None:
        """A channel that is given up before the peer has answered is closed as soon as it has."""
        channel, link = RecordingChannel(), RecordingLink()
        channel.bind(link, 0)
        channel.close()
        self.assertEqual(link.take(), [])
        channel.connect(7, 100, 100)
        channel.flush()
        self.assertEqual(link.take(), [("close",)])

    def test_lost(self) -> None:
        """The end of the connection is the channel's, once, and says nothing to anybody."""
        channel, link = opened(window=0)
        channel.write(b"in vain")
        channel.lost()
        channel.lost()
        self.assertEqual((channel.told, link.take()), (["closed"], []))

    def test_lost_while_closing(self) -> None:
        """A subclass that closes its channel when it hears of its end does no harm."""
        channel, link = opened()

        class Closing(RecordingChannel):
            def closed(self) -> None:
                super().closed()
                self.send_eof()
                self.close()

        closing = Closing()
        closing.bind(link, 1)
        closing.connect(8, 100, 100)
        closing.close_received()
        self.assertEqual((closing.told, link.take()), (["closed"], [("close",), ("forgotten",)]))
        self.assertEqual(channel.told, [])


class ReceiveTests(SynchronousTestCase):
    def test_granted_when_used(self) -> None:
        """The peer may go on when what it sent has been used, not when it has arrived."""
        channel, link = opened()
        channel.receive_window.charge(600)
        self.assertEqual(link.take(), [])
        channel.consumed(100)
        self.assertEqual(link.take(), [])
        channel.consumed(400)
        self.assertEqual(link.take(), [("grant", 500)])

    def test_unused_kinds(self) -> None:
        """Extended data of a kind that nobody knows is dropped, and its window is opened again."""
        channel, link = opened()
        channel.receive_window.charge(900)
        channel.extended_received(77, bytes(900))
        self.assertEqual(link.take(), [("grant", 900)])

    def test_base_drops(self) -> None:
        """The base class uses what it gets by dropping it, and grants no request."""
        channel, link = Channel(1000), RecordingLink()
        channel.bind(link, 0)
        channel.receive_window.charge(900)
        channel.data_received(bytes(900))
        channel.eof_received()
        self.assertEqual(link.take(), [("grant", 900)])
