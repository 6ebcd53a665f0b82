"""What the programs of sessions do, from the kernel of a node to the log of auth."""

from __future__ import annotations

import socket
import unittest
from functools import cache

from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.tracer import Sizes, check
from tests.interop.accounts import guest_account, is_root
from tests.interop.case import InteropTests
from tests.interop.cluster import JSON, LOGIN, STATIC_TOKEN, Cluster
from tests.interop.person import Person
from tests.interop.programs import installed
from tests.interop.requirements import require
from tests.interop.terminals import Terminal
from tests.interop.workers import supervised

NAMES = ("session.command", "session.disk", "session.network", "session.unseen")
ROLE = """\
kind: role
version: v3
metadata: {{name: {name}}}
spec:
  options: {{enhanced_recording: {kinds}}}
  allow:
    logins: ['*']
    node_labels: {{'*': '*'}}
"""
ROLES = {"everything": "[command, disk, network]", "commands": "[command]", "nothing": "[]"}


@cache
def cluster() -> Cluster:
    """One with a node that records as its own account starts it, one whose worker has another account, and one that
    does not record.
    """
    made = Cluster(heartbeat="1s")
    recording = {"enhanced_recording": {"enabled": True}}
    made.node("alone", settings=recording, token=STATIC_TOKEN)
    made.node("apart", settings=recording, token=STATIC_TOKEN)
    made.node("blind")
    made.folder.chmod(0o711)
    supervised(made.nodes["apart"])
    for service in (made.auth, made.proxy, *made.nodes.values()):
        service.start()
    made.know(*made.nodes)
    for name, kinds in ROLES.items():
        file = made.folder / f"{name}.yaml"
        file.write_text(ROLE.format(name=name, kinds=kinds).replace("['*']", f"[{LOGIN}, {guest_account().pw_name}]"))
        made.tctl("create", "-f", str(file))
    return made


@cache
def person(role: str) -> Person:
    """Somebody who has this role alone."""
    return cluster().person(role, (LOGIN, guest_account().pw_name), f"--roles={role}")


class TracingTests(InteropTests):
    def setUp(self) -> None:
        if not is_root():
            raise unittest.SkipTest("only root can have the kernel record")
        try:
            check(Sizes())
        except Untraceable as reason:
            raise unittest.SkipTest(str(reason)) from None
        self.cluster = cluster()
        self.login = guest_account().pw_name

    def after(self, node: str, role: str, command: str) -> list[JSON]:
        """The events of a session with one command, once its end is in the log, which comes after them."""
        who = person(role)
        sid = who.ssh(f"{self.login}@{node}", f"echo $SSH_SESSION_ID; {command}").text.split()[0]
        return self.of(sid)

    def of(self, sid: str) -> list[JSON]:
        end = self.cluster.event("session.end", lambda event: event["sid"] == sid, f"of {sid}")
        self.ended_recorded = end["enhanced_recording"]
        return [event for event in self.cluster.events(*NAMES) if event["sid"] == sid]

    def test_everything(self) -> None:
        """A role with all three kinds: programs that run and do not, files, and connections, of whoever the user is."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            command = f"cat /etc/hostname; /no/such; bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"
            for node in ("alone", "apart"):
                found = self.after(node, "everything", command)
                facts = {(event["user"], event["login"], event["server_hostname"]) for event in found}
                self.assertEqual(facts, {("everything", self.login, node)})
                self.assertEqual({event["event"] for event in found}, set(NAMES) - {"session.unseen"})
                commands = [event for event in found if event["event"] == "session.command"]
                told = [(event["program"], event["argv"], event["return_code"]) for event in commands]
                self.assertIn(("cat", ["cat", "/etc/hostname"], 0), told)
                self.assertIn(-2, [event["return_code"] for event in commands if event["path"] == "/no/such"])
                files = {event["path"]: event for event in found if event["event"] == "session.disk"}
                self.assertEqual((files["/etc/hostname"]["flags"], files["/etc/hostname"]["program"]), ("read", "cat"))
                (connection,) = [event for event in found if event["event"] == "session.network"]
                self.assertEqual((connection["dst_addr"], connection["dst_port"]), ("127.0.0.1", port))
                self.assertIs(self.ended_recorded, True)

    def test_terminal(self) -> None:
        """A shell on a terminal."""
        who = person("everything")
        with Terminal("ssh", "-F", str(who.jump_config), "-tt", f"{self.login}@apart") as terminal:
            terminal.type("echo id=$SSH_SESSION_ID=; (/bin/true); exit\n")
            self.assertEqual(terminal.ended(), 0)
            sid = terminal.seen.split(b"id=")[-1].split(b"=")[0].decode()
        paths = [event["path"] for event in self.of(sid) if event["event"] == "session.command"]
        self.assertEqual(paths[0], "/bin/bash")
        self.assertIn("/bin/true", paths)

    def test_one_kind(self) -> None:
        """Others are not recorded."""
        found = self.after("apart", "commands", "cat /etc/hostname")
        self.assertEqual({event["event"] for event in found}, {"session.command"})
        self.assertIs(self.ended_recorded, True)

    def test_nothing(self) -> None:
        """A role that asks for nothing leaves nothing."""
        self.assertEqual(self.after("apart", "nothing", "cat /etc/hostname"), [])
        self.assertIs(self.ended_recorded, False)

    def test_off(self) -> None:
        """A node that does not record ignores what roles ask for, as Teleport's do."""
        self.assertEqual(self.after("blind", "everything", "cat /etc/hostname"), [])
        self.assertIs(self.ended_recorded, False)

    def test_unable(self) -> None:
        """A node that cannot record, as in a container that numbers its processes for itself, says so and ends."""
        require("unshare", "util-linux")
        node = self.cluster.node("unable", settings={"enhanced_recording": {"enabled": True}})
        self.addCleanup(self.cluster.nodes.pop, "unable")
        node.line = f"unshare --fork --pid --mount-proc {installed('twist')} --log-format=text teleport-node"
        node.launch()
        self.assertNotEqual(node.ended(), 0)
        self.assertIn(
            "ssh_service.enhanced_recording cannot be enabled here."
            " Sessions cannot be traced from a container that numbers its processes for itself.",
            node.log,
        )
