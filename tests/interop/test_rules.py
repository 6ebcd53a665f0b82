"""Locks, roles and limits on a real cluster: what reaches a live session, and what the person reads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from attrs import define

from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.person import Person
from tests.interop.programs import check, environment, eventually

ROLE: Mapping[str, object] = {
    "kind": "role",
    "version": "v3",
    "metadata": {"name": "dev"},
    "spec": {
        "options": {"client_idle_timeout": "never"},
        "allow": {"logins": [LOGIN], "node_labels": {"env": ["test"]}},
    },
}


@define
class Session:
    """A program that runs on a node, and what its client prints."""

    client: subprocess.Popen[str]

    def ended(self) -> str:
        """What was printed on stderr, once the client has ended."""
        _, complaint = self.client.communicate(timeout=30)
        return complaint


@cache
def cluster() -> Cluster:
    """One whose nodes are for those who have the role ``dev``."""
    running = Cluster().start("web1", "web2", labels={"web1": {"env": "test"}, "web2": {"env": "test"}})
    store(running, ROLE)
    return running


@cache
def alice() -> Person:
    """Somebody who has that role."""
    return cluster().person("alice", [LOGIN], "--roles=dev")


def store(running: Cluster, role: Mapping[str, object]) -> None:
    path = running.folder / "role.json"
    path.write_text(json.dumps(role))
    check(running.tctl("create", "-f", str(path)))


class RulesTests(InteropTests):
    @property
    def cluster(self) -> Cluster:
        return cluster()

    @property
    def alice(self) -> Person:
        return alice()

    def create(self, options: Mapping[str, object] | None = None, env: str = "test") -> None:
        """The role, with these options or for nodes with this label, until the test ends."""
        allow = {"logins": [LOGIN], "node_labels": {"env": [env]}}
        store(self.cluster, {**ROLE, "spec": {"options": options or {}, "allow": allow}})
        self.addCleanup(store, self.cluster, ROLE)

    @contextmanager
    def session(self, node: str = "web1") -> Iterator[Session]:
        """One that would go on for long."""
        words = ["ssh", "-F", str(self.alice.jump_config), node, "echo ready; exec sleep 600"]
        client = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        try:
            assert client.stdout is not None
            self.assertEqual(client.stdout.readline(), "ready\n")
            yield Session(client)
        finally:
            client.kill()
            client.wait()

    def lock(self, *words: str) -> None:
        check(self.cluster.tctl("lock", *words))
        self.addCleanup(self.unlock)

    def unlock(self) -> None:
        for lock in json.loads(self.cluster.tctl("get", "lock", "--format=json").text):
            self.cluster.tctl("rm", f"lock/{lock['metadata']['name']}")
        eventually(lambda: self.alice.ssh("web1", "true").code == 0, "the login of a person who is not locked any more")

    def test_53_lock(self) -> None:
        """A lock cuts a live session, and says why; nothing opens any more."""
        with self.session() as session:
            self.lock("--user=alice", "--message=call the desk")
            complaint = session.ended()
            self.assertIn(f"to login as {LOGIN}@web1: locked by an administrator (call the desk)", complaint)
        refused = self.alice.ssh("web1", "true")
        self.assertEqual(refused.code, 255)
        self.cluster.event("client.disconnect", lambda event: "call the desk" in str(event["reason"]), "the end")

    def test_53_node(self) -> None:
        """A locked node loses its sessions, and nobody is connected to it; its neighbours do not notice."""
        with self.session("web1") as here, self.session("web2") as there:
            self.lock("--node=web1", "--message=broken into")
            self.assertIn("broken into", here.ended())
            self.assertIn("The node web1 is locked by an administrator", self.alice.ssh("web1", "true").complaint)
            self.assertEqual(self.alice.ssh("web2", "true").code, 0)
            self.assertIsNone(there.client.poll())

    def test_role(self) -> None:
        """A change of a role reaches a live session within seconds; taken back, the person is let in again."""
        with self.session() as session:
            self.create(env="prod")
            complaint = session.ended()
            self.assertIn("access to server denied", complaint)
        self.create()
        eventually(lambda: self.alice.ssh("web1", "true").code == 0, "the login that is allowed again")

    def test_idle(self) -> None:
        """A client that does nothing is cut off after the time that its role allows."""
        with self.session() as session:
            self.create({"client_idle_timeout": "1s"})
            self.assertIn("client is idle for", session.ended().replace("reported no activity", "is idle for"))

    def test_max_connections(self) -> None:
        """Connections are counted over all nodes."""
        self.create({"max_connections": 1})
        with self.session("web1"):
            refused = self.alice.ssh("web2", "true")
            self.assertEqual(refused.code, 255)
            self.assertIn("too many concurrent ssh connections for user alice: max_connections is 1", refused.complaint)
            self.cluster.event("session.rejected", lambda event: event["max"] == 1, "the refusal of the second one")
        eventually(lambda: self.alice.ssh("web2", "true").code == 0, "the login once the first connection has ended")
