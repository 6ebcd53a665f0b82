"""The arithmetic of SSH's channel windows (RFC 4254, section 5.2), one object for each direction. Pure."""

from __future__ import annotations

from teleport_conch.ssh.transport.violation import ProtocolViolation

MAX_WINDOW_BYTES = (1 << 32) - 1


class WindowOverrun(ProtocolViolation):
    """The peer sent more than it was allowed, or allowed more than the protocol can say."""


class ReceiveWindow:
    """What the peer may still send us.

    It is charged when data arrives and refilled when the data was *consumed*, so that a slow consumer slows the peer
    down and never fills our memory.

    :param size: the window as it was announced, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = size
        self._consumed = 0

    def charge(self, count: int) -> None:
        """``count`` bytes have arrived."""
        if count > self.left:
            raise WindowOverrun(f"{count} bytes arrived where {self.left} were allowed")
        self.left -= count

    def consume(self, count: int) -> int:
        """``count`` bytes have left our hands; answers how many bytes the peer should be granted now, often none.

        Grants are made in steps of a quarter of the window, so that small reads do not cost an adjustment each.
        """
        self._consumed += count
        if self._consumed < self.size // 4:
            return 0
        granted, self._consumed = self._consumed, 0
        self.left += granted
        return granted


class SendWindow:
    """What we may still send to the peer, and in which pieces.

    :param left: the window that the peer announced, in bytes.
    :param max_packet: the largest piece that it accepts, in bytes; zero is refused, as nothing could ever be sent.
    """

    def __init__(self, left: int, max_packet: int) -> None:
        if max_packet == 0:
            raise WindowOverrun("a channel whose packets may hold nothing")
        self.left = left
        self.max_packet = max_packet

    def allow(self, count: int) -> None:
        """The peer allows ``count`` bytes more."""
        if self.left + count > MAX_WINDOW_BYTES:
            raise WindowOverrun(f"a window of {self.left} bytes grows by {count}, past what the protocol can say")
        self.left += count

    def take(self, wanted: int) -> int:
        """How many of ``wanted`` bytes may go out in one packet now; they are charged."""
        count = min(wanted, self.left, self.max_packet)
        self.left -= count
        return count
