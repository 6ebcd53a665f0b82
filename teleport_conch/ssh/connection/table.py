"""The channels of one connection by the numbers that we gave them."""

from __future__ import annotations

from teleport_conch.ssh.connection.channel import Channel, Link
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader


class ChannelTable:
    """Numbers are given once: a message for a channel that was is told from one for a channel that never was."""

    __slots__ = ("_next_id", "open")

    def __init__(self) -> None:
        self.open: dict[int, Channel] = {}
        self._next_id = 0

    def __len__(self) -> int:
        return len(self.open)

    def bind(self, channel: Channel, link: Link) -> None:
        """Gives ``channel`` its number."""
        channel.bind(link, self._next_id)
        self.open[self._next_id] = channel
        self._next_id += 1

    def find(self, local_id: int, confirmed: bool = True) -> Channel | None:
        """The channel that a message is for; None where it has been closed already.

        :param confirmed: refuse one that the peer has not confirmed yet.
        :raises ProtocolViolation: there never was one with this number.
        """
        channel = self.open.get(local_id)
        if channel is None and local_id >= self._next_id:
            raise ProtocolViolation(f"there never was a channel {local_id}")
        if channel is not None and confirmed and channel.remote_id < 0:
            raise ProtocolViolation(f"channel {local_id} is not open yet")
        return channel

    def read(self, reader: Reader, confirmed: bool = True) -> Channel | None:
        """:meth:`find` for the number that comes next."""
        return self.find(reader.uint32(), confirmed)

    def __contains__(self, channel: Channel) -> bool:
        return self.open.get(channel.local_id) is channel

    def turn(self, number: int) -> Channel | None:
        """The channel of this number, which is served last from now on."""
        channel = self.open.pop(number, None)
        if channel is not None:
            self.open[number] = channel
        return channel

    def remove(self, channel: Channel) -> None:
        """``channel`` is closed on both sides."""
        self.open.pop(channel.local_id, None)
