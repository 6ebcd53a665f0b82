"""Processes of sessions that run, however they were started, and what starts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from teleport_conch.ssh.monitor.orders import Program
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.processes.terminal import Terminal


class Running(Protocol):
    """A started process, with our non-inheritable ends of its descriptors; who gets this owns them all.

    With a terminal, ``input`` and ``output`` are two descriptors of its master side, and there is no ``error``.
    """

    @property
    def pid(self) -> int:
        """Also the process group and the session."""

    @property
    def input(self) -> int:
        """What is written here is its standard input."""

    @property
    def output(self) -> int:
        """Its standard output."""

    @property
    def error(self) -> int | None:
        """Its standard error."""

    @property
    def terminal(self) -> Terminal | None:
        """Its terminal."""

    def watch(self, exited: Callable[[ExitStatus], None]) -> None:
        """Calls ``exited`` once, when the process has ended, and not within this call."""

    def kill(self, number: int) -> None:
        """Sends a signal to the process group; nothing once the process has ended."""


class Spawner(Protocol):
    """Starts the processes of one login."""

    async def spawn(self, program: Program) -> Running:
        """Starts a session's process. Raises :class:`~teleport_conch.errors.TeleportError` where that cannot be."""
