"""Sees one session from its start to its end, for the audit log and the list of active sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_conch.resources.session import ActiveSession
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.channel import SessionStart
from teleport_conch.ssh.session.process_session import SessionObserver

Emit = Callable[..., object]


class Sessions(Protocol):
    """The sessions that are running."""

    def started(self, session: ActiveSession) -> None:
        """A session has begun."""

    def ended(self, session_id: str) -> None:
        """It is over."""


@define(slots=False)
class Watching(SessionObserver):
    """The :class:`~teleport_conch.ssh.session.process_session.SessionObserver` that every session has."""

    clock: IReactorTime
    emit: Emit
    sessions: Sessions
    request: SessionStart
    session: ActiveSession
    traced: bool = False
    _received: int = field(init=False, default=0)
    _sent: int = field(init=False, default=0)
    _running: bool = field(init=False, default=False)

    def started(self) -> None:
        """The process runs."""
        self._running = True
        self.sessions.started(self.session)
        terminal = self.request.terminal
        size = f"{terminal.cols}:{terminal.rows}" if terminal is not None else ""
        self.emit("session.start", size=size, **self.facts())

    def output(self, data: bytes) -> None:
        self._sent += len(data)

    def error(self, data: bytes) -> None:
        self._sent += len(data)

    def input(self, data: bytes) -> None:
        self._received += len(data)

    def resized(self, cols: int, rows: int) -> None:
        """Sizes belong into recordings, of which there are none."""

    def ended(self, status: ExitStatus | None) -> None:
        """The process has exited, or its client has gone. Of one that was never started others tell."""
        if not self._running:
            return
        self.sessions.ended(self.session.id)
        facts = self.facts()
        if self.request.kind == "exec":
            self.emit("exec", success=_well(status), command=self.request.command, exitCode=_code(status), **facts)
        elif self.request.kind == "subsystem":
            self.emit("subsystem", success=_well(status), name=self.request.command, **facts)
        self.emit("session.data", tx=self._sent, rx=self._received, **facts)
        self.emit(
            "session.end",
            interactive=self.session.interactive,
            participants=[self.session.user],
            enhanced_recording=self.traced,
            session_start=self.session.created_at,
            session_stop=self.clock.seconds(),
            **facts,
        )

    def facts(self) -> dict[str, object]:
        """What every event of the session says."""
        session = self.session
        return {
            "sid": session.id,
            "user": session.user,
            "login": session.login,
            "namespace": "default",
            "addr_remote": session.remote_addr,
        }


def asked_for(request: SessionStart) -> dict[str, object]:
    """The fields by which the event of a start that is refused says what it would have been."""
    named = {"exec": "command", "subsystem": "name"}.get(request.kind)
    return {"interactive": request.terminal is not None, **({named: request.command} if named else {})}


def _well(status: ExitStatus | None) -> bool:
    return status is not None and status.code == 0


def _code(status: ExitStatus | None) -> str:
    """As Teleport writes it: the exit code as a string, or the signal's name."""
    if status is None:
        return "disconnected"
    if status.code is not None:
        return str(status.code)
    name = status.signal or ""
    return name if "@" in name else f"SIG{name}"
