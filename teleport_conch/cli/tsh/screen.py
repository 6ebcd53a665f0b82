"""The person's terminal while a recording is played on it: its keys, and that it is afterwards what it was before."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_conch.audit.playback import RESET, resized

READ_BYTES = 4096


def write(fd: int, data: bytes) -> None:
    """Writes all of it, and waits as long as that takes."""
    while data:
        data = data[os.write(fd, data) :]


@contextmanager
def lent(fd: int) -> Iterator[None]:
    """A terminal that may be written anything to; whatever happens, it is its old self in the end."""
    size = os.get_terminal_size(fd)
    try:
        yield
    finally:
        with suppress(OSError):  # a terminal that is gone
            write(fd, RESET)
            if os.get_terminal_size(fd) != size:
                write(fd, resized(size.columns, size.lines))


@contextmanager
def keyboard(reactor: IReactorFDSet, fd: int, typed: Callable[[bytes], None]) -> Iterator[None]:
    """Has what is typed on a terminal told to ``typed``, key by key and unseen."""
    before = termios.tcgetattr(fd)
    reader = _Reader(reactor, fd, typed)
    tty.setraw(fd, termios.TCSADRAIN)
    reactor.addReader(reader)
    try:
        yield
    finally:
        reactor.removeReader(reader)
        with suppress(termios.error):
            # What has not been read are keys that came too late, or answers to what a recording asked.
            termios.tcsetattr(fd, termios.TCSAFLUSH, before)


@implementer(IReadDescriptor)
class _Reader:
    def __init__(self, reactor: IReactorFDSet, fd: int, typed: Callable[[bytes], None]) -> None:
        self._reactor, self._fd, self._typed = reactor, fd, typed

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "keyboard"

    def doRead(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except OSError:
            data = b""
        if data:
            self._typed(data)
        else:
            self._reactor.removeReader(self)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - as Twisted has it
        """Nobody types any more."""
