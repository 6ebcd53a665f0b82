"""Sessions (RFC 4254, section 6): the channel that asks, and what is behind it.

A :class:`SessionChannel` reads requests and moves bytes. What it is connected to is a :class:`Session`: a process
(:mod:`teleport_conch.ssh.session.process_session`), or whatever a :class:`SessionOwner` makes of the request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import ClassVar, Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.errors import BadParameter, TeleportError
from teleport_conch.ssh.connection.channel import EXTENDED_STDERR, Channel
from teleport_conch.ssh.forwarding.x11 import X11Request
from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.wire import Reader, WireError

TerminalRequest = orders.Terminal
"""A ``pty-req``: the value of TERM, the size in characters and pixels, the encoded modes (section 8)."""

MAX_VARIABLES = 128
MAX_VARIABLE_BYTES = 32 << 10


@frozen
class SessionStart:
    """What a client wants to run.

    ``kind`` is ``shell``, ``exec`` or ``subsystem``; ``command`` is empty for a shell, and else the command line or the
    subsystem's name. A command line is any bytes: what is no text in it is there as ``os.fsdecode`` writes it, so that
    the program gets what was sent. ``environment`` holds what the client sent and the owner's allow-list let through.
    """

    kind: str
    command: str = ""
    terminal: TerminalRequest | None = None
    environment: dict[str, str] = field(factory=dict)


class Session(Protocol):
    """What is connected to a session channel, once it has started."""

    def input_received(self, data: bytes) -> None:
        """The client's input. ``channel.consumed`` is due once it has been used."""

    def input_ended(self) -> None:
        """The client sends no more."""

    def resize(self, cols: int, rows: int, xpixel: int, ypixel: int) -> None:
        """The client's window has another size."""

    def output_unwanted(self) -> None:
        """The client's output has been closed (``ssh host yes | head``); what is written there is not wanted."""

    def signal(self, name: str) -> None:
        """The client sends a signal, by its name without SIG (section 6.9)."""

    def send_break(self) -> bool:
        """The client sends a break (RFC 4335); whether there was a terminal for it."""

    def channel_closed(self) -> None:
        """The client has gone."""


class SessionOwner(Protocol):
    """Decides about the sessions of one connection."""

    def accepts_variable(self, name: str) -> bool:
        """Whether the client may set this variable."""

    async def start(self, request: SessionStart, channel: SessionChannel) -> Session:
        """Starts what is asked for. Raises :class:`TeleportError` to refuse; the client reads the sentence."""

    async def forward_agent(self, channel: SessionChannel) -> None:
        """Lets programs of the session use the client's agent. Raises :class:`TeleportError` to refuse."""

    async def forward_x11(self, channel: SessionChannel, request: X11Request) -> None:
        """Shows the windows of the session's programs at the client. Raises :class:`TeleportError` to refuse."""

    def channel_closed(self, channel: SessionChannel) -> None:
        """The channel is gone, whether or not a session was started."""


class SessionChannel(Channel):
    """The server's side of a ``session`` channel."""

    def __init__(self, owner: SessionOwner) -> None:
        super().__init__()
        self._owner = owner
        self._session: Session | None = None
        self._starting = False
        self._terminal: TerminalRequest | None = None
        self._environment: dict[str, str] = {}
        self._early = bytearray()
        self._early_eof = False
        self._refusal: TeleportError | None = None
        self._finished = False

    @property
    def is_watched(self) -> bool:
        """A terminal: ``top`` goes on where its reader has left."""
        return self._terminal is not None

    # From the client.

    def data_received(self, data: bytes) -> None:
        """Input; what arrives before the session has started waits for it, bounded by the window."""
        if self._session is None:
            self._early += data
        else:
            self._session.input_received(data)

    def eof_received(self) -> None:
        if self._session is None:
            self._early_eof = True
        else:
            self._session.input_ended()

    def closed(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.channel_closed()
        self._owner.channel_closed(self)

    async def request_received(self, name: bytes, payload: bytes) -> bool:
        """Looks the request up in the table of what is known; the rest is refused."""
        handler = self._requests.get(name)
        return False if handler is None else await handler(self, Reader(payload))

    async def _env(self, reader: Reader) -> bool:
        name, value = reader.text(), reader.text()
        reader.end()
        size = sum(len(key) + len(text) for key, text in self._environment.items()) + len(name) + len(value)
        if len(self._environment) >= MAX_VARIABLES or size > MAX_VARIABLE_BYTES or "\0" in value:
            return False
        if self._starting or not self._owner.accepts_variable(name):
            return False
        self._environment[name] = value
        return True

    async def _pty_req(self, reader: Reader) -> bool:
        term, cols, rows, xpixel, ypixel = reader.text(), *(reader.uint32() for _ in range(4))
        modes = reader.string()
        reader.end()
        if self._terminal is not None or self._starting:
            return False
        self._terminal = TerminalRequest(_terminal_type(term), cols, rows, xpixel, ypixel, modes)
        return True

    async def _window_change(self, reader: Reader) -> bool:
        cols, rows, xpixel, ypixel = (reader.uint32() for _ in range(4))
        reader.end()
        if self._session is not None:
            self._session.resize(cols, rows, xpixel, ypixel)
        return self._session is not None

    async def _eow(self, reader: Reader) -> bool:
        """OpenSSH's end of write (PROTOCOL, section 2.1)."""
        reader.end()
        if self._session is not None:
            self._session.output_unwanted()
        return True

    async def _signal(self, reader: Reader) -> bool:
        name = reader.text()
        reader.end()
        if self._session is not None:
            self._session.signal(name)
        return self._session is not None

    async def _break(self, reader: Reader) -> bool:
        """RFC 4335, section 3. The length is the terminal's to choose, as with ``sshd``."""
        reader.uint32()
        reader.end()
        return self._session is not None and self._session.send_break()

    async def _shell(self, reader: Reader) -> bool:
        reader.end()
        return await self._start("shell", "")

    async def _exec(self, reader: Reader) -> bool:
        command = reader.string()
        reader.end()
        if b"\0" in command:
            return self._refuse(BadParameter("A command or a variable of the session holds a NUL byte or is not text."))
        return await self._start("exec", os.fsdecode(command))

    async def _subsystem(self, reader: Reader) -> bool:
        name = reader.text()
        reader.end()
        return await self._start("subsystem", name)

    async def _agent(self, reader: Reader) -> bool:
        reader.end()
        try:
            await self._owner.forward_agent(self)
        except TeleportError:
            return False
        return True

    async def _x11(self, reader: Reader) -> bool:
        if self._starting:
            return False
        try:
            await self._owner.forward_x11(self, X11Request.parse(reader))
        except (TeleportError, WireError):
            return False
        return True

    def _refuse(self, refusal: TeleportError) -> bool:
        """Nothing is started on this channel any more, and the client reads why."""
        if self._starting:
            return False
        self._starting, self._refusal = True, refusal
        return True

    async def _start(self, kind: str, command: str) -> bool:
        """Starts the one session of this channel; what refused it is told to the client."""
        if self._starting:
            return False
        self._starting = True
        request = SessionStart(kind, command, self._terminal, dict(self._environment))
        try:
            session = await self._owner.start(request, self)
        except TeleportError as refusal:
            self._refusal = refusal
            return True
        if self.connection is None:
            session.channel_closed()
            return False
        self._session = session
        early, self._early = bytes(self._early), bytearray()
        if early:
            session.input_received(early)
        if self._early_eof:
            session.input_ended()
        return True

    def request_answered(self, name: bytes) -> None:
        """Tells a refusal as ``sshd`` tells what goes wrong after the login: on stderr, with an exit status of 255."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            self.write_extended(EXTENDED_STDERR, f"{refusal.sentence}\r\n".encode())
            self.finish(ExitStatus(code=255))

    _requests: ClassVar[dict[bytes, Callable[[SessionChannel, Reader], Coroutine[Deferred[object], object, bool]]]] = {
        b"env": _env,
        b"pty-req": _pty_req,
        b"window-change": _window_change,
        b"signal": _signal,
        b"break": _break,
        b"eow@openssh.com": _eow,
        b"shell": _shell,
        b"exec": _exec,
        b"subsystem": _subsystem,
        b"auth-agent-req@openssh.com": _agent,
        b"x11-req": _x11,
    }

    # From the session.

    def finish(self, status: ExitStatus | None = None) -> None:
        """The session is over: says how, once, then EOF and CLOSE behind all output (section 6.10)."""
        if self._finished:
            return
        self._finished = True
        if status is not None and status.signal is not None:
            parts = (wire.text(status.signal), wire.boolean(status.core_dumped), wire.text(""), wire.text(""))
            self.send_request(b"exit-signal", b"".join(parts))
        elif status is not None:
            self.send_request(b"exit-status", wire.uint32(status.code or 0))
        self.send_eof()
        self.close()


def _terminal_type(term: str) -> str:
    """A value that may become TERM. Raises :class:`WireError` for what no terminal is called."""
    if len(term) > 64 or not all(letter.isalnum() or letter in "-_.+" for letter in term):
        raise WireError("a terminal type of other characters than letters, digits and -_.+")
    return term or "dumb"
