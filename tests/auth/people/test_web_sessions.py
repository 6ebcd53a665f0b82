"""Sessions of browsers: whose they are, until when, and what ends them before."""

from __future__ import annotations

from attrs import evolve

from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from tests.auth.fixture import Answered
from tests.auth.people.case import ALICE, PASSWORD, REFUSED, PeopleTestCase


class WebSessionTests(PeopleTestCase):
    def begin(self, name: str = "alice") -> str:
        """The secret of a new session."""
        body = {"password": PASSWORD, "otp_token": self.code(name)}
        answer = self.through("POST", f"/v1/users/{name}/web/sessions", body)
        self.assertEqual(answer.status, 200, answer.body)
        return str(answer.body["session"])

    def use(self, secret: str) -> Answered:
        return self.through("POST", "/v1/web/sessions/open", {"session": secret})

    def test_begin(self) -> None:
        """A secret that is kept nowhere; using it tells whose it is."""
        self.settle()
        secret = self.begin()
        for item in self.now(self.backend.range("")):
            self.assertNotIn(secret.encode(), item.value + item.key.encode())
        answer = self.use(secret)
        self.assertEqual((answer.body["user"], answer.body["roles"]), ("alice", ["access"]))
        self.assertEqual(answer.body["expires"], self.clock.seconds() + 1800)
        self.assertEqual(self.emitted.named("user.login")[-1].fields["method"], "web")

    def test_refused(self) -> None:
        self.settle()
        body = {"password": "a wrong password", "otp_token": self.code()}
        self.assertEqual(self.through("POST", "/v1/users/alice/web/sessions", body).sentence, REFUSED)

    def test_idle(self) -> None:
        """It ends half an hour after its last use."""
        self.settle()
        secret = self.begin()
        for _ in range(3):
            self.clock.advance(1799)
            self.assertEqual(self.use(secret).status, 200)
        self.clock.advance(1800)
        answer = self.use(secret)
        self.assertEqual(
            (answer.status, answer.code, answer.sentence),
            (401, "SESSION_ENDED", "The session has ended; log in again."),
        )

    def test_twelve_hours(self) -> None:
        """It ends then, however much it is used."""
        self.settle()
        secret = self.begin()
        for _ in range(24 * 2 - 1):
            self.clock.advance(900)
            self.assertEqual(self.use(secret).status, 200)
        self.clock.advance(900)
        self.assertEqual(self.use(secret).code, "SESSION_ENDED")

    def test_forged(self) -> None:
        self.settle()
        secret = self.begin()
        for wrong in ("", secret[:-1], secret[1:], secret[16:], "0" * len(secret), "../" + secret, "ü" * 80, "\n"):
            self.assertEqual(self.use(wrong).code, "SESSION_ENDED")

    def test_of_another(self) -> None:
        """The part that says whose sessions lie together makes nobody's session another's."""
        self.settle()
        self.settle(User("bob", ("access",)))
        alices, bobs = self.begin(), self.begin("bob")
        self.assertEqual(self.use(alices[:16] + bobs[16:]).code, "SESSION_ENDED")
        self.assertEqual(self.use(bobs).body["user"], "bob")

    def test_closed(self) -> None:
        self.settle()
        secret = self.begin()
        for _ in range(2):
            self.assertEqual(self.through("POST", "/v1/web/sessions/close", {"session": secret}).status, 200)
        self.assertEqual(self.use(secret).code, "SESSION_ENDED")

    def test_user_gone(self) -> None:
        """It ends with its user, and is not another's of the name."""
        self.settle()
        secret = self.begin()
        self.call(self.admin(), "DELETE", "/v1/users/alice")
        self.assertEqual(self.use(secret).code, "SESSION_ENDED")
        self.clock.advance(5)
        self.add()
        self.assertEqual(self.use(secret).code, "SESSION_ENDED")

    def test_locked(self) -> None:
        """A lock ends it for good; the person hears why."""
        self.settle()
        secret = self.begin()
        self.now(self.cluster.locks.shelf.create(Lock("x", user="alice")))
        answer = self.use(secret)
        self.assertEqual((answer.status, answer.code), (401, "SESSION_ENDED"))
        self.assertEqual(answer.sentence, "The session has ended, as the user 'alice' is locked by an administrator.")
        self.now(self.cluster.locks.shelf.remove("x"))
        self.assertEqual(self.use(secret).sentence, "The session has ended; log in again.")

    def test_user_expires(self) -> None:
        self.settle(evolve(ALICE, expires_at=self.clock.seconds() + 600))
        secret = self.begin()
        self.clock.advance(540)
        self.assertEqual(self.use(secret).code, "SESSION_ENDED")

    def test_too_many(self) -> None:
        """The one that was used longest ago makes room."""
        self.settle()
        secrets = []
        for _ in range(33):
            secrets.append(self.begin())
            self.clock.advance(30)
        self.assertEqual([self.use(each).status for each in (secrets[0], secrets[1], secrets[32])], [401, 200, 200])

    def test_restart(self) -> None:
        """It goes on after a restart of auth."""
        self.settle()
        secret = self.begin()
        self.open()
        self.assertEqual(self.use(secret).status, 200)
