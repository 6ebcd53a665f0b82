"""A session that is a process of this host, with the channels of its parties and the observers that watch it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from teleport_conch.errors import TeleportError
from teleport_conch.ssh.channel import EXTENDED_STDERR
from teleport_conch.ssh.exit_status import ExitStatus
from teleport_conch.ssh.process import Process
from teleport_conch.ssh.session import SessionChannel


class SessionObserver(Protocol):
    """Sees what happens in a session, in order."""

    def output(self, data: bytes) -> None:
        """What the process wrote to its standard output, or to its terminal."""

    def error(self, data: bytes) -> None:
        """What it wrote to its standard error."""

    def input(self, data: bytes) -> None:
        """What a party typed."""

    def resized(self, cols: int, rows: int) -> None:
        """The terminal has another size."""

    def ended(self, status: ExitStatus | None) -> None:
        """The process has exited, or (None) its last party has gone and nobody will hear how it ends."""


class ProcessSession:
    """Moves bytes between one process and the channel of the party that started it.

    The process is held while the channel cannot send, and the client is held while the process does not read: what is
    in between is bounded by one window and one pipe.
    """

    def __init__(self, channel: SessionChannel, observers: Sequence[SessionObserver] = ()) -> None:
        self._channel = channel
        self._observers = observers
        self._process: Process | None = None
        self._unread = 0
        self._over = False

    def attach(self, process: Process) -> None:
        """The process has started; its events are ours."""
        self._process = process
        process.on_input_drained = self._drained
        self._channel.registerProducer(self)

    # Events of the process.

    def output_received(self, data: bytes) -> None:
        for observer in self._observers:
            observer.output(data)
        self._channel.write(data)

    def error_received(self, data: bytes) -> None:
        for observer in self._observers:
            observer.error(data)
        self._channel.write_extended(EXTENDED_STDERR, data)

    def output_ended(self) -> None:
        """Nothing to say yet: EOF is for both outputs."""

    def error_ended(self) -> None:
        """See :meth:`output_ended`."""

    def exited(self, status: ExitStatus) -> None:
        """All output has been handed over; how it ended follows it."""
        self._process = None
        try:
            self._end(status)
        finally:
            self._channel.unregisterProducer()
            self._channel.finish(status)

    def _end(self, status: ExitStatus | None) -> None:
        if not self._over:
            self._over = True
            for observer in self._observers:
                observer.ended(status)

    # The session, as its channel sees it.

    def input_received(self, data: bytes) -> None:
        for observer in self._observers:
            observer.input(data)
        if self._process is None or self._process.write(data):
            self._channel.consumed(len(data))
        else:
            self._unread += len(data)

    def _drained(self) -> None:
        unread, self._unread = self._unread, 0
        self._channel.consumed(unread)

    def input_ended(self) -> None:
        if self._process is not None:
            self._process.end_input()

    def resize(self, cols: int, rows: int, xpixel: int, ypixel: int) -> None:
        for observer in self._observers:
            observer.resized(cols, rows)
        if self._process is not None:
            self._process.resize(rows, cols, xpixel, ypixel)

    def output_unwanted(self) -> None:
        if self._process is not None:
            self._process.stop_output()

    def signal(self, name: str) -> None:
        """Sends the signal; one that SSH has no name for is ignored, as the request wants no reply (section 6.9)."""
        if self._process is not None:
            try:
                self._process.send_signal(name)
            except TeleportError:
                return

    def channel_closed(self) -> None:
        """The party has gone, and with it the process."""
        process, self._process = self._process, None
        if process is not None:
            self._end(None)
            process.hang_up()

    # The producer of the channel.

    def pauseProducing(self) -> None:
        if self._process is not None:
            self._process.pause_output()

    def resumeProducing(self) -> None:
        if self._process is not None:
            self._process.resume_output()

    def stopProducing(self) -> None:
        """The channel is gone; :meth:`channel_closed` says so, too."""
