"""Sessions that were recorded on a node, listed and played by those who may, and by nobody else."""

from __future__ import annotations

import json
from functools import cache

from teleport_conch.audit.playback import CLEAR, RESET
from tests.interop import tsh_case
from tests.interop.cluster import LOGIN
from tests.interop.programs import Done, check, eventually, installed, run
from tests.interop.tsh import Tsher, invited
from tests.interop.tsh_case import TshCase, cluster

SAY_ID = "echo id=$SSH_SESSION_ID; "
COLOURED = r"printf '\033[1;32mgreen\033[0m\n'; exit 3"
GREEN = b"\x1b[1;32mgreen\x1b[0m\r\n"
NOBODY = "0b5c9f1e-5c0a-4f0e-9a63-6d1a54f6a001"
LISTER = {
    "kind": "role",
    "version": "v3",
    "metadata": {"name": "lister"},
    "spec": {"allow": {"rules": [{"resources": ["session"], "verbs": ["list"]}]}},
}


@cache
def somebody(name: str, role: str) -> Tsher:
    """Somebody else who is logged in, with one role."""
    who = invited(cluster(), name, roles=role)
    who.log_in_pinned()
    return who


@cache
def lister() -> Tsher:
    """Who may list recordings, and not play them."""
    path = cluster().folder / "lister.json"
    path.write_text(json.dumps(LISTER))
    cluster().tctl("create", "-f", str(path))
    return somebody("larry", "lister")


@cache
def recorded() -> tuple[str, bytes]:
    """A session of alice's on web1: its id, and what her terminal has seen of it."""
    done = tsh_case.alice().tsh("ssh", "-t", "-t", f"{LOGIN}@web1", SAY_ID + COLOURED, code=3)
    sid = done.text.partition("id=")[2][:36]
    eventually(lambda: state(sid) == "complete", f"auth has the recording {sid}")
    return sid, done.out


def state(sid: str) -> str:
    """What auth says of a recording; nothing where it has none yet."""
    found = json.loads(cluster().tctl("recordings", "ls", "--format=json").text)
    return "".join(each["spec"]["state"] for each in found if each["metadata"]["name"] == sid)


class RecordingsTests(TshCase):
    def setUp(self) -> None:
        super().setUp()
        self.sid, self.seen = recorded()

    def refused(self, who: Tsher, *words: str) -> str:
        """What is said to somebody who may not."""
        done: Done = who.tsh(*words, code=1)
        self.assertEqual(done.out, b"")
        return done.complaint

    def test_list(self) -> None:
        """One's own, by id, as a table and for programs."""
        self.assertIn(self.sid, self.alice.tsh("recordings", "ls", "-f", "names").text.split())
        table = self.alice.tsh("recordings", "ls", "--user=alice", "--node=web1").text
        (row,) = (line for line in table.splitlines() if self.sid in line)
        self.assertEqual(row.split()[1:3], ["alice", f"{LOGIN}@web1"])
        self.assertEqual(self.alice.tsh("recordings", "ls", "--to=1d").text, "No recordings found.\n")

    def test_play(self) -> None:
        """On a terminal there is once more what there was then; elsewhere it is byte for byte that."""
        self.assertEqual(self.alice.tsh("play", self.sid).out, self.seen)
        with self.alice.on_terminal("play", "--speed=100", self.sid) as terminal:
            self.assertEqual(terminal.ended(), 0)
        before, _, played = terminal.seen.partition(CLEAR)
        self.assertIn(GREEN, played)
        self.assertIn(f"id={self.sid}".encode(), played)
        self.assertTrue(played.endswith(b"end of session playback\r\n"), played)
        self.assertIn(RESET, played)
        self.assertEqual(before, b"")

    def test_forms(self) -> None:
        self.assertEqual(self.alice.tsh("play", "-f", "text", self.sid).text, f"id={self.sid}\ngreen\n")
        lines = [json.loads(line) for line in self.alice.tsh("play", "-f", "json", self.sid).text.splitlines()]
        self.assertEqual((lines[0]["data"]["session"]["user"], lines[-1]["data"]["exit"]), ("alice", "3"))

    def test_no_id(self) -> None:
        done = self.alice.tsh("play", "../../etc/passwd.rec/x", code=1)
        self.assertEqual(done.complaint, "error: ../../etc/passwd.rec/x: No such file or directory.\n")
        done = self.alice.tsh("play", "web1", code=1)
        self.assertEqual(done.complaint, "error: 'web1' is not a valid session ID (must be GUID).\n")

    def test_T83_auditor(self) -> None:
        """Who has the role auditor sees all recordings, and it is an event that one was played."""
        audrey = somebody("audrey", "auditor")
        self.assertIn(self.sid, audrey.tsh("recordings", "ls", "-f", "names").text)
        self.assertEqual(audrey.tsh("play", self.sid).out, self.seen)
        event = self.cluster.event(
            "session.recording.access", lambda e: (e["sid"], e["user"]) == (self.sid, "audrey"), "of audrey"
        )
        self.assertEqual(event["name"], "alice")
        said = self.refused(audrey, "play", NOBODY)
        self.assertEqual(said, f"error: There is no recording of a session {NOBODY}.\n")

    def test_T83_others(self) -> None:
        """Another person neither lists nor plays it, and does not hear whether there is one."""
        bob = somebody("bob", "access")
        self.assertNotIn(self.sid, bob.tsh("recordings", "ls", "-f", "names").text)
        said = [self.refused(bob, "play", sid).partition("reference")[0] for sid in (self.sid, NOBODY)]
        self.assertTrue(said[0].startswith("error: user bob is not authorized to read session"), said)
        self.assertEqual(said[0].replace(self.sid, ""), said[1].replace(NOBODY, ""))

    def test_T83_lister(self) -> None:
        """Who may list and not play does the one, and is refused the other."""
        larry = lister()
        self.assertIn(self.sid, larry.tsh("recordings", "ls", "-f", "names").text)
        said = self.refused(larry, "play", self.sid)
        self.assertTrue(said.startswith("error: user larry is not authorized to read session"), said)
        with larry.on_terminal("play", self.sid) as terminal:
            self.assertEqual(terminal.ended(), 1)
        self.assertNotIn(b"\x1b[", terminal.seen)

    def test_file(self) -> None:
        """What was exported is verified and played where there is no cluster, and not once it was changed."""
        path = self.here / "session.rec"
        self.cluster.tctl("recordings", "export", self.sid, f"--output={path}")
        shown = json.loads(self.cluster.tctl("recordings", "show", self.sid, "--format=json").text)
        head = shown["verified"]["head"]
        (uploaded,) = (e for e in self.cluster.events("session.upload") if e["sid"] == self.sid)
        self.assertEqual((shown["spec"]["head"], uploaded["sha256"]), (head, head))
        check(run(installed("tctl"), "recordings", "verify", f"--head={head}", str(path)))
        self.assertEqual(check(run(installed("tsh"), "play", str(path))).out, self.seen)
        changed = bytearray(path.read_bytes())
        changed[-1] ^= 1
        path.write_bytes(changed)
        done = check(run(installed("tctl"), "recordings", "verify", f"--head={head}", str(path)), 1)
        self.assertIn("error: ", done.complaint)

    def test_identity_file(self) -> None:
        """A program plays with the file of ``tctl auth sign``."""
        path = self.here / "auditor"
        words = ("--user=nightly", f"--logins={LOGIN}", "--roles=auditor", "--format=file", f"--out={path}")
        self.cluster.tctl("auth", "sign", *words)
        own = (installed("tsh"), "-i", str(path), f"--proxy={self.alice.proxy}")
        self.assertIn(self.sid, check(run(*own, "recordings", "ls", "-f", "names")).text)
        self.assertEqual(check(run(*own, "play", self.sid)).out, self.seen)

    def test_remove(self) -> None:
        """What is removed is gone for all."""
        done = self.alice.tsh("ssh", "-t", "-t", f"{LOGIN}@web1", SAY_ID)
        sid = done.text.partition("id=")[2][:36]
        eventually(lambda: state(sid) == "complete", f"auth has the recording {sid}")
        self.cluster.tctl("recordings", "rm", sid)
        self.assertNotIn(sid, self.alice.tsh("recordings", "ls", "-f", "names").text)
        self.assertIn("not authorized to read session", self.refused(self.alice, "play", sid))

    def test_follow(self) -> None:
        """Who follows a session sees what is typed there, until it ends."""
        with self.alice.on_terminal("ssh", "-t", f"{LOGIN}@web1", SAY_ID + "cat") as session:
            session.read_until(b"id=")
            sid = session.read_until(b"\r\n").decode().strip()
            eventually(lambda: state(sid) == "recording", "auth has the beginning")
            done = self.alice.tsh("play", sid)
            self.assertEqual(done.complaint, "The session is still being recorded; this is what there is so far.\n")
            with self.alice.on_terminal("play", "--follow", "--speed=100", sid) as follower:
                follower.read_until(sid.encode())
                session.type("what is typed\n")
                follower.read_until(b"what is typed")
                session.type("\x04")
                self.assertEqual(session.ended(), 0)
                self.assertEqual(follower.ended(), 0)
            self.assertTrue(follower.seen.endswith(b"end of session playback\r\n"), follower.seen)
