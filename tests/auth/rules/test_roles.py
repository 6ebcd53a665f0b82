"""Stored roles: written through the API, in force at once, and refused whole where anything in them is wrong."""

from __future__ import annotations

from attrs import evolve
from twisted.logger import capturedLogs

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import Rule
from teleport_conch.auth.state.storing import encode
from teleport_conch.errors import AccessDenied, StorageCorrupt
from teleport_conch.resources.session import ActiveSession
from tests.auth.fixture import SSH_KEY, WEB1, ClusterTestCase

DEV = Role("dev", allow=Conditions(rules=(Rule(("event",), ("list",)),)))
PATH = "/v1/roles/dev"


class RoleRouteTests(ClusterTestCase):
    def test_created(self) -> None:
        """A role is kept, listed beside the built-in ones, and answered with its revision; an event says who did it."""
        answer = self.call(self.admin(), "POST", "/v1/roles", DEV.to_json())
        self.assertEqual(answer.status, 200)
        read = self.call(self.admin(), "GET", PATH)
        self.assertEqual(read.body, answer.body)
        self.assertEqual(read.body["metadata"]["id"], str(self.backend.revision()))  # type: ignore[index]
        listed = [Role.from_json(item) for item in self.call(self.admin(), "GET", "/v1/roles").items]
        self.assertEqual([role.name for role in listed], ["admin", "access", "auditor", "robot", "dev"])
        self.assertEqual(listed[-1], DEV)
        [event] = self.emitted.named("role.created")
        self.assertEqual(event.fields, {"name": "dev", "user": "tctl on the auth host"})

    def test_created_twice(self) -> None:
        """A second role of the same name is refused."""
        self.call(self.admin(), "POST", "/v1/roles", DEV.to_json())
        answer = self.call(self.admin(), "POST", "/v1/roles", DEV.to_json())
        self.assertEqual((answer.status, answer.sentence), (409, "The role 'dev' exists already."))

    def test_replaced(self) -> None:
        """The newest revision may be replaced; one that was changed meanwhile may not, and stays as it is."""
        first = self.call(self.admin(), "POST", "/v1/roles", DEV.to_json()).body
        changed = {**first, "spec": {"allow": {"logins": ["root"]}}}
        self.assertEqual(self.call(self.admin(), "PUT", PATH, changed).status, 200)
        again = self.call(self.admin(), "PUT", PATH, first)
        self.assertEqual((again.status, again.code), (412, "COMPARE_FAILED"))
        self.assertIn("The role 'dev' was changed meanwhile.", again.sentence)
        self.assertEqual(self.cluster.roles["dev"].allow.logins, ("root",))
        self.assertEqual(len(self.emitted.named("role.updated")), 1)

    def test_replaced_whatever_it_is(self) -> None:
        """Without a revision, whatever there is is replaced."""
        self.call(self.admin(), "POST", "/v1/roles", DEV.to_json())
        self.assertEqual(self.call(self.admin(), "PUT", PATH, DEV.to_json()).status, 200)

    def test_replaced_nothing(self) -> None:
        """There has to be one to replace, of the name in the path, and the revision is a number."""
        answer = self.call(self.admin(), "PUT", PATH, DEV.to_json())
        self.assertEqual((answer.status, answer.sentence), (404, "There is no role 'dev'."))
        answer = self.call(self.admin(), "PUT", "/v1/roles/ops", DEV.to_json())
        self.assertEqual(answer.sentence, "The role is called 'dev' in the body, and 'ops' in the path.")
        odd = {**DEV.to_json(), "metadata": {"name": "dev", "id": "newest"}}
        answer = self.call(self.admin(), "PUT", PATH, odd)
        self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))
        self.assertIn("metadata.id is the revision that the change is based on", answer.sentence)

    def test_removed(self) -> None:
        """A role is removed, where a revision is given only at that revision."""
        first = self.call(self.admin(), "POST", "/v1/roles", DEV.to_json()).body["metadata"]
        self.call(self.admin(), "PUT", PATH, DEV.to_json())
        self.assertEqual(self.call(self.admin(), "DELETE", f"{PATH}?id={first['id']}").status, 412)  # type: ignore[index]
        self.assertEqual(self.call(self.admin(), "DELETE", PATH).status, 200)
        self.assertEqual(self.call(self.admin(), "DELETE", PATH).status, 404)
        self.assertEqual(len(self.emitted.named("role.deleted")), 1)

    def test_built_in(self) -> None:
        """What every cluster has is neither made, changed nor removed."""
        role = Role("access").to_json()
        for method, path in (("POST", "/v1/roles"), ("PUT", "/v1/roles/access"), ("DELETE", "/v1/roles/access")):
            answer = self.call(self.admin(), method, path, role)
            self.assertEqual(answer.status, 400)
            self.assertIn("The role access is built in, and can be neither changed nor removed.", answer.sentence)

    def test_mistakes(self) -> None:
        """A role with a mistake in it changes nothing, and the sentence names the place."""
        self.call(self.admin(), "POST", "/v1/roles", DEV.to_json())
        for spec, place in (
            ({"alow": {}}, "alow"),
            ({"allow": {"logins": ["*"]}}, "login"),
            ({"deny": {"rules": [{"resources": ["node"], "verbs": ["look"]}]}}, "look"),
            ({"options": {"max_sessions": -1}}, "max_sessions"),
        ):
            wrong = {**DEV.to_json(), "spec": spec}
            answer = self.call(self.admin(), "PUT", PATH, wrong)
            self.assertEqual(answer.status, 400, answer.body)
            self.assertIn(place, answer.sentence)
        self.assertEqual(self.cluster.roles["dev"], DEV)

    def test_kinds(self) -> None:
        """A rule about what does not exist is refused: a denial that denies nothing looks like one that does."""
        for part, kind, said in (
            ("deny", "evnt", "'evnt' is no kind; did you mean event?"),
            ("allow", "usr", "'usr' is no kind; did you mean user?"),
            ("allow", "\x1b[2J", "'\\x1b[2J' is no kind; 'tctl get role/admin' shows most of them."),
        ):
            rules = [{"resources": ["node"], "verbs": ["list"]}, {"resources": ["*", kind], "verbs": ["list"]}]
            wrong = {**DEV.to_json(), "spec": {part: {"rules": rules}}}
            answer = self.call(self.admin(), "POST", "/v1/roles", wrong)
            self.assertEqual((answer.status, answer.sentence), (400, f"role.spec.{part}.rules[1].resources: {said}"))
        self.assertNotIn("dev", self.cluster.roles)

    def test_kinds_of_teleport(self) -> None:
        """Roles of Teleport's are taken, and those that are stored are read whatever they name."""
        rules = [{"resources": ["trusted_cluster", "auth_connector", "session", "*"], "verbs": ["list"]}]
        role = {**DEV.to_json(), "spec": {"allow": {"rules": rules}}}
        self.assertEqual(self.call(self.admin(), "POST", "/v1/roles", role).status, 200)
        newer = Conditions(rules=(Rule(("of_another_version",), ("list",)),))
        self.assertEqual(Role.from_json(Role("x", deny=newer).to_json()).deny, newer)

    def test_names(self) -> None:
        """A name that is no path in the storage is refused."""
        for name in ("a/b", "..", "x" * 256):
            answer = self.call(self.admin(), "POST", "/v1/roles", {**DEV.to_json(), "metadata": {"name": name}})
            self.assertEqual((answer.status, answer.code), (400, "BAD_PARAMETER"))

    def test_bound(self) -> None:
        """There may be so many and no more."""
        self.cluster.roles.shelf.limit = 1
        self.call(self.admin(), "POST", "/v1/roles", DEV.to_json())
        answer = self.call(self.admin(), "POST", "/v1/roles", Role("ops").to_json())
        self.assertEqual((answer.status, answer.code), (429, "LIMIT_EXCEEDED"))


class RolesInForceTests(ClusterTestCase):
    def test_caller(self) -> None:
        """Who has a stored role may what it allows."""
        self.assertRaises(AccessDenied, self.user, "dev")
        self.now(self.cluster.roles.shelf.create(DEV))
        self.assertEqual(self.call(self.user("dev"), "GET", "/v1/events").status, 200)

    def test_restart(self) -> None:
        """Roles are there after a restart."""
        self.now(self.cluster.roles.shelf.create(DEV))
        self.open()
        self.assertEqual(self.cluster.roles["dev"], DEV)

    def test_signed_for(self) -> None:
        """Certificates are signed for stored roles."""
        self.now(self.cluster.roles.shelf.create(DEV))
        body = {"user": "bob", "logins": ["root"], "roles": ["dev"], "public_ssh_key": SSH_KEY}
        self.assertEqual(self.call(self.admin(), "POST", "/v1/ca/user/certs", body).status, 200)

    def test_another_writer(self) -> None:
        """What another program stores counts as well, and what cannot be read counts as absent."""
        self.now(self.backend.put("roles/dev", encode(DEV.to_json())))
        self.assertEqual(self.cluster.roles["dev"], DEV)
        self.now(self.backend.put("roles/dev", b"{}"))
        self.assertNotIn("dev", self.cluster.roles)
        reason = self.refused(self.cluster.roles.shelf.load(), StorageCorrupt)
        self.assertIn("The role under 'roles/dev' cannot be read", reason.sentence)

    def test_judged_again(self) -> None:
        """A connection that was believed is judged again when a role of its caller changes or goes."""
        self.now(self.cluster.roles.shelf.create(DEV))
        certificate = self.certificate("alice", "dev")
        judge = self.cluster.judge()
        first = judge.judge(certificate, None)
        self.assertIs(judge.judge(certificate, first), first)
        self.now(self.cluster.roles.shelf.replace(evolve(DEV, description="changed")))
        second = judge.judge(certificate, first)
        assert second.peer is not None
        self.assertEqual([role.description for role in second.peer.caller.roles], ["changed"])
        self.now(self.cluster.roles.shelf.remove("dev"))
        third = judge.judge(certificate, second)
        self.assertIsNone(third.peer)
        assert third.refusal is not None
        self.assertIn("role 'dev' does not exist", third.refusal.sentence)

    def test_conditions(self) -> None:
        """A rule on a condition about the resource holds for the resources of which it is true, and is logged."""
        condition = 'contains(user.spec.roles, "dev") && !equals(resource.metadata.name, "secret")'
        logged = ('log("warn", "%v reads %v", user.id, resource.metadata.name)',)
        rule = Rule(("role",), ("read", "delete"), condition, logged)
        for role in (evolve(DEV, allow=Conditions(rules=(rule,))), Role("secret"), Role("open")):
            self.now(self.cluster.roles.shelf.create(role))
        for method, path, status in (
            ("GET", "/v1/roles/open", 200),
            ("GET", "/v1/roles/secret", 403),
            ("GET", "/v1/roles/nothing", 403),
            ("GET", "/v1/roles", 403),
            ("DELETE", "/v1/roles/secret", 403),
            ("DELETE", "/v1/roles/open", 200),
        ):
            with capturedLogs() as lines:
                self.assertEqual(self.call(self.user("dev"), method, path).status, status, path)
            remarks = [(event["log_level"].name, event["remark"]) for event in lines if "remark" in event]
            self.assertEqual(remarks, [("warn", "alice reads open")] if status == 200 else [])

    def test_participants(self) -> None:
        """Who takes part in a session sees it in the list, by a condition on its participants."""
        rule = Rule(("ssh_session",), ("list",), "contains(resource.participants, user.metadata.name)")
        self.now(self.cluster.roles.shelf.create(evolve(DEV, allow=Conditions(rules=(rule,)))))
        for name in ("alice", "bob"):
            self.now(self.cluster.sessions.put(ActiveSession(name, name, "root", WEB1, "web1", "", 1.0, 1.0)))
        answer = self.call(self.user("dev"), "GET", "/v1/namespaces/default/sessions")
        self.assertEqual([item["metadata"] for item in answer.items], [{"name": "alice", "namespace": "default"}])
