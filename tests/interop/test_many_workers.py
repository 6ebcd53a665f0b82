"""A node and a proxy that are two workers each, and one host each to the cluster."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

from tests.interop.accounts import guest_account
from tests.interop.cluster import LOGIN, STATIC_TOKEN, Cluster, at
from tests.interop.person import Person
from tests.interop.programs import check, eventually
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, Service
from tests.interop.terminals import Terminal
from tests.interop.workers import WorkerCase, alive, supervised

CONNECTIONS = 24
LOGINS = 8


@cache
def cluster() -> Cluster:
    made = Cluster()
    made.folder.chmod(0o711)
    made.proxy.settings["teleport"]["auth_token"] = STATIC_TOKEN
    doubled(made.proxy)
    made.start()
    doubled(made.node("web1", token=STATIC_TOKEN)).start()
    made.know("web1")
    return made


def doubled(service: Service) -> Service:
    service.settings["teleport"]["workers"] = 2
    return supervised(service)


@cache
def dora() -> Person:
    return cluster().person("dora", (guest_account().pw_name, LOGIN))


class ManyCase(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        dora()
        self.login = guest_account().pw_name

    def of(self, service: Service) -> None:
        self.service = service
        eventually(lambda: len(self.workers()) == 2, f"{service.name} has two workers")
        service.says("has 2 workers.")

    def serves(self) -> None:
        """Both do, as far as that can be seen."""
        for _ in range(LOGINS):
            eventually(lambda: dora().ssh(f"{self.login}@web1", "true").code == 0, "web1 is reached")


class SharingTests(ManyCase):
    def test_one_host(self) -> None:
        """The cluster has one node and one proxy."""
        rows = [row for row in cluster().tctl("nodes", "ls").text.splitlines() if "web1" in row]
        self.assertEqual(len(rows), 1, rows)
        found = cluster().api("/v1/namespaces/default/nodes")
        self.assertEqual([at(node, "status", "state") for node in found], ["online"])

    def test_shared_connections(self) -> None:
        """Each worker has its part of the connections."""
        for service in (cluster().proxy, cluster().nodes["web1"]):
            self.of(service)
            with ExitStack() as opened:
                for _ in range(CONNECTIONS):
                    opened.enter_context(socket.create_connection((LOCALHOST, service.port)))
                eventually(lambda: self.connections().total() == CONNECTIONS, "all are accepted")
                counted = self.connections()
                self.assertEqual(len(counted), 2, counted)
                self.assertGreaterEqual(min(counted.values()), 2)

    def connections(self) -> Counter[int]:
        """Those to the service's port, by worker."""
        inodes = _accepted(self.service.port)
        return Counter(pid for pid in self.workers() for inode in _sockets(pid) if inode in inodes)

    def test_events(self) -> None:
        """Whoever of them hears of something tells it, once."""
        erin = cluster().person("erin", (self.login,))
        for _ in range(LOGINS):
            check(erin.ssh(f"{self.login}@web1", "echo hello"))
        for name in ("proxy.connect", "exec"):
            found = eventually(partial(self.told, name, "erin"), f"{name} is told")
            self.assertEqual((len(found), len(set(found))), (LOGINS, LOGINS), name)

    def told(self, name: str, user: str) -> list[object]:
        """The ids of the events of a name that are about a user, once there are as many as logins, or more."""
        found = [event["uid"] for event in cluster().events(name) if event["user"] == user]
        return found if len(found) >= LOGINS else []


class GoingOnTests(ManyCase):
    def test_hang_up(self) -> None:
        """SIGHUP exchanges both, of node and proxy; no session ends, and no connection is refused."""
        for service in (cluster().proxy, cluster().nodes["web1"]):
            self.of(service)
            self.exchange(self.workers())

    def exchange(self, old: list[int]) -> None:
        with ExitStack() as opened:
            sessions = [opened.enter_context(self.session()) for _ in range(4)]
            os.kill(self.main(), signal.SIGHUP)
            while len(set(self.workers()) - set(old)) < 2:
                check(dora().ssh(f"{self.login}@web1", "true"))
            self.serves()
            for session in sessions:
                session.type("still here\n\x04")
                session.read_until(b"still here")
                self.assertEqual(session.ended(), 0)
        eventually(lambda: not any(map(alive, old)), "the old workers end with their last clients")

    def session(self) -> Terminal:
        words = ("-F", str(dora().jump_config), "-tt", f"{self.login}@web1", "echo on; cat")
        terminal = Terminal(require("ssh", "openssh-client"), *words)
        terminal.read_until(b"on\r\n")
        return terminal

    def test_killed(self) -> None:
        """Whichever dies, the one that leads or the other, is replaced, and the host stays one."""
        for service in (cluster().proxy, cluster().nodes["web1"]):
            self.of(service)
            for pid in self.workers():
                os.kill(pid, signal.SIGKILL)
                self.replaced(pid)
        cluster().becomes("web1", "online")

    def replaced(self, pid: int) -> None:
        eventually(lambda: not alive(pid) and len(self.workers()) == 2, "another one")
        self.serves()

    def test_auth_away(self) -> None:
        """Both start without auth, each from its own copy of the cluster."""
        node = cluster().nodes["web1"]
        self.of(node)
        cluster().auth.stop()
        self.addCleanup(cluster().auth.start)
        old = self.workers()
        os.kill(self.main(), signal.SIGHUP)
        eventually(lambda: not set(old) & set(self.workers()) and len(self.workers()) == 2, "both are new")
        self.serves()


def _accepted(port: int) -> set[str]:
    """The sockets of connections to a port of this host."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if int(row[1].partition(":")[2], 16) == port and row[3] == "01"}


def _sockets(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found
