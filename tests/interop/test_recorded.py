"""Sessions with a terminal are recorded: auth has in the end what their clients saw, whatever goes down meanwhile."""

from __future__ import annotations

import os
import re
import shlex
import signal
import unittest
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from teleport_conch.audit.recording import Kind, Reading, Slice
from tests.interop.accounts import is_root
from tests.interop.case import InteropTests
from tests.interop.cluster import STATIC_TOKEN, Cluster
from tests.interop.person import Person
from tests.interop.programs import Done, check, eventually, installed
from tests.interop.requirements import require
from tests.interop.services import Service, end
from tests.interop.shared import healthy
from tests.interop.terminals import Terminal
from tests.interop.workers import WorkerCase, alive, supervised

NOT_STARTED = "The session would not be recorded, and is not started."
SAY_ID = "echo id=$SSH_SESSION_ID; "


class RecordedCase(InteropTests):
    cluster: Cluster

    def slices(self, sid: str) -> list[Slice]:
        """What auth has of a recording by now, its chain checked."""
        path = self.cluster.auth.data_dir / "log" / "records" / f"{sid}.rec"
        return list(Reading().feed(path.read_bytes())) if path.exists() else []

    def shown(self, sid: str) -> bytes:
        records = (record for each in self.slices(sid) for record in each.records)
        return b"".join(record.data for record in records if record.kind is Kind.OUTPUT)

    def end(self, sid: str) -> Mapping[str, object]:
        """What the recording's end says, once it is there."""
        eventually(lambda: [each for each in self.slices(sid) if each.last], f"the recording {sid} has an end")
        return self.slices(sid)[-1].records[-1].fields()

    def talk(self, person: Person, target: str, command: str = "cat") -> tuple[Terminal, str]:
        """Somebody at a terminal there, and the id of the session."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        ssh = require("ssh", "openssh-client")
        terminal = stack.enter_context(Terminal(ssh, "-F", str(person.jump_config), "-tt", target, SAY_ID + command))
        terminal.read_until(b"id=")
        return terminal, terminal.read_until(b"\r\n").decode().strip()

    def say(self, terminal: Terminal, text: str) -> None:
        """Types a line, and reads the echo and the answer."""
        terminal.type(f"{text}\n")
        for _ in range(2):
            terminal.read_until(f"{text}\r\n".encode())


class NodeModeTests(RecordedCase):
    """The usual mode: the node's disk takes what auth cannot take now."""

    def setUp(self) -> None:
        self.cluster = healthy()
        self.person = self.cluster.person("alice")
        self.spool = self.cluster.nodes["web1"].data_dir / "log" / "upload" / "node"

    def assert_nothing_waits(self) -> None:
        eventually(lambda: list(self.spool.iterdir()) == [], "nothing waits on the node")

    def test_equal(self) -> None:
        """The recording is complete, and byte for byte what the client saw."""
        done = check(self.person.ssh("-tt", "web1", f"{SAY_ID}stty size; seq 200000; printf '\\0\\377'; exit 3"), 3)
        sid = done.text.partition("id=")[2][:36]
        self.assertEqual(self.end(sid), {"exit": "3", "complete": True, "reason": ""})
        self.assertEqual(self.shown(sid), done.out)
        self.assertGreater(len(done.out), 1 << 20)
        self.assert_nothing_waits()
        event = self.cluster.event("session.upload", lambda event: event["sid"] == sid, "of the session")
        self.assertEqual((event["user"], event["server_id"]), ("alice", event["server_id"]))

    def test_no_terminal(self) -> None:
        """A command without a terminal is not recorded."""
        sid = check(self.person.ssh("web1", SAY_ID)).text.partition("id=")[2][:36]
        self.cluster.event("exec", lambda event: event["sid"] == sid, "of the command")
        self.assertEqual(self.slices(sid), [])

    def test_auth_away(self) -> None:
        """Auth is stopped in the middle, and comes back: the session does not notice, and nothing is lost."""
        terminal, sid = self.talk(self.person, "web1")
        self.say(terminal, "before")
        eventually(lambda: b"before" in self.shown(sid), "auth has the beginning")
        self.cluster.auth.stop()
        self.say(terminal, "meanwhile")
        eventually(lambda: len(list(self.spool.glob(f"{sid}/*"))) > 1, "slices wait on the node")
        other, other_sid = self.talk(self.person, "web1")
        self.say(other, "begun meanwhile")
        other.type("\x04")
        self.assertEqual(other.ended(), 0)
        self.cluster.auth.start()
        self.say(terminal, "afterwards")
        terminal.type("\x04")
        self.assertEqual(terminal.ended(), 0)
        self.assertTrue(self.end(sid)["complete"])
        lines = "".join(2 * f"{word}\r\n" for word in ("before", "meanwhile", "afterwards"))
        self.assertEqual(self.shown(sid).decode(), f"id={sid}\r\n{lines}")
        self.assertTrue(self.end(other_sid)["complete"])
        self.assertIn(b"begun meanwhile", self.shown(other_sid))
        self.assert_nothing_waits()

    def test_node_killed(self) -> None:
        """A node that is killed says after its restart that the end is missing, of what auth had and had not yet."""
        terminal, sid = self.talk(self.person, "web1")
        self.say(terminal, "before")
        eventually(lambda: b"before" in self.shown(sid), "auth has the beginning")
        self.cluster.auth.stop()
        self.say(terminal, "on the disk")
        eventually(lambda: len(list(self.spool.glob(f"{sid}/*"))) > 1, "slices wait on the node")
        node = self.cluster.nodes["web1"]
        node.kill()
        self.cluster.auth.start()
        node.start()
        reason = "The node ended in the middle of the session."
        self.assertEqual(self.end(sid), {"exit": None, "complete": False, "reason": reason})
        self.assertIn(b"on the disk", self.shown(sid))
        self.assert_nothing_waits()

    def test_node_stopped(self) -> None:
        """A node that is stopped leaves nothing behind but whole recordings."""
        terminal, sid = self.talk(self.person, "web1")
        self.say(terminal, "before")
        self.cluster.nodes["web1"].stop()
        self.assertTrue(self.end(sid)["complete"])
        self.assertIn(b"before", self.shown(sid))
        self.assertEqual(list(self.spool.iterdir()), [])


@cache
def sync_cluster() -> Cluster:
    """One in which auth takes everything at once."""
    cluster = Cluster(heartbeat="1s")
    cluster.auth.settings["auth_service"]["session_recording"] = "node-sync"
    return cluster.start("web1")


class NodeSyncTests(RecordedCase):
    def setUp(self) -> None:
        self.cluster = sync_cluster()
        if self.cluster.auth.process is None:
            self.cluster.auth.start()
        self.person = self.cluster.person("alice")

    def test_auth_away(self) -> None:
        """Without auth, a session ends within seconds and says why; no other begins, but a command runs."""
        terminal, sid = self.talk(self.person, "web1")
        self.say(terminal, "before")
        eventually(lambda: b"before" in self.shown(sid), "auth has the beginning")
        self.cluster.auth.stop()
        self.say(terminal, "meanwhile")
        terminal.read_until(b"The session cannot be recorded any more. The auth server did not take the recording")
        self.assertEqual(terminal.ended(), 255)
        done = self.person.ssh("-tt", "web1", "echo in")
        self.assertEqual((done.code, done.text), (255, ""))
        self.assertIn(f"{NOT_STARTED} Cannot connect to the auth server", done.complaint)
        self.assertEqual(check(self.person.ssh("web1", "echo in")).text, "in\n")
        self.cluster.auth.start()
        self.assertTrue(self.end(sid)["complete"])
        self.assertIn(b"meanwhile", self.shown(sid))
        why = self.cluster.event("session.recording.failed", lambda event: event["sid"] == sid, "of the session")
        self.assertEqual((why["code"], why["user"]), ("TJ045W", "alice"))

    def test_equal(self) -> None:
        """It is recorded as in the other mode."""
        done = check(self.person.ssh("-tt", "web1", f"{SAY_ID}seq 200000"))
        sid = done.text.partition("id=")[2][:36]
        self.assertTrue(self.end(sid)["complete"])
        self.assertEqual(self.shown(sid), done.out)


class FullDiskTests(RecordedCase):
    """A node whose disk for recordings is full."""

    def setUp(self) -> None:
        if not is_root():
            raise unittest.SkipTest("a disk of its own needs root")
        self.cluster = healthy()
        self.node = self.small(self.cluster.node("small", token=STATIC_TOKEN)).start()
        self.addCleanup(end, self.node)
        self.cluster.know("small")
        self.person = self.cluster.person("alice")

    def small(self, node: Service) -> Service:
        """The same with a ``data_dir`` of 16 MiB, which only its own processes see."""
        data = shlex.quote(str(node.data_dir))
        mount = f"mkdir -p -m 700 {data} && mount -t tmpfs -o size=16m,mode=700 tmpfs {data}"
        script = f'{mount} && exec {installed("twist")} --log-format=text {node.plugin} -c "$2"'
        node.line = f"{require('unshare', 'util-linux')} --mount /bin/sh -c {shlex.quote(script)} sh"
        return node

    def fill(self) -> None:
        """Somebody else writes until less than a twentieth is left."""
        assert self.node.process is not None
        root = Path(f"/proc/{self.node.process.pid}/root{self.node.data_dir}")
        facts = os.statvfs(root)
        with (root / "fill").open("wb") as file:
            file.write(bytes(facts.f_bavail * facts.f_frsize - (512 << 10)))

    def test_85_full_disk(self) -> None:
        """A session under way goes on with auth; a new one is refused with a sentence, and a command runs."""
        terminal, sid = self.talk(self.person, "small")
        self.say(terminal, "before")
        self.fill()
        done = self.person.ssh("-tt", "small", "echo in")
        self.assertEqual((done.code, done.text), (255, ""))
        self.assertRegex(
            done.complaint,
            rf"{re.escape(NOT_STARTED)} The disk for recordings on this node has \d+ KiB"
            r" left, and 819 KiB are kept for other things\.",
        )
        self.assertEqual(check(self.person.ssh("small", "echo in")).text, "in\n")
        self.say(terminal, "afterwards")
        terminal.type("\x04")
        self.assertEqual(terminal.ended(), 0)
        self.assertTrue(self.end(sid)["complete"])
        self.assertIn(b"afterwards", self.shown(sid))


class WorkerTests(RecordedCase, WorkerCase):
    """A node whose worker leaves its place to another, and goes on for those who are there."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster = Cluster(heartbeat="1s").start()
        self.addCleanup(self.cluster.stop)
        self.cluster.folder.chmod(0o711)
        self.service = supervised(self.cluster.node("web1", token=STATIC_TOKEN)).start()
        self.cluster.know("web1")

    def test_retired(self) -> None:
        """Both record their own sessions; nothing is left on the disk when they have ended."""
        person, old = self.cluster.person("alice", ("root",)), self.worker()
        terminal, sid = self.talk(person, "web1")
        os.kill(self.main(), signal.SIGHUP)
        eventually(lambda: self.new_worker(old), "another worker")
        others: list[Done] = []
        eventually(lambda: self.another(person, others), "it serves")
        self.say(terminal, "still here")
        terminal.type("\x04")
        self.assertEqual(terminal.ended(), 0)
        eventually(lambda: not alive(old), "the old worker ends with its last session")
        for each in (sid, others[-1].text.partition("id=")[2][:36]):
            self.assertTrue(self.end(each)["complete"])
        self.assertIn(b"still here", self.shown(sid))
        uploads = self.service.data_dir / "log" / "upload"
        eventually(lambda: [path.name for path in uploads.rglob("*")] == ["node"], "nothing waits on the node")

    def another(self, person: Person, others: list[Done]) -> bool:
        """Whether one more session could be had."""
        others.append(person.ssh("-tt", "web1", SAY_ID))
        return others[-1].code == 0
