"""Everything again while keys are exchanged all the time: sixteen times behind the login, and then every 256 KiB.

Each test makes sure that keys were exchanged during it, on the node.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.interop import test_ansible, test_clients, test_copying, test_forwarding, test_openssh, test_windows
from tests.interop.case import InteropTests
from tests.interop.cluster import Cluster
from tests.interop.eager import MARK
from tests.interop.person import Person
from tests.interop.programs import eventually
from tests.interop.services import Service
from tests.interop.shared import alice, eager_alice, eager_cluster

MEGABYTES = 200 if os.environ.get("TELEPORT_CONCH_LONG") == "1" else 10


def exchanges() -> int:
    """How often the node has exchanged keys anew so far."""
    return eager_cluster().nodes["web1"].log.count(MARK.partition("{")[0])


class Eager:
    """Mixed into tests: who connects, and the count of exchanges."""

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]  # of the tests that it is mixed into
        self.before = exchanges()

    def tearDown(self) -> None:
        super().tearDown()  # type: ignore[misc]
        eventually(lambda: exchanges() > self.before, "keys were exchanged during the test")

    def person(self) -> Person:
        return eager_alice()

    def config(self) -> Path:
        return eager_alice().jump_config

    def cluster(self) -> Cluster:
        return eager_cluster()

    def node(self) -> Service:
        return eager_cluster().nodes["web1"]


class SessionTests(Eager, test_openssh.JumpTests):
    """Commands, terminals, and bytes in either direction and in both."""

    size = 2_000_000

    def test_no_shell_on_the_proxy(self) -> None:
        """Is not about the node."""
        self.before = -1


class CopyTests(Eager, test_copying.JumpTests):
    """scp in both protocols, sftp, rsync, git."""

    big_bytes = 1_000_000


class PortTests(Eager, test_forwarding.PortTests):
    """``-L``, ``-D`` and ``-W``."""


class RemotePortTests(Eager, test_forwarding.RemotePortTests):
    """``-R``, and sockets."""


class AgentTests(Eager, test_forwarding.AgentTests):
    """``-A``."""


class WindowTests(Eager, test_windows.WindowTests):
    """``-X`` and ``-Y``."""


class SharedConnectionTests(Eager, test_forwarding.ManyTests):
    """A ControlMaster, and many connections at once."""

    many = 10


class AnsibleTests(Eager, test_ansible.WaysTests):
    """Ansible, which compresses, too."""


class ParamikoTests(Eager, test_clients.ParamikoTests):
    """Paramiko."""

    def test_unknown_node(self) -> None:
        """Is not about the node."""
        self.before = -1


class AsyncSSHTests(Eager, test_clients.AsyncSSHTests):
    """AsyncSSH."""

    def test_unknown_node(self) -> None:
        """Is not about the node."""
        self.before = -1


class MegabyteTests(InteropTests):
    """``RekeyLimit 1M``, as somebody might have it."""

    def test_both_ways(self) -> None:
        """Much goes there and back at once through the proxy, and is the same."""
        data = os.urandom(1 << 20) * MEGABYTES
        done = alice().ssh("-o", "RekeyLimit=1M", "web1", "cat", stdin=data, timeout_s=600)
        self.assertEqual((done.out == data, done.code, done.complaint), (True, 0, ""))


class SmallestTests(InteropTests):
    """The least that OpenSSH's ``RekeyLimit`` may be: 16 bytes, which is an exchange around every packet or two."""

    def test_command(self) -> None:
        done = alice().ssh("-o", "RekeyLimit=16", "web1", "echo out; exit 3")
        self.assertEqual((done.text, done.code), ("out\n", 3), done)

    def test_both_ways(self) -> None:
        data = os.urandom(1_000_000)
        done = alice().ssh("-o", "RekeyLimit=16", "web1", "cat", stdin=data)
        self.assertEqual((done.out == data, done.code), (True, 0), done.complaint)
