"""Threat 84: what others put into users, commands and reasons, in the log and on the terminal of who reads it."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.audit.event import build
from teleport_conch.audit.log import EventLog
from teleport_conch.cli.views import event_table, recording_table
from teleport_conch.errors import BadParameter
from teleport_conch.resources.recording import Recording
from tests.auth.fixture import NOW, WEB1
from tests.auth.recordings.case import RecordingsTestCase
from tests.auth.recordings.samples import SID, encoded, end, start

NASTY = (
    "\x1b[2J\x1b]52;c;cm0gLXJmIH4=\x07",
    "two\nlines\r\nof\ttext",
    '{"event":"user.login","code":"T1000I"}\n',
    "\u202egnp.exe",
    "nul\0l",
    "\x9b31m",
    "\u2028line separator",
    "\ud800",
)


class T84Events(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        clock.advance(NOW)
        self.folder = Path(self.mktemp())
        self.log = EventLog(self.folder, clock)
        self.addCleanup(self.log.close)

    def kept(self) -> list[dict[str, object]]:
        """Events of all that is nasty, as they were kept and found again."""
        events = []
        for number, text in enumerate(NASTY):
            uid = f"00000000-0000-4000-8000-{number:012}"
            fields = {"user": text, "login": text, "command": text, "reason": text, "error": text, "server_id": WEB1}
            del fields["reason"]
            events.append(build("exec", True, fields, NOW, uid))
        self.log.append(events)
        return self.log.search(0, NOW + 1)

    def test_stored_escaped(self) -> None:
        """One line for each, in ASCII without control characters; nobody forges a line of their own."""
        self.kept()
        text = (self.folder / "events.log").read_bytes()
        lines = text.splitlines()
        self.assertEqual(len(lines), len(NASTY))
        self.assertTrue(all(32 <= byte < 127 or byte == 10 for byte in text))
        self.assertEqual({json.loads(line)["event"] for line in lines}, {"exec"})

    def test_list_is_inert(self) -> None:
        """What ``tctl events ls`` prints has no character that a terminal obeys, and a line for each event."""
        lines = event_table(self.kept()).splitlines()
        self.assertEqual(len(lines), 2 + len(NASTY))
        self.assertTrue(all(line.isprintable() for line in lines), lines)

    def test_reasons(self) -> None:
        """Likewise what somebody gives as a reason."""
        for number, text in enumerate(NASTY):
            uid = f"00000000-0000-4000-8000-{number:012}"
            self.log.append([build("client.disconnect", True, {"user": "eve", "reason": text}, NOW, uid)])
        lines = event_table(self.log.search(0, NOW + 1)).splitlines()
        self.assertEqual(len(lines), 2 + len(NASTY))
        self.assertTrue(all(line.isprintable() for line in lines))


class T84Recordings(RecordingsTestCase):
    def test_names(self) -> None:
        """A recording whose start has such names is refused; one that came by other ways is listed inert."""
        for text in NASTY:
            answer = self.send(encoded(start(user=text)))
            self.assertEqual((answer.status, answer.code), (400, BadParameter.code), answer.body)
            lines = recording_table([Recording(SID, text, text, WEB1, text, NOW)]).splitlines()
            self.assertEqual((len(lines), all(line.isprintable() for line in lines)), (3, True))

    def test_reason(self) -> None:
        """Why something is missing is for people, and printed inert; in events it is escaped as all else."""
        for text in NASTY:
            sid = f"{NASTY.index(text)}{SID[1:]}"
            self.send(encoded(start(sid), end(complete=False, reason=text), last=True), sid)
            self.assertTrue(self.recording(sid).reason.isprintable(), text)
