"""One session in the audit log and in the list, from its start to its end."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.node.watching import Watching
from teleport_conch.ssh.processes.exit_status import ExitStatus
from teleport_conch.ssh.session.channel import SessionStart, TerminalRequest
from tests.node.guests import Events, SessionList
from tests.node.test_active import SESSION


class WatchingTests(SynchronousTestCase):
    def watch(self, request: SessionStart) -> Watching:
        self.clock, self.events, self.sessions = Clock(), Events(), SessionList()
        session = evolve(SESSION, interactive=request.terminal is not None)
        watching = Watching(self.clock, self.events.emit, self.sessions, request, session)
        watching.started()
        return watching

    def test_start(self) -> None:
        """The list has it, and the event says its size."""
        terminal = TerminalRequest("xterm", 132, 50, 0, 0, b"")
        self.watch(SessionStart("shell", terminal=terminal))
        self.assertEqual(list(self.sessions.running), [SESSION.id])
        self.assertEqual(self.events.last("session.start")["size"], "132:50")

    def test_end(self) -> None:
        """The list forgets it; what went through, and how long it took, is in the events."""
        watching = self.watch(SessionStart("shell"))
        watching.output(b"12345")
        watching.output(b"67")
        watching.input(b"abc")
        watching.resized(100, 30)
        self.clock.advance(60)
        watching.ended(ExitStatus(code=0))
        self.assertEqual(self.sessions.running, {})
        self.assertEqual(self.events.names(), ["session.start", "session.data", "session.end"])
        data, end = self.events.last("session.data"), self.events.last("session.end")
        self.assertEqual((data["tx"], data["rx"]), (7, 3))
        self.assertEqual(
            (end["session_start"], end["session_stop"], end["interactive"], end["participants"]),
            ("1970-01-01T00:00:00.000Z", "1970-01-01T00:01:00.000Z", False, ["alice"]),
        )

    def test_traced(self) -> None:
        """The end says whether the kernel recorded what its programs did."""
        for traced in (False, True):
            watching = self.watch(SessionStart("shell"))
            watching.traced = traced
            watching.ended(None)
            self.assertIs(self.events.last("session.end")["enhanced_recording"], traced)

    def test_commands(self) -> None:
        """A command and a subsystem are events of their own, with how they ended."""
        for status, code, said in (
            (ExitStatus(code=0), "T3002I", "0"),
            (ExitStatus(code=7), "T3002E", "7"),
            (ExitStatus(code=None, signal="KILL"), "T3002E", "SIGKILL"),
            (None, "T3002E", "disconnected"),
        ):
            self.watch(SessionStart("exec", "uptime")).ended(status)
            event = self.events.last("exec")
            self.assertEqual((event["code"], event["exitCode"], event["command"]), (code, said, "uptime"))
        self.watch(SessionStart("subsystem", "sftp")).ended(ExitStatus(code=0))
        self.assertEqual(self.events.last("subsystem")["name"], "sftp")

    def test_signals_without_a_name(self) -> None:
        """A signal that SSH has no name for is no puzzle in the log."""
        self.watch(SessionStart("exec", "x")).ended(ExitStatus(code=None, signal="SIG@openssh.com"))
        self.assertEqual(self.events.last("exec")["exitCode"], "SIG@openssh.com")
