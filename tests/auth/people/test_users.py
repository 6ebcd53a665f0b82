"""Users over the API: made, changed and removed, and what their certificates may no longer do then."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.auth.state.storing import encode
from teleport_conch.errors import AccessDenied
from teleport_conch.resources.user import LoginLock, User
from tests.auth.fixture import NOW, Answered, ClusterTestCase

ALICE = User("alice", ("access",), {"logins": ("alice", "root"), "team": ("db",)})
PATH = "/v1/users/alice"


class UserTestCase(ClusterTestCase):
    def create(self, user: User = ALICE) -> Answered:
        return self.call(self.admin(), "POST", "/v1/users", user.to_json())


class UserRouteTests(UserTestCase):
    def test_create(self) -> None:
        """Auth says when and by whom a user was made, and nobody is locked from the start."""
        answer = self.create(evolve(ALICE, created_at=5.0, created_by="mallory", lock=LoginLock(9.0)))
        made = User.from_json(answer.body)
        self.assertEqual(made, evolve(ALICE, created_at=NOW, created_by="tctl on the auth host"))
        self.assertEqual(made.revision, str(self.backend.revision()))
        self.assertEqual(self.call(self.admin(), "GET", PATH).body, answer.body)
        [event] = self.emitted.events
        self.assertEqual(event.name, "user.create")
        about = {"name": "alice", "roles": ("access",), "logins": ("alice", "root"), "expires": None}
        self.assertEqual(event.fields, {**about, "user": "tctl on the auth host"})

    def test_restart(self) -> None:
        """They are there after a restart, with the revision that they had."""
        self.create()
        before = self.call(self.admin(), "GET", "/v1/users").items
        self.open()
        self.assertEqual(self.call(self.admin(), "GET", "/v1/users").items, before)

    def test_twice(self) -> None:
        self.create()
        again = self.create()
        self.assertEqual((again.status, again.sentence), (409, "The user 'alice' exists already."))

    def test_keys_that_no_user_has(self) -> None:
        """Also by the API: nothing is dropped without a word."""
        for key, said in (("rolls", "user.spec.'rolls' is not known."), ("local_auth", "come from no file")):
            body = {"kind": "user", "version": "v2", "metadata": {"name": "eve"}, "spec": {key: ["x"]}}
            answer = self.call(self.admin(), "POST", "/v1/users", body)
            self.assertEqual(answer.status, 400)
            self.assertIn(said, answer.sentence)

    def test_update(self) -> None:
        """Roles and traits are replaced; who made the user stays. A stale revision is refused."""
        made = User.from_json(self.create().body)
        self.clock.advance(60)
        changed = evolve(made, roles=("auditor", "auditor"), traits={}, created_by="mallory")
        answer = self.call(self.admin(), "PUT", PATH, changed.to_json())
        self.assertEqual(User.from_json(answer.body), evolve(made, roles=("auditor",), traits={}))
        stale = self.call(self.admin(), "PUT", PATH, changed.to_json())
        self.assertEqual((stale.status, stale.code), (412, "COMPARE_FAILED"))
        self.assertIn("The user 'alice' was changed meanwhile.", stale.sentence)
        self.assertEqual([event.name for event in self.emitted.events], ["user.create", "user.update"])

    def test_another_name(self) -> None:
        self.create()
        answer = self.call(self.admin(), "PUT", PATH, evolve(ALICE, name="bob").to_json())
        self.assertEqual(
            (answer.status, answer.sentence), (400, "The user is called 'bob' in the body, and 'alice' in the path.")
        )

    def test_remove(self) -> None:
        self.create()
        self.assertEqual(self.call(self.admin(), "DELETE", PATH).status, 200)
        self.assertEqual(self.now(self.backend.range("users/")), ())
        self.assertEqual(self.emitted.events[-1].fields, {"name": "alice", "user": "tctl on the auth host"})
        for method in ("GET", "DELETE"):
            answer = self.call(self.admin(), method, PATH)
            self.assertEqual((answer.status, answer.sentence), (404, "There is no user 'alice'."))

    def test_33_names(self) -> None:
        """What could mean something else to a shell, a path or a reader is no name, and nothing of it is kept."""
        for name in ("root\0x", "-oProxyCommand=x", "../x", "a/b", "%u", "a b", "a,b", "\u202eecila", "x\x1b[2J"):
            for user in (evolve(ALICE, name=name), evolve(ALICE, traits={"logins": (name,)})):
                answer = self.create(user)
                self.assertEqual((answer.status, answer.code), (403, "PRINCIPAL_FORBIDDEN"))
                self.assertTrue(answer.sentence.isprintable())
        self.assertEqual((self.now(self.backend.range("users/")), self.emitted.events), ((), []))

    def test_refused(self) -> None:
        for user, sentence in (
            (evolve(ALICE, roles=("dba",)), "There is no role 'dba'; 'tctl get roles' lists those that there are."),
            (evolve(ALICE, name="bot-ci"), "The names of robots begin with 'bot-'; choose another for a person."),
            (
                evolve(ALICE, traits={"logins": tuple(f"user{number}" for number in range(65))}),
                "A user has at most 64 logins.",
            ),
            (evolve(ALICE, name="a" * 65), "user.metadata.name is longer than 64 characters."),
        ):
            answer = self.create(user)
            self.assertEqual((answer.status, answer.sentence), (400, sentence))

    def test_what_services_hear(self) -> None:
        """Names and roles; where somebody may log in is nobody's business but theirs."""
        self.create()
        [seen] = self.call(self.host(self.join()), "GET", "/v1/users").items
        self.assertEqual(User.from_json(seen), User("alice", ("access",), created_at=NOW))
        self.assertNotIn("root", str(seen))
        [shown] = self.now(self.cluster.feed.snapshot(["user"]))
        self.assertNotIn(b"root", shown)


class NarrowedTests(UserTestCase):
    """What is left of a certificate's roles is what the user still has."""

    def test_role_taken_away(self) -> None:
        """The certificate says admin, and the user is none any more."""
        self.create(evolve(ALICE, roles=("access", "admin")))
        self.assertEqual([role.name for role in self.user("admin", "access").caller.roles], ["access", "admin"])
        self.call(self.admin(), "PUT", f"{PATH}?force=1", ALICE.to_json())
        self.assertEqual([role.name for role in self.user("admin", "access").caller.roles], ["access"])

    def test_expired(self) -> None:
        self.create(evolve(ALICE, expires_at=NOW + 60))
        self.clock.advance(60)
        reason = self.assertRaises(AccessDenied, self.user, "access")
        self.assertEqual(reason.sentence, "The user 'alice' has expired; ask an administrator.")
        self.assertEqual(self.cluster.users.usable("alice"), None)

    def test_another_of_the_name(self) -> None:
        """A certificate of one who was removed is not the next one's."""
        self.now(self.cluster.users.shelf.create(evolve(ALICE, created_at=NOW + 3600)))
        reason = self.assertRaises(AccessDenied, self.user, "access")
        self.assertEqual(reason.sentence, "The certificate is older than the user 'alice': log in again.")

    def test_unreadable(self) -> None:
        """What is stored and no user any more stops the start, and does not pass for no user."""
        self.now(self.backend.put("users/alice", encode({"kind": "role"})))
        with self.assertRaises(Exception) as caught:
            self.open()
        self.assertIn("The user under 'users/alice' cannot be read", str(caught.exception))
