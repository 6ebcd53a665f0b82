"""A loop of ``poll(2)`` for processes that must stay small: descriptors, frames and deadlines, and nothing else."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from teleport_conch.ssh.monitor.frames import Frame, Peer, Violation

_READ = select.POLLIN
_ENDED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Loop:
    """Waits for descriptors, and for points in time."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._deadlines: dict[int, tuple[float, Callable[[], None]]] = {}
        self._last = 0
        self._running = True

    def watch(self, fd: int, ready: Callable[[int], None], events: int = _READ) -> None:
        """Calls ``ready`` with the events of ``poll(2)`` whenever there is something to read."""
        self._ready[fd] = ready
        self._poll.register(fd, events)

    def want_write(self, fd: int, wanted: bool) -> None:
        """Whether to be told as well when ``fd`` takes more."""
        self._poll.modify(fd, _READ | select.POLLOUT if wanted else _READ)

    def unwatch(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, due: Callable[[], None]) -> int:
        """Calls ``due`` once; the number is for :meth:`forget`."""
        self._last += 1
        self._deadlines[self._last] = (time.monotonic() + seconds, due)
        return self._last

    def forget(self, number: int) -> None:
        self._deadlines.pop(number, None)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Until :meth:`stop`."""
        while self._running:
            for fd, events in self._poll.poll(self._patience_ms()):
                ready = self._ready.get(fd)
                if ready is not None:
                    ready(events)
            self._call_due()

    def _patience_ms(self) -> float | None:
        if not self._deadlines:
            return None
        return max(0.0, min(at for at, _ in self._deadlines.values()) - time.monotonic()) * 1000 + 1

    def _call_due(self) -> None:
        if self._deadlines:
            now = time.monotonic()
            for number, (at, due) in list(self._deadlines.items()):
                if at <= now and number in self._deadlines:
                    del self._deadlines[number]
                    due()


class Conversation:
    """Frames with one other process, driven by a :class:`Loop`.

    :param received: called with each frame; its descriptors are its own.
    :param gone: called once, when the other side has closed, or was cut off as it does not keep to the rules.
    """

    def __init__(self, loop: Loop, peer: Peer, received: Callable[[Frame], None], gone: Callable[[], None]) -> None:
        self._loop = loop
        self._peer = peer
        self._received = received
        self._gone = gone
        self._open = True
        loop.watch(peer.fileno(), self._ready)

    def send(self, kind: int, number: int, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        """Sends a frame; who does not read what it asked for is cut off."""
        frame = Frame(kind, number, body, descriptors)
        if not self._open:
            frame.close()
            return
        try:
            self._peer.send(frame)
            self._loop.want_write(self._peer.fileno(), self._peer.wants_write)
        except Violation:
            self.end()

    @property
    def waiting(self) -> int:
        """Frames that the other side has not taken yet."""
        return self._peer.waiting

    def end(self) -> None:
        """Closes our side, and says so."""
        if self._open:
            self._open = False
            self._loop.unwatch(self._peer.fileno())
            self._peer.close()
            self._gone()

    def _ready(self, events: int) -> None:
        try:
            if events & select.POLLOUT:
                self._peer.flush()
                self._loop.want_write(self._peer.fileno(), self._peer.wants_write)
            if events & (_READ | _ENDED):
                frame = self._peer.receive()
                if frame is not None:
                    self._received(frame)
        except (EOFError, Violation):
            self.end()
