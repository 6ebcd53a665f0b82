"""Sessions on another host, from the client's side (RFC 4254, section 6).

A :class:`ClientSession` is a channel: what is written to it is the program's input, with back-pressure for whoever
registers as its producer, and ``send_eof`` ends that. Its output goes to a :class:`Receiver`, which says how much of it
has been used; only then may the program say more.
"""

from __future__ import annotations

import os
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from teleport_conch import wire
from teleport_conch.errors import ConnectionProblem, TooLarge
from teleport_conch.ssh.connection.channel import EXTENDED_STDERR, Channel, ChannelRefused, Opener
from teleport_conch.ssh.connection.requests import RequestRefused
from teleport_conch.ssh.plain_text import plain_text
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest
from teleport_conch.wire import Reader

MAX_MESSAGE_CHARS = 1 << 10
MAX_OUTPUT_BYTES = 16 << 20
"""What :meth:`Collected.of` keeps of a program's output, unless more is asked for."""

REQUEST_AGENT = b"auth-agent-req@openssh.com"
OUT = 0
ERR = EXTENDED_STDERR


@frozen
class Ending:
    """How a program on the other host ended.

    :ivar status: its exit status; None where it was killed, or where nothing was said.
    :ivar signal: what killed it, without SIG; empty where nothing did.
    :ivar message: what the server says of that.
    """

    status: int | None = None
    signal: str = ""
    message: str = ""


class Receiver(Protocol):
    """Takes the output of a session."""

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        """``data`` of :data:`OUT` or :data:`ERR`. ``consumed`` of the session is due once it has been used."""

    def output_ended(self, session: ClientSession) -> None:
        """No more follows. The program may go on, or have ended before."""

    def ended(self, session: ClientSession, ending: Ending) -> None:
        """The session is closed. Called once, in any case."""


class ClientSession(Channel):
    """One session of ours.

    :ivar has_agent: whether its program has an agent that leads to the one which is offered.
    """

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._receiver = receiver
        self.has_agent = False
        self._ending = Ending()
        self._opened: Deferred[None] = Deferred()

    async def open(self, connection: Opener) -> None:
        """Opens the channel. Raises :class:`~teleport_conch.ssh.connection.channel.ChannelRefused`."""
        connection.open(b"session", self)
        await self._opened

    async def start(self, start: SessionStart, agent: bool = False) -> None:
        """Asks for the agent, the terminal, the variables and the program, at once.

        :param agent: whether the program is to have an agent that leads here; :attr:`has_agent` tells whether it has.
        :raises RequestRefused: the server refuses the terminal or the program; it is not told why.
        """
        forwarded = self.request(REQUEST_AGENT) if agent else succeed(False)
        forwarded.addErrback(lambda failure: failure.trap(RequestRefused) and False)
        for name, value in start.environment.items():
            self.send_request(b"env", wire.text(name) + wire.text(value))
        terminal = None if start.terminal is None else self.request(b"pty-req", _terminal(start.terminal))
        program = wire.string(os.fsencode(start.command)) if start.kind != "shell" else b""
        started = self.request(start.kind.encode(), program)
        started.addErrback(lambda failure: failure.trap(RequestRefused) and False)
        if terminal is not None and not await terminal:
            raise RequestRefused("The server gives this session no terminal.")
        if not await started:
            raise RequestRefused("The server does not start what was asked for.")
        self.has_agent = await forwarded

    # From the connection.

    def opened(self) -> None:
        self._opened.callback(None)

    def refused(self, refusal: ChannelRefused) -> None:
        self._opened.errback(refusal)

    def data_received(self, data: bytes) -> None:
        self._receiver.output(self, OUT, data)

    def extended_received(self, kind: int, data: bytes) -> None:
        if kind == EXTENDED_STDERR:
            self._receiver.output(self, ERR, data)
        else:
            self.consumed(len(data))

    def eof_received(self) -> None:
        self._receiver.output_ended(self)

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        """How the program ended; the server asks for nothing else of a client."""
        reader = Reader(payload)
        if name == b"exit-status":
            self._ending = Ending(reader.uint32())
        elif name == b"exit-signal":
            signal, _core, message = reader.string(), reader.boolean(), reader.string()
            reader.string()
            self._ending = Ending(None, plain_text(signal, 32), plain_text(message, MAX_MESSAGE_CHARS))
        else:
            return False
        reader.end()
        return True

    def closed(self) -> None:
        if not self._opened.called:
            self._opened.errback(ConnectionProblem("The connection ended before the session was open."))
        self._receiver.ended(self, self._ending)

    # What else a client says.

    def resize(self, cols: int, rows: int, xpixel: int = 0, ypixel: int = 0) -> None:
        """The window has another size, in characters and in pixels."""
        self.send_request(b"window-change", b"".join(map(wire.uint32, (cols, rows, xpixel, ypixel))))

    def signal(self, name: str) -> None:
        """Sends the program a signal, by its name without SIG (section 6.9)."""
        self.send_request(b"signal", wire.text(name))

    def send_break(self, length_ms: int = 500) -> Deferred[bool]:
        """A break on the line (RFC 4335); whether the server made one."""
        return self.request(b"break", wire.uint32(length_ms))


def _terminal(asked: TerminalRequest) -> bytes:
    sizes = (asked.cols, asked.rows, asked.xpixel, asked.ypixel)
    return wire.text(asked.term) + b"".join(map(wire.uint32, sizes)) + wire.string(asked.modes or b"\0")


@frozen
class Finished:
    """All that a program said, and how it ended."""

    out: bytes
    err: bytes
    ending: Ending


class Collected:
    """Keeps the output of a program, up to a limit.

    :param max_bytes: of both streams together; a program that says more is hung up on.
    """

    def __init__(self, max_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._left_bytes = max_bytes
        self._streams: dict[int, list[bytes]] = {OUT: [], ERR: []}
        self._finished: Deferred[Finished] = Deferred()

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        self._streams[stream].append(data)
        self._left_bytes -= len(data)
        session.consumed(len(data))
        if self._left_bytes < 0 and not self._finished.called:
            self._finished.errback(TooLarge(f"The program says more than {self._max_bytes} bytes, which is the limit."))
            session.close()

    def output_ended(self, session: ClientSession) -> None:
        """The ending says all."""

    def ended(self, session: ClientSession, ending: Ending) -> None:
        if not self._finished.called:
            out, err = (b"".join(self._streams[stream]) for stream in (OUT, ERR))
            self._finished.callback(Finished(out, err, ending))

    async def finished(self) -> Finished:
        """What became of it. Raises TooLarge."""
        return await self._finished
