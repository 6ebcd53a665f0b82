"""Auth is away, or something cannot be reached: what goes on, and what is said."""

from __future__ import annotations

from contextlib import ExitStack
from subprocess import PIPE, Popen

from tests.interop.case import InteropTests
from tests.interop.cluster import at
from tests.interop.person import Person, background
from tests.interop.programs import DEADLINE_S, eventually
from tests.interop.services import LOCALHOST, end, free_port
from tests.interop.shared import healthy


class OutageTests(InteropTests):
    """The cluster of machines, without some of them."""

    def setUp(self) -> None:
        self.cluster = healthy()

    def talk(self, person: Person, target: str) -> Popen[bytes]:
        """A session that answers each line."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(background("-F", str(person.jump_config), target, "cat", stdin=PIPE))

    def assert_answers(self, session: Popen[bytes], text: bytes) -> None:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(text + b"\n")
        session.stdin.flush()
        self.assertEqual(session.stdout.readline(), text + b"\n")

    def test_sessions_survive_a_restart_of_auth(self) -> None:
        """They do not notice, and neither do new ones while auth is away."""
        person = self.cluster.person("alice")
        session = self.talk(person, "web1")
        self.assert_answers(session, b"before")
        self.cluster.auth.stop()
        self.assert_answers(session, b"while it is away")
        self.assertEqual(person.ssh("web1", "echo new").text, "new\n")
        self.cluster.auth.start()
        self.cluster.becomes("web1", "online")
        self.assert_answers(session, b"afterwards")
        self.assertEqual(person.ssh("web1", "echo newer").text, "newer\n")

    def test_everything_else_restarts_without_auth(self) -> None:
        """Node and proxy come back from their own disks, with a token in the file that is not good any more."""
        token = str(self.cluster.ask("nodes", "add")[0])
        node = self.cluster.node("lonely", token=token, labels={"alone": "yes"}).start()
        self.addCleanup(end, node)
        self.cluster.becomes(node, "online")
        self.cluster.tctl("tokens", "rm", token)
        person = self.cluster.person("alice")
        self.assertEqual(person.ssh("lonely", "echo before").text, "before\n")
        self.cluster.auth.kill()
        node.kill()
        self.cluster.proxy.kill()
        node.start()
        self.cluster.proxy.start()
        for target in ("lonely", node.host_uuid, "web1"):
            done = person.ssh(target, "echo without auth")
            self.assertEqual((done.text, done.complaint), ("without auth\n", ""))
        self.assertEqual(person.ssh("-o", "HostKeyAlias=lonely", "alone=yes", "echo in").text, "in\n")
        self.cluster.auth.start()
        self.cluster.becomes(node, "online")
        self.cluster.becomes("web1", "online")

    def test_events_wait_for_auth(self) -> None:
        """What happened while auth was away is told when it is back."""
        person = self.cluster.person("erin")
        self.cluster.auth.stop()
        person.ssh("web1", "echo event of an outage")
        self.cluster.auth.start()
        self.cluster.event("exec", lambda event: "event of an outage" in str(event["command"]), "of the outage")

    def test_address_that_cannot_be_reached(self) -> None:
        """A node that announces an address at which nobody answers: proxy, node and administrator are told."""
        nobody = free_port()
        node = self.cluster.node("astray", teleport={"advertise_ip": f"{LOCALHOST}:{nobody}"}).start()
        self.addCleanup(end, node)
        self.cluster.proxy.says(f"The node astray cannot be reached: {LOCALHOST}:{nobody} cannot be reached")
        node.says(f"The proxy cannot reach this node at {LOCALHOST}:{nobody}", "set ssh_service.public_addr or")
        self.assertTrue(at(self.cluster.listed(node), "status", "unreachable"))
        self.assertIn("astray cannot be reached by a proxy", self.cluster.tctl("nodes", "ls").text)
        self.cluster.event("node.unreachable", lambda event: event["node_id"] == node.host_uuid, "of this node")
        person = self.cluster.person("alice")
        done = person.ssh("astray", "true")
        self.assertIn(f"{LOCALHOST}:{nobody} cannot be reached", done.complaint)

    def test_nodes_that_can_be_reached_are_not_accused(self) -> None:
        """Nobody says of a node that starts as it should that it cannot be reached."""
        before = len(self.cluster.proxy.log)
        node = self.cluster.node("fine").start()
        self.addCleanup(end, node)
        self.cluster.becomes(node, "online")
        person = self.cluster.person("alice")
        eventually(lambda: person.ssh("fine", "echo in").text == "in\n", "the node is reached", DEADLINE_S)
        self.assertNotIn("cannot be reached", self.cluster.proxy.log[before:])
        self.assertNotIn("cannot reach this node", node.log)
