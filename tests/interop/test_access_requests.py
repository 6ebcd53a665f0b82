"""Roles for a while, on real processes: asked for with ``tsh``, approved with ``tctl``, used, and taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.programs import check, eventually, installed, run
from tests.interop.terminals import Terminal
from tests.interop.tsh import Tsher, invited

STRICT = {"request_access": "reason", "request_prompt": "Which ticket?"}
INTERRUPT = "\x03"


@cache
def cluster() -> Cluster:
    """One whose node is for those who have the role ``dba``, for which ``dev`` may ask."""
    running = Cluster(heartbeat="5s").without_second_factor().start("web1", labels={"web1": {"env": "prod"}})
    store(running, "dba", {"max_session_ttl": "1h"}, {"logins": [LOGIN], "node_labels": {"env": "prod"}})
    store(running, "dev", {}, {"request": {"roles": ["dba"]}})
    store(running, "strict", STRICT, {"request": {"roles": ["dba"]}})
    return running


@cache
def alice() -> Tsher:
    return invited(cluster(), "alice", roles="dev")


def store(running: Cluster, name: str, options: Mapping[str, object], allow: Mapping[str, object]) -> None:
    spec = {"options": options, "allow": allow}
    path = running.folder / f"{name}.json"
    path.write_text(json.dumps({"kind": "role", "version": "v3", "metadata": {"name": name}, "spec": spec}))
    check(running.tctl("create", str(path)))


class AccessRequestTests(InteropTests):
    def setUp(self) -> None:
        self.cluster, self.alice = cluster(), alice()
        self.alice.tsh("logout")
        self.alice.log_in_pinned()

    @contextmanager
    def asking(self, *words: str) -> Iterator[tuple[Terminal, str]]:
        """A ``tsh login`` that waits, and the id of what it waits for."""
        with self.alice.on_terminal("login", "--request-roles=dba", *words) as terminal:
            said = terminal.read_until(b")\r\n").decode()
            found = re.search(r"Seeking request approval\.\.\. \(id: ([0-9a-f-]{36})\)", said)
            assert found is not None, said
            yield terminal, found[1]

    def lent(self) -> str:
        """The id of a request that was approved, and whose role alice has."""
        with self.asking("--request-reason=ticket 17") as (terminal, request_id):
            self.assertIn('request="ticket 17"', self.cluster.tctl("requests", "ls").text)
            self.cluster.tctl("requests", "approve", request_id, "--reason=go ahead")
            self.assertEqual(terminal.ended(), 0)
            said = terminal.seen.decode()
        self.assertIn('Approval received, getting updated certificates... reason="go ahead"', said)
        self.assertRegex(said, f"Requests: +{request_id}")
        return request_id

    def ssh(self, *words: str, code: int = 0) -> str:
        done = self.alice.tsh("ssh", f"{LOGIN}@web1", *words, code=code)
        return done.text + done.complaint

    def reached(self) -> bool:
        """Whether the node lets alice in."""
        words = ("ssh", f"{LOGIN}@web1", "true")
        return run(installed("tsh"), *words, env=self.alice.environment()).code == 0

    def test_approved_and_removed(self) -> None:
        """The node lets in who has the role by a request, cuts them off when it is removed, and refuses them then."""
        self.ssh("true", code=255)
        request_id = self.lent()
        self.assertIn("hello", self.ssh("echo", "hello"))
        why = ("why", f"--cert={self.alice.certificate}", f"{LOGIN}@web1")
        self.assertIn(f"role dba (access request {request_id}): allows it", self.cluster.tctl(*why).text)
        with self.alice.on_terminal("ssh", f"{LOGIN}@web1", "echo ready; exec sleep 600") as session:
            session.read_until(b"ready")
            self.cluster.tctl("requests", "rm", request_id)
            session.read_until(b"access to server denied")
            self.assertEqual(session.ended(), 255)
        self.assertIn("denied", self.ssh("true", code=255))
        said = f'request: access-request "{request_id}" is not there: it was removed, or is over'
        self.assertIn(said, self.cluster.tctl(*why).text)
        events = self.cluster.events("access_request.create", "access_request.update", "access_request.delete")
        mine = [(event["event"], event["state"]) for event in events if event["id"] == request_id]
        self.assertEqual(
            mine,
            [
                ("access_request.create", "PENDING"),
                ("access_request.update", "APPROVED"),
                ("access_request.delete", "APPROVED"),
            ],
        )

    def test_denied(self) -> None:
        """The reason is read, the exit code is 1, and who was logged in stays so, without the role."""
        with self.asking() as (terminal, request_id):
            self.cluster.tctl("requests", "deny", request_id, "--reason=not today")
            self.assertEqual(terminal.ended(), 1)
            self.assertIn(f'request {request_id} has been set to DENIED, reason="not today"', terminal.seen.decode())
        self.assertRegex(self.alice.tsh("status").text, "Roles: +dev\n")

    def test_interrupted(self) -> None:
        """Ctrl-C ends the waiting."""
        with self.asking() as (terminal, _):
            terminal.type(INTERRUPT)
            self.assertEqual(terminal.ended(), 1)
            self.assertIn("Interrupted.", terminal.seen.decode())

    def test_not_askable(self) -> None:
        done = self.alice.tsh("login", "--request-roles=admin", code=1)
        self.assertIn("error: The user alice may not ask for the role admin.", done.complaint)

    def test_auth_restarts(self) -> None:
        """Who waits goes on waiting while auth is away for a moment, and what is lent is so after it as well."""
        with self.asking() as (terminal, request_id):
            self.cluster.auth.stop()
            self.cluster.auth.start()
            self.cluster.tctl("requests", "approve", request_id)
            self.assertEqual(terminal.ended(), 0)
        eventually(self.reached, "the node follows auth again, and lets her in")

    def test_reason(self) -> None:
        """Where roles want a reason, nobody stays logged in without one; with one, everything is asked for."""
        bob = invited(self.cluster, "bob", roles="strict")
        words = ("login", f"--proxy={bob.proxy}", "--user=bob", f"--ca-pin={self.cluster.pin()}")
        with bob.on_terminal(*words) as terminal:
            bob.answer(terminal)
            self.assertEqual(terminal.ended(), 1)
            self.assertIn("error: Which ticket? Your roles want a reason at each login.", terminal.seen.decode())
        bob.tsh("status", code=1)
        with bob.on_terminal(*words, "--request-reason=17") as terminal:
            bob.answer(terminal)
            terminal.read_until(b"Seeking request approval...")
            [request] = [each for each in self.cluster.ask("requests", "ls") if each["spec"]["user"] == "bob"]  # type: ignore[index]
            self.assertEqual(request["spec"]["roles"], ["dba"])  # type: ignore[index]
            self.cluster.tctl("requests", "approve", str(request["metadata"]["name"]))  # type: ignore[index]
            self.assertEqual(terminal.ended(), 0)
        self.assertRegex(bob.tsh("status").text, "Roles: +dba, strict\n")
