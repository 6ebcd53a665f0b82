"""Window arithmetic, without any channel around it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.ssh.connection.window import MAX_WINDOW_BYTES, ReceiveWindow, SendWindow, WindowOverrun


class ReceiveWindowTests(SynchronousTestCase):
    def test_charged_on_arrival(self) -> None:
        """What arrives is taken off the window at once, used or not."""
        window = ReceiveWindow(100)
        window.charge(60)
        self.assertEqual(window.left, 40)

    def test_overrun(self) -> None:
        """One byte more than was allowed is refused, and charges nothing."""
        window = ReceiveWindow(100)
        window.charge(100)
        refusal = self.assertRaises(WindowOverrun, window.charge, 1)
        self.assertEqual(str(refusal), "1 bytes arrived where 0 were allowed")
        self.assertEqual(window.left, 0)

    def test_granted_in_quarters(self) -> None:
        """Small reads are collected until they make a quarter of the window."""
        window = ReceiveWindow(100)
        window.charge(50)
        self.assertEqual([window.consume(10), window.consume(14), window.consume(1)], [0, 0, 25])
        self.assertEqual(window.left, 75)

    @given(
        st.integers(1, 4096),
        st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 4096)), max_size=60),
    )
    @settings(deadline=None)
    def test_never_stalls_and_never_grows(self, size: int, steps: list[tuple[int, int]]) -> None:
        """At most ``size`` bytes are on their way or unused; with all of them used, most of the window is open."""
        window, unused = ReceiveWindow(size), 0
        for some, others in steps:
            arriving = min(some, window.left)
            window.charge(arriving)
            unused += arriving
            used = min(others, unused)
            window.consume(used)
            unused -= used
            self.assertLessEqual(window.left + unused, size)
        window.consume(unused)
        self.assertGreater(window.left, 0)
        self.assertGreaterEqual(window.left, size - max(size // 4, 1))


class SendWindowTests(SynchronousTestCase):
    def test_pieces(self) -> None:
        """A piece is as long as what is wanted, the window and the largest packet allow."""
        window = SendWindow(25, 10)
        self.assertEqual([window.take(4), window.take(100), window.take(100), window.take(100)], [4, 10, 10, 1])
        self.assertEqual(window.take(100), 0)

    def test_grows(self) -> None:
        """An adjustment opens a window that was used up."""
        window = SendWindow(0, 10)
        window.allow(3)
        self.assertEqual(window.take(10), 3)

    def test_largest_window(self) -> None:
        """2^32 - 1 bytes can be allowed, and not one more."""
        window = SendWindow(MAX_WINDOW_BYTES - 1, 10)
        window.allow(1)
        refusal = self.assertRaises(WindowOverrun, window.allow, 1)
        self.assertEqual(str(refusal), "a window of 4294967295 bytes grows by 1, past what the protocol can say")
        self.assertEqual(window.left, MAX_WINDOW_BYTES)

    def test_empty_packets(self) -> None:
        """A peer whose packets may hold nothing could never be sent anything."""
        refusal = self.assertRaises(WindowOverrun, SendWindow, 10, 0)
        self.assertEqual(str(refusal), "a channel whose packets may hold nothing")

    @given(st.integers(0, 1000), st.integers(1, 100), st.lists(st.integers(0, 200), max_size=50))
    @settings(deadline=None)
    def test_never_more_than_allowed(self, left: int, max_packet: int, wanted: list[int]) -> None:
        """No piece is longer than a packet, and all of them together are no more than the window."""
        window = SendWindow(left, max_packet)
        pieces = [window.take(count) for count in wanted]
        self.assertTrue(all(piece <= min(max_packet, count) for piece, count in zip(pieces, wanted, strict=True)))
        self.assertEqual(sum(pieces) + window.left, left)
