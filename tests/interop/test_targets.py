"""What a person may call a node at the proxy, and what they hear when no node, or more than one, is called so."""

from __future__ import annotations

from tests.interop.case import InteropTests
from tests.interop.cluster import CLUSTER_NAME, LOGIN
from tests.interop.programs import Done, check, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, free_port
from tests.interop.shared import alice, quiet_cluster


class JumpTests(InteropTests):
    """By ProxyJump."""

    def ssh(self, target: str, *options: str) -> Done:
        return alice().ssh(*options, target, "echo $SSH_TELEPORT_HOST_UUID", config=alice().jump_config)

    def assert_reached(self, target: str, *options: str, node: str = "web1") -> None:
        done = check(self.ssh(target, *options))
        self.assertEqual(done.text.strip(), quiet_cluster().nodes[node].host_uuid)

    def assert_refused(self, target: str, *sentences: str) -> None:
        done = self.ssh(target, "-o", "HostKeyAlias=web1")
        self.assertNotEqual(done.code, 0)
        for sentence in sentences:
            self.assertIn(sentence, done.complaint)

    def test_nodename(self) -> None:
        self.assert_reached("web1")
        self.assert_reached("web2", node="web2")

    def test_nodename_as_people_write_it(self) -> None:
        """Upper case, the cluster's suffix, and a dot at the end are all the same to the proxy."""
        self.assert_reached("WEB1")
        self.assert_reached(f"web1.{CLUSTER_NAME}")
        self.assert_reached(f"Web1.{CLUSTER_NAME.upper()}")
        self.assert_reached("web1.", "-o", "HostKeyAlias=web1")

    def test_uuid(self) -> None:
        self.assert_reached(quiet_cluster().nodes["web2"].host_uuid, node="web2")

    def test_address(self) -> None:
        """With the port that the node announces."""
        self.assert_reached(LOCALHOST, "-p", str(quiet_cluster().nodes["web2"].port), node="web2")

    def test_label(self) -> None:
        """A label of one node only means that node; its host key is that of its name."""
        self.assert_reached("env=prod", "-o", "HostKeyAlias=web1")
        self.assert_reached("env=test", "-o", "HostKeyAlias=web2", node="web2")

    def test_ambiguous(self) -> None:
        """A label of several nodes means none; they are listed."""
        uuids = [quiet_cluster().nodes[name].host_uuid for name in ("web1", "web2")]
        self.assert_refused("tier=web", '"tier=web" may be any of these', *uuids)

    def test_unknown(self) -> None:
        """A name that no node has; those that are much like it are listed."""
        uuids = [quiet_cluster().nodes[name].host_uuid for name in ("web1", "web2")]
        self.assert_refused("web3", 'no node is called "web3"', "Similar: web1", *uuids)

    def test_unknown_address(self) -> None:
        """A port where something listens is no target if no node is registered there."""
        auth = str(quiet_cluster().auth_port)
        done = alice().ssh("-p", auth, LOCALHOST, "true", config=alice().jump_config)
        self.assertNotEqual(done.code, 0)
        self.assertIn(f'no node is called "{LOCALHOST}" with port {auth}', done.complaint)


class SubsystemTests(JumpTests):
    """By ProxyCommand, where the cluster may be named, too."""

    def ssh(self, target: str, *options: str) -> Done:
        return alice().ssh(*options, target, "echo $SSH_TELEPORT_HOST_UUID", config=alice().command_config)

    def subsystem(self, name: str) -> Done:
        """``ssh`` to web1, with this subsystem of the proxy on the way."""
        ssh = require("ssh", "openssh-client")
        command = f"ProxyCommand={ssh} -F {alice().config} -s proxy {name}"
        return run(ssh, "-F", str(alice().config), "-o", command, f"{LOGIN}@web1", "echo in")

    def test_cluster(self) -> None:
        self.assertEqual(self.subsystem(f"proxy:web1:0@{CLUSTER_NAME}").text, "in\n")
        self.assertEqual(self.subsystem(f"proxy:web1:22@default@{CLUSTER_NAME}").text, "in\n")
        self.assertEqual(self.subsystem("proxy:web1").text, "in\n")

    def test_unknown_cluster(self) -> None:
        done = self.subsystem("proxy:web1:0@elsewhere.example")
        self.assertNotEqual(done.code, 0)
        self.assertIn('unknown cluster "elsewhere.example"', done.complaint)

    def test_malformed(self) -> None:
        """What is no target is refused with the form that is due."""
        for name in ("proxy:", "proxy:web1:port", "proxy:web1:99999", "proxysites"):
            done = self.subsystem(name)
            self.assertNotEqual(done.code, 0, name)
        self.assertIn("expected 'proxy:host:port@cluster'", self.subsystem("proxy:web1:port").complaint)


class HostKeyTests(InteropTests):
    """``StrictHostKeyChecking=yes`` with the exported lines."""

    def test_never_asks(self) -> None:
        """No question, no warning, and nothing is added to ``known_hosts``."""
        before = alice().known_hosts.read_text()
        for target in ("web1", "web2", f"web1.{CLUSTER_NAME}", quiet_cluster().nodes["web1"].host_uuid):
            self.assertEqual(alice().ssh(target, "true").complaint, "")
        self.assertEqual(alice().known_hosts.read_text(), before)

    def test_without_the_line(self) -> None:
        """The same hosts are not believed by who does not have the line."""
        done = alice().ssh("-o", "UserKnownHostsFile=/dev/null", "web1", "true")
        self.assertNotEqual(done.code, 0)
        self.assertIn("Host key verification failed", done.complaint)

    def test_direct(self) -> None:
        """A node may be reached past the proxy, too, unless it says otherwise."""
        node = quiet_cluster().nodes["web1"]
        done = alice().ssh("-p", str(node.port), LOCALHOST, "echo in", config=alice().config)
        self.assertEqual((done.text, done.complaint), ("in\n", ""))

    def test_other_port(self) -> None:
        """A port that nobody announced is no target."""
        self.assertNotEqual(alice().ssh("-p", str(free_port()), "web1", "true").code, 0)
