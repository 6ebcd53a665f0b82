"""Sessions of browsers: whose they are, until when, and what ends them before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import evolve
from twisted.internet.defer import Deferred

from teleport_conch.auth.people.people import CHANGED_MEANWHILE
from teleport_conch.auth.people.proving import Given
from teleport_conch.errors import LoginRefused
from teleport_conch.resources.lock import Lock
from teleport_conch.resources.user import User
from teleport_conch.storage.backend import IBackend, Item
from tests.auth.fixture import Answered
from tests.auth.people.case import ALICE, CLIENT, PASSWORD, REFUSED, PeopleTestCase


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


class MeanwhileTests(PeopleTestCase):
    """Threat 90: whoever has the old password has nothing once it is another, however the two come together."""

    def setUp(self) -> None:
        super().setUp()
        self.settle()
        self.typed = Given("alice", PASSWORD, self.code(), "", CLIENT, "web")
        self.emitted.events.clear()

    def changes(self) -> Iterator[Callable[[], object]]:
        """What makes a password worthless: a reset, its link followed, and a change by the user."""
        yield lambda: self.invite("alice", "reset")
        yield lambda: self.accept(self.invite("alice", "reset"), "another tangerine")
        yield self.change

    def change(self) -> None:
        self.clock.advance(30)
        body = {"old_password": PASSWORD, "new_password": "another tangerine", "otp_token": self.code()}
        self.assertEqual(self.through("PUT", "/v1/users/alice/web/password", body).status, 200)

    def begun(self, meanwhile: Callable[[], object]) -> str:
        """The secret of a session that is written after ``meanwhile``, for which everything was proved before."""
        people, write = self.cluster.people, Deferred[None]()
        proven = self.now(people.proving.prove(self.typed))
        self.patch(people.sessions, "_backend", SlowToCreate(self.backend, write))
        beginning = Deferred.fromCoroutine(people.sessions.begin(proven.user, proven.generation))
        self.assertNoResult(beginning)
        meanwhile()
        self.assertEqual(len(self.now(self.backend.range("web_sessions/"))), 0)
        write.callback(None)
        self.patch(people.sessions, "_backend", self.backend)
        return self.successResultOf(beginning)[0]

    def test_sessions(self) -> None:
        """A session that was begun before the change, and written after it, is none."""
        for meanwhile in self.changes():
            self.setUp()
            secret = self.begun(meanwhile)
            answer = self.through("POST", "/v1/web/sessions/open", {"session": secret})
            self.assertEqual((answer.status, answer.code), (401, "SESSION_ENDED"))
            self.assertEqual(self.now(self.backend.range("web_sessions/")), ())

    def test_nothing_meanwhile(self) -> None:
        """Where nothing happens in between, it is one."""
        secret = self.begun(lambda: None)
        self.assertEqual(self.through("POST", "/v1/web/sessions/open", {"session": secret}).status, 200)

    def test_links(self) -> None:
        """Nor is a link made for who has the old password, and the one of the reset stays."""
        people = self.cluster.people
        proven = self.now(people.proving.prove(self.typed))
        token = self.invite("alice", "reset")
        refused = self.refused(people.link("alice", "renew", 0.0, "alice", proven.generation), LoginRefused)
        self.assertEqual(refused.sentence, CHANGED_MEANWHILE)
        self.assertEqual(self.accept(token, "another tangerine").status, 200)

    def test_slow_links(self) -> None:
        """Nor is one good that was begun before the change, and written after it."""
        for meanwhile in self.changes():
            self.setUp()
            people, write = self.cluster.people, Deferred[None]()
            proven = self.now(people.proving.prove(self.typed))
            self.patch(people.invites, "_backend", SlowToCreate(self.backend, write))
            making = Deferred.fromCoroutine(people.link("alice", "renew", 0.0, "alice", proven.generation))
            self.assertNoResult(making)
            self.patch(people.invites, "_backend", self.backend)
            meanwhile()
            write.callback(None)
            token, _ = self.successResultOf(making)
            self.assertEqual(self.open_link(token).code, "INVITE_UNKNOWN")

    def test_link(self) -> None:
        """It is good where nothing happens in between."""
        proven = self.now(self.cluster.people.proving.prove(self.typed))
        token, _ = self.now(self.cluster.people.link("alice", "renew", 0.0, "alice", proven.generation))
        self.assertEqual(self.accept(token, "another tangerine").status, 200)


class SlowToCreate:
    """A storage that creates nothing before it is told to."""

    def __init__(self, backend: IBackend, write: Deferred[None]) -> None:
        self._backend = backend
        self._write = write

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    async def create(self, key: str, value: bytes, expires_at: float | None = None) -> Item:
        await self._write
        return await self._backend.create(key, value, expires_at)
