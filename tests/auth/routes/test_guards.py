"""Changes that are refused although nothing is wrong in them: what they would give, and what they would close."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.access.conditions import Conditions
from teleport_conch.access.labels import LabelSelector
from teleport_conch.access.roles import Role
from teleport_conch.access.rules import READ_WRITE, Rule
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from tests.auth.fixture import NOW, Answered, ClusterTestCase

EDITOR = Role(
    "editor",
    allow=Conditions(("root",), LabelSelector({"env": ("dev",)}), (Rule(("role", "user", "lock"), READ_WRITE),)),
)
DEV = Role("dev", allow=Conditions(("web",), LabelSelector({"env": ("dev",)})))
PROD = Role("dev", allow=Conditions(("web",), LabelSelector({"env": ("prod",)})))


class GuardTestCase(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now(self.cluster.roles.shelf.create(EDITOR))

    def change(self, method: str, path: str, value: Role | User | Lock | None = None) -> Answered:
        """As alice, whose role is editor."""
        return self.call(self.user("editor"), method, path, None if value is None else value.to_json())

    def assert_refused(self, answer: Answered, code: str, sentence: str) -> None:
        self.assertEqual((answer.code, answer.status), (code, 403 if code == "NOT_HELD" else 409))
        self.assertIn(sentence, answer.sentence)


class EscalationTests(GuardTestCase):
    def test_roles(self) -> None:
        """An editor gives what the editor has, and no more; who tries is an event, and nothing is changed."""
        self.assertEqual(self.change("POST", "/v1/roles", DEV).status, 200)
        answer = self.change("PUT", "/v1/roles/dev", PROD)
        sentence = (
            "Nobody gives what they do not hold, and user alice does not hold: the login web on nodes with env: prod."
        )
        self.assert_refused(answer, "NOT_HELD", sentence)
        self.assertEqual(self.cluster.roles["dev"], DEV)
        [event] = self.emitted.named("api.denied")
        self.assertEqual((event.fields["user"], event.fields["kind"]), ("alice", "role"))
        self.assertEqual(event.fields["error"], sentence)
        self.assertEqual(answer.sentence, f"{sentence} (reference {event.fields['reference']})")
        self.assertEqual(self.call(self.admin(), "PUT", "/v1/roles/dev", PROD.to_json()).status, 200)
        self.assertEqual(self.change("PUT", "/v1/roles/dev", DEV).status, 200)

    def test_prolonged(self) -> None:
        """A user who lasts longer counts as given anew, as a role does; one who has expired could log in again."""
        for name, roles in (("carol", ("admin",)), ("dave", ("editor",))):
            user = User(name, roles, expires_at=NOW + 60)
            self.assertEqual(self.call(self.admin(), "POST", "/v1/users", user.to_json()).status, 200)
        for advanced in (0, 120):
            self.clock.advance(advanced)
            for end in (NOW + 180, None):
                answer = self.change("PUT", "/v1/users/carol", User("carol", ("admin",), expires_at=end))
                self.assert_refused(answer, "NOT_HELD", "user alice does not hold: the login root on every node;")
        self.assertEqual(
            self.change("PUT", "/v1/users/carol", User("carol", ("admin",), expires_at=NOW + 30)).status, 200
        )
        self.assertEqual(self.change("PUT", "/v1/users/dave", User("dave", ("editor",))).status, 200)

    def test_users(self) -> None:
        """Nor does an editor give a role, also to themselves, of which they do not have everything."""
        self.assertEqual(self.change("POST", "/v1/users", User("bob", ("editor",))).status, 200)
        for method, path, user in (
            ("POST", "/v1/users", User("carol", ("admin",))),
            ("PUT", "/v1/users/bob", User("bob", ("editor", "access"), {"logins": ("bob",)})),
        ):
            self.assert_refused(self.change(method, path, user), "NOT_HELD", "and user alice does not hold: the login")
        self.assertEqual(self.cluster.users.get("bob").roles, ("editor",))


class InUseTests(GuardTestCase):
    def test_role(self) -> None:
        """A role that somebody has is not removed; the sentence says who."""
        self.now(self.cluster.roles.shelf.create(DEV))
        for name in "abcdefg":
            self.now(self.cluster.users.shelf.create(User(name, ("dev",))))
        answer = self.change("DELETE", "/v1/roles/dev")
        self.assert_refused(
            answer, "IN_USE", "The role 'dev' is still in use by a, b, c, d, e and 2 more; take it from them first."
        )
        for name in "abcdefg":
            self.now(self.cluster.users.shelf.remove(name))
        self.assertEqual(self.change("DELETE", "/v1/roles/dev").status, 200)


class LastAdministratorTests(GuardTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bob = User("bob", ("editor",))
        self.now(self.cluster.users.shelf.create(self.bob))

    def test_refused(self) -> None:
        """Whatever would leave nobody who administers is refused, unless it is forced."""
        without = evolve(EDITOR, allow=Conditions(("root",), EDITOR.allow.node_labels))
        for method, path, value in (
            ("PUT", "/v1/users/bob", User("bob", ())),
            ("PUT", "/v1/users/bob", evolve(self.bob, expires_at=1.0)),
            ("PUT", "/v1/users/bob", evolve(self.bob, expires_at=NOW + 60)),
            ("PUT", "/v1/roles/editor", without),
            ("PUT", "/v1/roles/editor", evolve(EDITOR, expires_at=NOW + 60)),
            ("POST", "/v1/locks", Lock("l", user="bob")),
            ("POST", "/v1/locks", Lock("l", role="editor")),
            ("DELETE", "/v1/users/bob", None),
        ):
            answer = self.change(method, path, value)
            self.assert_refused(answer, "LAST_ADMINISTRATOR", "That would leave nobody who may change roles and users.")
        self.assertEqual(self.change("DELETE", "/v1/users/bob?force=1").status, 200)

    def test_one_who_ends(self) -> None:
        """Who is there for some time is no way in for ever, and closes none by going earlier."""
        ending = evolve(self.bob, expires_at=NOW + 60)
        self.now(self.cluster.users.shelf.create(User("carol", ("editor",), expires_at=NOW + 90)))
        self.assert_refused(self.change("PUT", "/v1/users/bob", ending), "LAST_ADMINISTRATOR", "That would leave")
        self.now(self.cluster.users.shelf.replace(ending))
        self.assertEqual(self.change("PUT", "/v1/users/bob", evolve(ending, expires_at=NOW + 30)).status, 200)

    def test_made_twice(self) -> None:
        """What is there already is not made again; that is what is wrong then, and not what it would mean."""
        answer = self.change("POST", "/v1/users", User("bob", ()))
        self.assertEqual(answer.code, "ALREADY_EXISTS")

    def test_another_is_left(self) -> None:
        """With a second one, each may go."""
        self.now(self.cluster.users.shelf.create(User("carol", ("admin",))))
        self.assertEqual(self.change("POST", "/v1/locks", Lock("l", login="x")).status, 200)
        answer = self.change("DELETE", "/v1/users/carol")
        self.assert_refused(answer, "LAST_ADMINISTRATOR", "That would leave nobody who may give the role admin:")
        self.assertEqual(self.change("DELETE", "/v1/users/bob").status, 200)
