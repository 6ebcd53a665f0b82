"""A session that is a process of this host, with any number of parties, and the observers that watch it.

The session outlives no party but the last, and ends with its process. What a party is, is a channel: who joins later
sees what comes from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

from teleport_conch.errors import TeleportError
from teleport_conch.ssh.connection.channel import EXTENDED_STDERR
from teleport_conch.ssh.processes.exit_status import UNKNOWN_CODE, ExitStatus
from teleport_conch.ssh.processes.process import Process
from teleport_conch.ssh.session.channel import SessionChannel


class SessionObserver:
    """Sees what happens in a session, in order, once it is on its way. Subclasses say what they care for."""

    async def begins(self, session: ProcessSession) -> None:
        """Nothing has been started yet. Raises :class:`TeleportError` to refuse the start."""

    def output(self, data: bytes) -> None:
        """What the process wrote to its standard output, or to its terminal."""

    def error(self, data: bytes) -> None:
        """What it wrote to its standard error."""

    def input(self, data: bytes) -> None:
        """What a party typed."""

    def resized(self, cols: int, rows: int) -> None:
        """The terminal has another size."""

    def requested(self, name: str) -> None:
        """A party sent a signal (by its name without SIG), or ``BREAK``."""

    def ended(self, status: ExitStatus | None) -> None:
        """The process has exited; or (None) the last party has gone, and nobody will hear how; or it never started."""


class ProcessSession:
    """Moves bytes between one process and its parties.

    The process is held while a party cannot take more, or an observer says so; a party is held while the process does
    not read. What is in between is bounded by one window for each party, and one pipe.
    """

    def __init__(self, observers: Sequence[SessionObserver] = ()) -> None:
        self._observers = observers
        self._parties: list[Party] = []
        self._process: Process | None = None
        self._holders: set[object] = set()
        self._over = False

    async def begin(self) -> None:
        """Asks the observers, in their order. Raises :class:`TeleportError` when one of them refuses."""
        for observer in self._observers:
            await observer.begins(self)

    def join(self, channel: SessionChannel) -> Party:
        """Somebody takes part, with a channel of their own."""
        party = Party(self, channel)
        self._parties.append(party)
        if self._process is not None:
            party.connect()
        return party

    def attach(self, process: Process) -> None:
        """The process has started; its events are ours."""
        if self._over:
            process.hang_up()
            return
        self._process = process
        process.on_input_drained = self._drained
        for party in self._parties:
            party.connect()
        if self._holders:
            process.pause_output()

    def abandon(self) -> None:
        """There will be no process."""
        self._end(None)

    def close(self, sentence: str) -> None:
        """The session ends here: its parties read why, and the process loses its terminal or its pipes."""
        if self._over:
            return
        process, self._process = self._process, None
        for party in list(self._parties):
            party.channel.write_extended(EXTENDED_STDERR, f"\r\n{sentence}\r\n".encode())
            party.finish(ExitStatus(code=UNKNOWN_CODE))
        self._end(None)
        if process is not None:
            process.hang_up()

    # What parties and observers want.

    def hold(self, holder: object) -> None:
        """Leaves the process's output where it is until everyone who held it has released it."""
        if not self._holders and self._process is not None:
            self._process.pause_output()
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        """See :meth:`hold`; nothing where ``holder`` does not hold it."""
        if holder in self._holders:
            self._holders.remove(holder)
            if not self._holders and self._process is not None:
                self._process.resume_output()

    def type(self, data: bytes) -> bool:
        """Input of a party. False: it was taken, and what comes next has to wait for :meth:`Party.drained`."""
        taken = self._process is None or self._process.write(data)
        for observer in self._observers:
            observer.input(data)
        return taken

    def end_input(self) -> None:
        """A party types no more; with the last one's, the input ends."""
        if self._process is not None and not any(party.types for party in self._parties):
            self._process.end_input()

    def resize(self, cols: int, rows: int, xpixel: int, ypixel: int) -> None:
        """The terminal gets the size of whoever changed theirs last."""
        for observer in self._observers:
            observer.resized(cols, rows)
        if self._process is not None:
            self._process.resize(rows, cols, xpixel, ypixel)

    def unwanted(self) -> None:
        """A party does not want the output any more; with the last one's, the process hears so."""
        if self._process is not None and not any(party.listens for party in self._parties):
            self._process.stop_output()

    def signal(self, name: str) -> None:
        """Sends the signal; one that SSH has no name for is ignored, as the request wants no reply (section 6.9)."""
        for observer in self._observers:
            observer.requested(name)
        if self._process is not None:
            try:
                self._process.send_signal(name)
            except TeleportError:
                return

    def send_break(self) -> bool:
        """A break on the terminal (RFC 4335); False without one."""
        for observer in self._observers:
            observer.requested("BREAK")
        return self._process is not None and self._process.send_break()

    def leave(self, party: Party) -> None:
        """A party has gone; with the last one, the process loses its terminal or its pipes."""
        self._parties.remove(party)
        self.release(party)
        process = self._process
        if self._parties:
            self.end_input()
            self.unwanted()
        elif process is not None:
            self._process = None
            self._end(None)
            process.hang_up()

    # Events of the process.

    def output_received(self, data: bytes) -> None:
        for party in self._parties:
            party.channel.write(data)
        for observer in self._observers:
            observer.output(data)

    def error_received(self, data: bytes) -> None:
        for party in self._parties:
            party.channel.write_extended(EXTENDED_STDERR, data)
        for observer in self._observers:
            observer.error(data)

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
            for party in list(self._parties):
                party.finish(status)

    def _drained(self) -> None:
        for party in self._parties:
            party.drained()

    def _end(self, status: ExitStatus | None) -> None:
        if not self._over:
            self._over = True
            for observer in self._observers:
                observer.ended(status)


class Party:
    """One who takes part: the :class:`~teleport_conch.ssh.session.channel.Session` that their channel sees."""

    def __init__(self, session: ProcessSession, channel: SessionChannel) -> None:
        self.channel = channel
        self.types = True
        self.listens = True
        self._session = session
        self._unread = 0
        self._connected = False

    def connect(self) -> None:
        """The process runs."""
        self._connected = True
        self.channel.registerProducer(self)

    def drained(self) -> None:
        """The process has read what this party typed."""
        unread, self._unread = self._unread, 0
        self.channel.consumed(unread)

    def finish(self, status: ExitStatus) -> None:
        """The session is over."""
        if self._connected:
            self._connected = False
            self.channel.unregisterProducer()
        self.channel.finish(status)

    # The session, as its channel sees it.

    def input_received(self, data: bytes) -> None:
        if self._session.type(data):
            self.channel.consumed(len(data))
        else:
            self._unread += len(data)

    def input_ended(self) -> None:
        self.types = False
        self._session.end_input()

    def resize(self, cols: int, rows: int, xpixel: int, ypixel: int) -> None:
        self._session.resize(cols, rows, xpixel, ypixel)

    def output_unwanted(self) -> None:
        self.listens = False
        self._session.unwanted()

    def signal(self, name: str) -> None:
        self._session.signal(name)

    def send_break(self) -> bool:
        return self._session.send_break()

    def channel_closed(self) -> None:
        self._session.leave(self)

    # The producer of its channel.

    def pauseProducing(self) -> None:
        self._session.hold(self)

    def resumeProducing(self) -> None:
        self._session.release(self)

    def stopProducing(self) -> None:
        """The channel is gone; :meth:`channel_closed` says so, too."""
