"""The person's own terminal, while our client has a session: raw keys, the size of the window, and a way out."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
import tty
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.ssh.client.session import ERR, ClientSession, Ending
from teleport_conch.ssh.connection.channel import Channel
from teleport_conch.ssh.session.channel import TerminalRequest

READ_BYTES = 1 << 16
_SIZE = struct.Struct("4H")
_ESCAPES = """\
~.  end the connection
~?  this list
~~  a tilde
"""


def terminal_request(environment: Mapping[str, str], fd: int = 0) -> TerminalRequest:
    """What is asked of the node for the terminal at ``fd``; 80 by 24 where that is none."""
    rows, cols, xpixel, ypixel = window_size(fd)
    return TerminalRequest(environment.get("TERM", "xterm"), cols, rows, xpixel, ypixel, b"")


def window_size(fd: int) -> tuple[int, int, int, int]:
    """Rows, columns, and both in pixels."""
    try:
        rows, cols, xpixel, ypixel = _SIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_SIZE.size)))
    except OSError:
        rows = cols = xpixel = ypixel = 0
    return rows or 24, cols or 80, xpixel, ypixel


class Screen:
    """Where the output of a session goes. What is not taken holds the node up, and nothing is kept here.

    :param out: a descriptor, as is ``err``.
    """

    def __init__(self, out: int, err: int) -> None:
        self._out, self._err = out, err
        self._finished: Deferred[Ending] = Deferred()

    def output(self, session: ClientSession, stream: int, data: bytes) -> None:
        try:
            write_all(self._err if stream == ERR else self._out, data)
        except OSError:  # whoever read it has enough
            session.close()
        session.consumed(len(data))

    def output_ended(self, session: ClientSession) -> None:
        """The ending says all."""

    def ended(self, session: ClientSession, ending: Ending) -> None:
        self._finished.callback(ending)

    async def finished(self) -> Ending:
        """How the program ended."""
        return await self._finished


def write_all(fd: int, data: bytes) -> None:
    """Writes all of it, and waits as long as that takes."""
    while data:
        data = data[os.write(fd, data) :]


class Window:
    """A terminal whose keys all belong to a program elsewhere, for a while.

    :param resized: is told columns, rows, and both in pixels.
    """

    def __init__(self, fd: int, resized: Callable[[int, int, int, int], None]) -> None:
        self._fd, self._resized = fd, resized
        self._before: list[Any] | None = None

    def take(self, reactor: Any) -> None:
        """Makes the terminal raw, and follows its size."""
        self._before = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSADRAIN)  # what was typed already is for the program
        signal.signal(signal.SIGWINCH, lambda *_: reactor.callFromThread(self._tell))

    def give_back(self) -> None:
        """Makes it what it was."""
        if self._before is not None:
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)
            with suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None

    def _tell(self) -> None:
        rows, cols, xpixel, ypixel = window_size(self._fd)
        self._resized(cols, rows, xpixel, ypixel)


@implementer(IReadDescriptor)
class Keyboard:
    """Sends what is typed, or comes through a pipe, into a channel.

    :param window: the terminal, where it is one for a program elsewhere.
    :param escapes: whether ``~.`` after a new line ends the connection there.
    """

    def __init__(
        self, reactor: Any, channel: Channel, fd: int, window: Window | None = None, escapes: bool = True
    ) -> None:
        self._reactor, self._channel, self._fd, self._window = reactor, channel, fd, window
        self._escapes = Escapes() if escapes and window is not None else None
        self._reading = False

    def start(self) -> None:
        """Begins to read."""
        if self._window is not None:
            self._window.take(self._reactor)
        self._channel.registerProducer(self)
        self.resumeProducing()

    def stop(self) -> None:
        """Reads no more."""
        self.pauseProducing()
        self._channel.unregisterProducer()
        if self._window is not None:
            self._window.give_back()

    # The producer of the session.

    def pauseProducing(self) -> None:
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        if not self._reading:
            self._reading = True
            self._reactor.addReader(self)

    def stopProducing(self) -> None:
        self.pauseProducing()

    # From the reactor.

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "stdin"

    def doRead(self) -> Failure | None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.pauseProducing()
            self._channel.send_eof()
        elif self._escapes is None:
            self._channel.write(data)
        else:
            self._typed(self._escapes.take(data))
        return None

    def _typed(self, found: Taken) -> None:
        if found.data:
            self._channel.write(found.data)
        if found.help:
            sys.stderr.write(_ESCAPES.replace("\n", "\r\n"))
        if found.ends:
            self._channel.close()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - as Twisted has it
        """A pipe whose other end is closed: the reactor asks to read no more of it, and has taken it out."""
        if self._reading:
            self._reading = False
            self._channel.send_eof()


class Taken:
    """What of some keys is for the program, and what was for us."""

    def __init__(self, data: bytes, ends: bool = False, help: bool = False) -> None:  # noqa: A002 - the word for it
        self.data, self.ends, self.help = data, ends, help


class Escapes:
    """Finds ``~.``, ``~?`` and ``~~`` behind a new line, however the keys are cut into pieces."""

    def __init__(self) -> None:
        self._at_start = True
        self._tilde = False

    def take(self, data: bytes) -> Taken:
        """The next keys."""
        kept, found = bytearray(), Taken(b"")
        for key in data:
            if self._tilde:
                self._tilde = False
                if key == ord("."):
                    return Taken(bytes(kept), ends=True)
                if key == ord("?"):
                    found.help = True
                    continue
                kept += b"~" if key == ord("~") else b"~" + bytes((key,))
            elif key == ord("~") and self._at_start:
                self._tilde = True
                continue
            else:
                kept.append(key)
            self._at_start = key in b"\r\n"
        found.data = bytes(kept)
        return found
