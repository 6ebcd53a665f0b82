"""Machines come and go: tokens, presence, removal, and hosts that are built anew."""

from __future__ import annotations

import re

from tests.interop.case import InteropTests
from tests.interop.cluster import at
from tests.interop.programs import eventually
from tests.interop.services import STOPPED, Service, end, write_private
from tests.interop.shared import healthy


class MachineTests(InteropTests):
    """On the cluster of machines, each test with a node of its own."""

    def setUp(self) -> None:
        self.cluster = healthy()

    def node(self, name: str, *, key: str = "", token: str = "", **settings: object) -> Service:
        """A node that ends with the test."""
        node = self.cluster.node(name, key=key, token=token, settings=settings)
        self.addCleanup(end, node)
        return node

    def token(self, *flags: str) -> str:
        """The secret of a dynamic token."""
        return str(self.cluster.ask("nodes", "add", *flags)[0])

    def states(self, node: Service) -> list[object]:
        """Every state that the node has come into, in order, by the events."""
        events = self.cluster.events("node.state")
        return [event["state"] for event in events if event["node_id"] == node.host_uuid]


class JoiningTests(MachineTests):
    """A new machine."""

    def test_printed_line(self) -> None:
        """What ``tctl nodes add`` prints starts a node, which is listed and can be reached."""
        said = self.cluster.tctl("nodes", "add", "--roles=node", "--ttl=30m", "--labels=made=now").text
        found = re.search(r"^> (teleport start (?:.*\\\n)*.*)$", said, re.MULTILINE)
        assert found is not None, said
        node = self.node("printed")
        for key in ("auth_token", "auth_servers"):
            del node.settings["teleport"][key]
        node.line = found[1].replace("\\\n", " ")
        node.start()
        self.cluster.becomes(node, "online")
        listed = self.cluster.listed(node)
        self.assertEqual(at(listed, "spec", "hostname"), "printed")
        self.assertEqual(at(listed, "metadata", "labels"), {"made": "now"})
        self.assertEqual(self.cluster.person("alice").ssh("printed", "echo in").text, "in\n")

    def test_who_let_it_in(self) -> None:
        """The record keeps the id of the token, who made it, and where it was used; the secret is nowhere."""
        token = self.token()
        node = self.node("recorded", token=token).start()
        self.cluster.becomes(node, "online")
        join = at(self.cluster.listed(node), "join")
        self.assertEqual(at(join, "address"), "127.0.0.1")
        ids = [at(each, "metadata", "name") for each in self.cluster.ask("tokens", "ls")]
        self.assertIn(at(join, "token"), ids)
        for service in (node, self.cluster.auth, self.cluster.proxy):
            self.assertNotIn(token, service.log)
        self.assertNotIn(token, str(self.cluster.events("token.create", "node.join")))

    def test_bound_name(self) -> None:
        """A token that binds a name lets in nobody else."""
        token = self.token("--name=bound")
        other = self.node("other", token=token).launch()
        other.says("The token lets in a host with the name 'bound', and this one is called 'other'.")
        node = self.node("bound", token=token).start()
        self.cluster.becomes(node, "online")

    def test_rebuilt_host(self) -> None:
        """A host that lost its ``data_dir`` joins under its old name, and is the one that is reached."""
        old = self.node("db1").start()
        self.cluster.becomes(old, "online")
        person = self.cluster.person("alice")
        self.assertEqual(person.ssh("db1", "echo $SSH_TELEPORT_HOST_UUID").text.strip(), old.host_uuid)
        old.kill()
        self.cluster.becomes(old, "offline")
        new = self.node("db1", key="db1-rebuilt").start()
        self.cluster.becomes(new, "online")
        self.assertNotEqual(new.host_uuid, old.host_uuid)
        reached = person.ssh("db1", "echo $SSH_TELEPORT_HOST_UUID")
        self.assertEqual((reached.text.strip(), reached.complaint), (new.host_uuid, ""))
        self.assertEqual(self.cluster.state(old), "offline")

    def test_name_of_a_live_host(self) -> None:
        """As long as a host may be running, no other gets its name."""
        self.node("db2").start()
        impostor = self.node("db2", key="db2-impostor").launch()
        impostor.says("holds the name 'db2", "and may be running", "tctl rm node/")


class PresenceTests(MachineTests):
    """Which machines are there."""

    def test_killed_and_restarted(self) -> None:
        """A node that is killed is late, then offline; it stays listed, and is online when it comes back."""
        node = self.node("killed").start()
        self.cluster.becomes(node, "online")
        node.kill()
        self.cluster.becomes(node, "late")
        self.cluster.becomes(node, "offline")
        self.assertIsInstance(at(self.cluster.listed(node), "status", "last_seen"), float)
        node.start()
        self.cluster.becomes(node, "online")
        eventually(lambda: self.states(node) == ["offline", "online"], "there are two events of this")

    def test_stopped(self) -> None:
        """A node that stops cleanly is offline when it has."""
        node = self.node("stopped").start()
        self.cluster.becomes(node, "online")
        self.assertIn(node.stop(), STOPPED)
        self.assertEqual(self.cluster.state(node), "offline")

    def test_table(self) -> None:
        """The columns that people read."""
        node = self.node("shown").start()
        self.cluster.becomes(node, "online")
        node.stop()
        lines = self.cluster.tctl("nodes", "ls").text.splitlines()
        self.assertEqual(lines[0].split(), ["Nodename", "UUID", "Address", "Labels", "State", "Last", "seen"])
        (shown,) = (line for line in lines if line.startswith("shown "))
        self.assertRegex(shown, rf"^shown +{node.host_uuid} +127\.0\.0\.1:{node.port} +offline +\d{{4}}-.* ago\)")

    def test_unknown_after_a_restart_of_auth(self) -> None:
        """Of nodes that have not been heard of since auth started, nothing is claimed for one window."""
        node = self.node("unheard").start()
        self.cluster.becomes(node, "online")
        node.kill()
        self.cluster.auth.restart()
        self.assertEqual(self.cluster.state(node), "unknown")
        self.cluster.becomes("web1", "online")
        self.cluster.becomes(node, "offline")

    def test_command_label(self) -> None:
        """A label that is the output of a command follows it, and can be used to reach the node."""
        value = self.cluster.folder / "release"
        value.write_text("first\n")
        command = {"name": "release", "command": ["/bin/cat", str(value)], "period": "1s"}
        node = self.node("labelled", commands=[command]).start()
        self.released(node, "first")
        value.write_text("second\n")
        self.released(node, "second")

    def released(self, node: Service, release: str) -> None:
        def result() -> object:
            return at(self.cluster.listed(node), "spec", "cmd_labels", "release", "result")

        eventually(lambda: result() == release, f"the label of {node.name} is {release}")


class RemovalTests(MachineTests):
    """Machines that are sent away."""

    def removed(self, name: str) -> tuple[Service, str]:
        """A node that joined with a token which is no more, and was then removed."""
        token = self.token()
        node = self.node(name, token=token).start()
        self.cluster.becomes(node, "online")
        self.cluster.tctl("tokens", "rm", token)
        self.cluster.tctl("nodes", "rm", name)
        return node, token

    def test_barred(self) -> None:
        """A removed node is not listed, not reached, and refused, until it joins with a new token."""
        node, token = self.removed("barred")
        node.says("Auth does not know this host any more")
        node.says("the token is not valid")
        self.assertEqual(self.cluster.state(node), "")
        done = self.cluster.person("alice").ssh("-o", "HostKeyAlias=web1", "barred", "true")
        self.assertIn('no node is called "barred"', done.complaint)
        self.cluster.event("node.remove", lambda event: event["node_id"] == node.host_uuid, "of this node")
        node.stop()
        node.settings["teleport"]["auth_token"] = self.token()
        node.start()
        self.cluster.becomes(node, "online")
        self.assertNotIn(token, node.log)

    def test_all_that_are_offline(self) -> None:
        """``tctl nodes rm --offline`` removes those, and leaves the others."""
        node = self.node("gone").start()
        self.cluster.becomes(node, "online")
        node.stop()
        said = self.cluster.tctl("nodes", "rm", "--offline").text
        self.assertIn(f"node {node.host_uuid} has been deleted", said)
        self.assertEqual([self.cluster.state(node), self.cluster.state("web1")], ["", "online"])


class TokenFileTests(MachineTests):
    """Tokens that are kept in files."""

    def test_file_may_go(self) -> None:
        """A host that has joined needs its token no more, even where its file is gone."""
        path = write_private(self.cluster.folder / "token-of-one", self.token())
        node = self.node("filed", token=str(path)).start()
        self.cluster.becomes(node, "online")
        node.stop()
        path.unlink()
        node.start()
        self.cluster.becomes(node, "online")
