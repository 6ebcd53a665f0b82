"""A session whose other end is code of this process, and no program of the host."""

from __future__ import annotations

from teleport_conch.ssh.session.channel import SessionChannel


class PlainSession:
    """A session without a process and without a terminal, to which most of what a client can say means nothing."""

    def resize(self, cols: int, rows: int, xpixel: int, ypixel: int) -> None:
        """There is no terminal."""

    def output_unwanted(self) -> None:
        """The client closes the channel, too."""

    def signal(self, name: str) -> None:
        """There is no process."""

    def send_break(self) -> bool:
        """There is no terminal."""
        return False


class InnerSession(PlainSession):
    """The base of such sessions; subclasses override what they care for, and say what they have :meth:`used`.

    What the client sends is paid for only while it reads what it gets: who sends and never reads is stopped, with a
    window of input answered at most.
    """

    def __init__(self, channel: SessionChannel) -> None:
        self.channel = channel
        self._paused = False
        self._owed = 0
        channel.registerProducer(self)

    def used(self, count: int) -> None:
        """So many bytes of input have been worked on, and what they led to has been written."""
        self._owed += count
        if not self._paused:
            self.resumeProducing()

    # A session, as its channel sees it.

    def input_received(self, data: bytes) -> None:
        """Input is of no use here, unless a subclass says otherwise."""
        self.used(len(data))

    def input_ended(self) -> None:
        """Nothing follows from that."""

    def channel_closed(self) -> None:
        """The client has gone."""

    # The producer of the channel.

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        owed, self._owed = self._owed, 0
        self.channel.consumed(owed)

    def stopProducing(self) -> None:
        """The channel is gone; :meth:`channel_closed` says so, too."""
