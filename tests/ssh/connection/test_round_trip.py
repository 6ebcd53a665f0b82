"""What one connection says is what the other hears, whatever it is: every message of RFC 4254 that has content."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh import connection as conch
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.connection.channel import ChannelRefused
from teleport_conch.ssh.connection.requests import RequestRefused
from tests.ssh import messages
from tests.ssh.connections import ConnectionCase, Pair, joined
from tests.ssh.recording import RecordingChannel, RecordingOwner

NAMES = st.binary(max_size=64)
CONTENTS = st.binary(max_size=300)
WINDOWS = st.integers(1, (1 << 32) - 1)
REASONS = st.integers(0, (1 << 32) - 1)
VISIBLE = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=100)


class HearingChannel(RecordingChannel):
    """Writes down everything, and grants what it is told to."""

    def __init__(self, window_bytes: int = 1000, grants: bool = True) -> None:
        super().__init__(window_bytes)
        self.grants = grants

    @property
    def data(self) -> list[bytes]:
        return [each for each in self.told if isinstance(each, bytes)]

    def extended_received(self, kind: int, data: bytes) -> None:
        self.told.append((kind, data))

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        self.told.append((name, payload))
        return self.grants

    def refused(self, refusal: ChannelRefused) -> None:
        self.told.append((refusal.reason, refusal.sentence))


class RoundTripTests(SynchronousTestCase):
    """Hypothesis runs one setUp for all examples, so that each of them begins with a pair of its own."""

    def begin(self) -> Pair:
        self.near_owner, self.far_owner = RecordingOwner(), RecordingOwner()
        return joined(self.near_owner, self.far_owner)

    def opened(self, pair: Pair, near: HearingChannel, far: HearingChannel) -> None:
        """A channel whose ends these are."""
        self.far_owner.answers[b"any"] = lambda: far
        pair.near.open(b"any", near)
        pair.deliver()
        self.assertEqual((near.told, far.told), (["opened"], ["opened"]))
        near.told.clear()
        far.told.clear()

    @given(NAMES, CONTENTS, WINDOWS, WINDOWS)
    @settings(deadline=None)
    def test_open(self, kind: bytes, payload: bytes, near_window: int, far_window: int) -> None:
        """CHANNEL_OPEN and its confirmation: kind, content, and how much each side may send."""
        pair = self.begin()
        near, far = HearingChannel(near_window), HearingChannel(far_window)
        self.far_owner.answers[kind] = lambda: far
        pair.near.open(kind, near, payload)
        pair.deliver()
        self.assertEqual((self.far_owner.asked, near.told, far.told), ([(kind, payload)], ["opened"], ["opened"]))
        near.write(bytes(5000))
        far.write(bytes(5000))
        pair.deliver()
        for channel, window in ((near, near_window), (far, far_window)):
            self.assertEqual(sum(map(len, channel.data)), min(window, 5000))

    @given(REASONS, VISIBLE)
    def test_open_refused(self, reason: int, sentence: str) -> None:
        """CHANNEL_OPEN_FAILURE: reason and sentence."""
        pair, channel = self.begin(), HearingChannel()
        self.far_owner.answers[b"any"] = lambda: ChannelRefused(reason, sentence)
        pair.near.open(b"any", channel)
        pair.deliver()
        self.assertEqual(channel.told, [(reason, sentence), "closed"])

    @given(st.lists(st.tuples(st.integers(0, 1 << 31), CONTENTS.filter(bool)), max_size=10))
    @settings(deadline=None)
    def test_data(self, pieces: list[tuple[int, bytes]]) -> None:
        """CHANNEL_DATA, CHANNEL_EXTENDED_DATA and CHANNEL_WINDOW_ADJUST, in order, then EOF and CLOSE."""
        pair, near, far = self.begin(), HearingChannel(), HearingChannel(1 << 20)
        self.opened(pair, near, far)
        for kind, data in pieces:
            near.write_extended(kind, data)
        near.close()
        pair.deliver()
        self.assertEqual(far.told, [(kind, data) if kind else data for kind, data in pieces] + ["closed"])

    @given(st.lists(st.tuples(NAMES, CONTENTS, st.booleans()), max_size=10), st.booleans())
    @settings(deadline=None)
    def test_channel_requests(self, asked: list[tuple[bytes, bytes, bool]], grants: bool) -> None:
        """CHANNEL_REQUEST with and without a reply, and the reply: CHANNEL_SUCCESS or CHANNEL_FAILURE."""
        pair, near, far = self.begin(), HearingChannel(), HearingChannel(grants=grants)
        self.opened(pair, near, far)
        replies = []
        for name, payload, wants_reply in asked:
            if wants_reply:
                replies.append(near.request(name, payload))
            else:
                near.send_request(name, payload)
        pair.deliver()
        self.assertEqual(far.told, [(name, payload) for name, payload, _ in asked])
        self.assertEqual([self.successResultOf(reply) for reply in replies], [grants] * len(replies))

    @given(NAMES.map(b"x".__add__), CONTENTS, st.none() | CONTENTS)
    def test_global_requests(self, name: bytes, payload: bytes, answer: bytes | None) -> None:
        """GLOBAL_REQUEST and its reply: REQUEST_SUCCESS with content, or REQUEST_FAILURE."""
        pair = self.begin()
        self.far_owner.global_answers[name] = AccessDenied("No.") if answer is None else answer
        reply = pair.near.global_request(name, payload)
        pair.deliver()
        self.assertEqual(self.far_owner.asked, [(name, payload)])
        if answer is None:
            self.failureResultOf(reply, RequestRefused)
        else:
            self.assertEqual(self.successResultOf(reply), answer)


class TruncatedTests(ConnectionCase):
    """A message that is cut before its open-ended content is no message: the connection ends, and nobody hears of it.

    Every length is tried with one example of each message in ``test_service``; here the content is any, and the length.
    """

    @given(NAMES, WINDOWS, st.data())
    def test_open(self, kind: bytes, window: int, data: st.DataObject) -> None:
        self.assert_cut(conch.MSG_CHANNEL_OPEN, messages.open_channel(kind, 7, window, 9), data)

    @given(CONTENTS, st.data())
    def test_data(self, content: bytes, data: st.DataObject) -> None:
        self.assert_cut(conch.MSG_CHANNEL_DATA, messages.data(0, content), data)

    @given(REASONS, CONTENTS, st.data())
    def test_extended_data(self, kind: int, content: bytes, data: st.DataObject) -> None:
        self.assert_cut(conch.MSG_CHANNEL_EXTENDED_DATA, messages.extended(0, kind, content), data)

    @given(NAMES, st.booleans(), st.data())
    def test_channel_request(self, name: bytes, wants_reply: bool, data: st.DataObject) -> None:
        self.assert_cut(conch.MSG_CHANNEL_REQUEST, messages.request(0, name, wants_reply), data)

    @given(NAMES, st.booleans(), st.data())
    def test_global_request(self, name: bytes, wants_reply: bool, data: st.DataObject) -> None:
        self.assert_cut(conch.MSG_GLOBAL_REQUEST, messages.global_request(name, wants_reply), data)

    def assert_cut(self, number: int, whole: bytes, data: st.DataObject) -> None:
        self.setUp()
        channel = self.opened()
        self.owner.asked.clear()
        self.receive(number, whole[: data.draw(st.integers(0, len(whole) - 1))])
        self.assertEqual([reason for reason, _ in self.transport.disconnects], [2])
        self.assertEqual((channel.told, self.owner.asked), (["opened"], []))
