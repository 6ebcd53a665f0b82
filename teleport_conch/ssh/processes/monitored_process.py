"""Processes that a monitor has started, as the server sees them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from teleport_conch.ssh.monitor import orders
from teleport_conch.ssh.monitor.frames import Frame
from teleport_conch.ssh.monitor.traced import Traced
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.terminal import Terminal
from teleport_conch.wire import Reader


class Signals(Protocol):
    """What a process needs of the monitor."""

    def signal(self, number: int, signal_number: int) -> None:
        """Sends a signal to the process of this number."""

    def later(self, call: Callable[[], None]) -> None:
        """Calls back when what runs now has returned."""


@frozen
class BrokerProcess:
    """The program of :mod:`teleport_conch.ssh.socket_broker`, started by the monitor.

    :ivar control: the socket to it.
    :ivar reaped: fires when it has ended.
    """

    pid: int
    control: socket.socket
    reaped: Deferred[None] = field(factory=Deferred)

    def ended(self, status: ExitStatus) -> None:
        """The process was waited for."""
        self.reaped.callback(None)


def _nothing(traced: Traced) -> None:
    pass


@define
class MonitoredProcess:
    """A :class:`~teleport_conch.ssh.processes.running.Running` process that the monitor's starter waits for.

    :ivar on_traced: called with what the kernel has recorded of it, between its start and its end. It does not raise.
    """

    pid: int
    input: int
    output: int
    error: int | None
    terminal: Terminal | None
    _monitor: Signals
    _number: int
    on_traced: Callable[[Traced], object] = field(init=False, default=_nothing)
    _status: ExitStatus | None = field(init=False, default=None)
    _exited: Callable[[ExitStatus], None] | None = field(init=False, default=None)

    @classmethod
    def of(cls, monitor: Signals, number: int, frame: Frame) -> MonitoredProcess:
        """What the answer to a START says."""
        reader = Reader(frame.body)
        pid, tty = reader.uint32(), orders.read_text(reader)
        if tty:
            (master,) = frame.descriptors
            terminal = Terminal(tty, master, -1)
            return cls(pid, os.dup(master), os.dup(master), None, terminal, monitor, number)
        to_it, from_it, complaints = frame.descriptors
        return cls(pid, to_it, from_it, complaints, None, monitor, number)

    def watch(self, exited: Callable[[ExitStatus], None]) -> None:
        self._exited, status = exited, self._status
        if status is not None:
            self._monitor.later(lambda: exited(status))

    def ended(self, status: ExitStatus) -> None:
        """The process was waited for."""
        self._status = status
        if self._exited is not None:
            self._exited(status)

    def kill(self, number: int) -> None:
        self._monitor.signal(self._number, number)
