"""Recordings on an auth server that is killed, whose disk loses what it did not sync, and that is restored."""

from __future__ import annotations

from teleport_conch.audit.recording import digest
from tests.interop.cluster import at
from tests.interop.programs import check, eventually
from tests.interop.shared import healthy
from tests.interop.test_recorded import SAY_ID, RecordedCase


class AuthKilledTests(RecordedCase):
    def setUp(self) -> None:
        self.cluster = healthy()
        self.person = self.cluster.person("alice")
        self.records = self.cluster.auth.data_dir / "log" / "records"

    def arrives(self, sid: str, text: str) -> None:
        eventually(lambda: text.encode() in self.shown(sid), f"auth has {text}")

    def test_85_killed(self) -> None:
        """Killed again and again, with a torn slice in the file: the chain holds, and nothing is missing."""
        auth = self.cluster.auth
        terminal, sid = self.talk(self.person, "web1")
        for number in range(3):
            self.say(terminal, f"before {number}")
            self.arrives(sid, f"before {number}")
            auth.kill()
            file = self.records / f"{sid}.rec"
            whole = file.read_bytes()
            file.write_bytes(whole + whole[: 20 + 20 * number])
            self.say(terminal, f"meanwhile {number}")
            auth.start()
        terminal.type("\x04")
        self.assertEqual(terminal.ended(), 0)
        self.assertTrue(self.end(sid)["complete"])
        words = [f"{word} {number}" for number in range(3) for word in ("before", "meanwhile")]
        self.assertEqual(self.shown(sid).decode(), f"id={sid}\r\n" + "".join(2 * f"{each}\r\n" for each in words))
        upload = self.cluster.event("session.upload", lambda event: event["sid"] == sid, "of the session")
        last = [each.encode() for each in self.slices(sid)][-1]
        self.assertEqual(upload["sha256"], digest(last).hex())

    def test_removed(self) -> None:
        """One that is being made cannot be removed; one that is complete can, and is gone."""
        terminal, sid = self.talk(self.person, "web1")
        eventually(lambda: self.slices(sid), "auth has the beginning")
        refused = self.cluster.tctl("recordings", "rm", sid, "--yes", code=1)
        self.assertIn("is still being recorded", refused.complaint)
        terminal.type("\x04")
        terminal.ended()
        self.end(sid)
        self.cluster.tctl("recordings", "rm", sid, "--yes")
        self.assertFalse((self.records / f"{sid}.rec").exists())
        listed = self.cluster.ask("recordings", "ls")
        self.assertNotIn(sid, [at(each, "metadata", "name") for each in listed])

    def test_lost_file(self) -> None:
        """A recording whose file is lost is told of, and not played."""
        done = check(self.person.ssh("-tt", "web1", SAY_ID))
        sid = done.text.partition("id=")[2][:36]
        self.end(sid)
        (self.records / f"{sid}.rec").rename(self.records / "elsewhere")
        refused = self.cluster.tctl("recordings", "export", sid, "--output", str(self.cluster.folder / "x.rec"), code=1)
        self.assertIn("is not on the auth server", refused.complaint)
        (self.records / "elsewhere").rename(self.records / f"{sid}.rec")
        self.cluster.tctl("recordings", "export", sid, "--output", str(self.cluster.folder / "x.rec"))
        self.cluster.tctl("recordings", "verify", str(self.cluster.folder / "x.rec"))
