"""Machines that are not let in: each hears why, and nobody hears the token."""

from __future__ import annotations

import uuid
from pathlib import Path

from tests.interop.case import InteropTests
from tests.interop.clocks import clock_off_by
from tests.interop.cluster import Cluster, at
from tests.interop.programs import check, environment, installed, run
from tests.interop.services import Service, end, write_private
from tests.interop.shared import healthy

HOUR = 3600.0
DAY = 24 * HOUR


class RefusedTests(InteropTests):
    """What the log of a node says that auth does not let in."""

    def setUp(self) -> None:
        self.cluster = healthy()

    def node(self, name: str, token: str, **teleport: object) -> Service:
        """A node that tries to join, and ends with the test."""
        node = self.cluster.node(name, token=token, teleport=teleport)
        self.addCleanup(end, node)
        return node.launch()

    def assert_refused(self, node: Service, token: str, *parts: str) -> None:
        """The node says why; the event does, too; the token is nowhere but where the user put it."""
        node.says("This host (Node) cannot join yet", *parts)
        self.assertEqual(self.cluster.state(node), "")
        event = self.cluster.event("node.join", lambda each: each["node_id"] == node.host_uuid, f"of {node.name}")
        self.assertEqual(event["code"], "TJ000W")
        self.assertIn(parts[0], str(event["error"]))
        self.assert_secret(node, token)

    def assert_secret(self, node: Service, token: str) -> None:
        for service in (node, self.cluster.auth, self.cluster.proxy):
            self.assertNotIn(token, service.log)
        self.assertNotIn(token, str(self.cluster.events("node.join", "token.create", "token.delete")))
        self.assertEqual([path for path in files_below(self.cluster.auth.data_dir) if holds(path, token)], [])
        self.assertEqual([path for path in files_below(node.data_dir) if holds(path, token)], [])
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            self.assertFalse(holds(line, token), line)

    def test_unknown_token(self) -> None:
        token = "nobody-has-made-this-token"
        node = self.node("unknown-token", token)
        self.assert_refused(node, token, "can not join the cluster with role Node, the token is not valid")

    def test_removed_token(self) -> None:
        """A token that was taken back is like one that never was."""
        token = str(self.cluster.ask("nodes", "add")[0])
        self.cluster.tctl("tokens", "rm", token)
        node = self.node("removed-token", token)
        self.assert_refused(node, token, "can not join the cluster with role Node, the token is not valid")

    def test_wrong_role(self) -> None:
        """A token for proxies lets no node in."""
        token = str(self.cluster.ask("tokens", "add", "--type=proxy")[0])
        node = self.node("wrong-role", token)
        self.assert_refused(node, token, 'the token does not allow "Node" role')

    def test_wrong_kind(self) -> None:
        """Something else that looks like a secret, such as the pin."""
        pin = self.cluster.pin()
        node = self.node("wrong-kind", pin)
        node.says("This host (Node) cannot join yet", "CA pin")
        self.assertEqual(self.cluster.state(node), "")

    def test_wrong_pin(self) -> None:
        """The server is not the one that was meant, and does not get to see the token."""
        token = str(self.cluster.ask("nodes", "add")[0])
        node = self.node("wrong-pin", token, ca_pin="sha256:" + "0" * 64)
        node.says("This host (Node) cannot join yet", "pin")
        self.assertEqual(self.cluster.state(node), "")
        joins = [each for each in self.cluster.events("node.join") if each["node_id"] == node.host_uuid]
        self.assertEqual(joins, [])
        self.assert_secret(node, token)

    def test_right_pin(self) -> None:
        """With the pin of ``tctl status`` it joins, and there is no warning."""
        node = self.node("right-pin", "", ca_pin=self.cluster.pin()).ready()
        self.cluster.becomes(node, "online")
        self.assertNotIn("Joining without a CA pin", node.log)

    def test_no_token(self) -> None:
        node = self.cluster.node("no-token")
        self.addCleanup(end, node)
        del node.settings["teleport"]["auth_token"]
        node.launch().says("There is no join token.", "tctl nodes add")

    def test_name_of_auth(self) -> None:
        """No host is called by the name under which auth is verified."""
        self.node("teleport.cluster.local", "").says("is reserved for the auth servers of the cluster")

    def test_token_file_that_others_can_read(self) -> None:
        path = write_private(self.cluster.folder / "open.token", "a-token-for-everybody")
        path.chmod(0o644)
        node = self.cluster.node("open-token", token=str(path)).launch()
        self.addCleanup(end, node)
        node.says(str(path), "chmod")
        self.assertNotIn("a-token-for-everybody", node.log)


class ClockTests(InteropTests):
    """Clocks that differ, and time that passes."""

    def test_node_behind(self) -> None:
        """A node whose clock is a day behind says so, with the seconds."""
        self.assert_says_skew(-DAY, "86400 s behind the auth server's")

    def test_node_ahead(self) -> None:
        """Ahead, certificates look as if they had expired."""
        self.assert_says_skew(100 * DAY, "8640000 s ahead of the auth server's")

    def assert_says_skew(self, seconds: float, sentence: str) -> None:
        cluster = healthy()
        node = cluster.node("skewed", key=f"skewed-{uuid.uuid4()}")
        node.env = clock_off_by(seconds)
        self.addCleanup(end, node)
        node.launch().says("The clock of this machine is", sentence)

    def test_expired_token(self) -> None:
        """A token of two hours ago, that was good for one minute."""
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        cluster.auth.env = clock_off_by(-2 * HOUR)
        cluster.auth.start()
        words = (installed("tctl"), "-c", str(cluster.auth.config), "nodes", "add", "--ttl=1m", "--format=json")
        token = check(run(*words, env=environment(**cluster.auth.env))).text.strip('[]" \n')
        cluster.auth.stop()
        cluster.auth.env = {}
        cluster.auth.start()
        node = cluster.node("latecomer", token=token).launch()
        node.says("This host (Node) cannot join yet", "expired")
        event = cluster.event("node.join", lambda each: each["node_id"] == node.host_uuid, "of the latecomer")
        self.assertEqual(at(event, "error_code"), "TOKEN_EXPIRED")
        self.assertNotIn(token, node.log + cluster.auth.log)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def holds(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:  # a process that has ended
        return False
