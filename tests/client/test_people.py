"""Calls about people: what is sent, and what is made of the answers. The real API answers them in ``tests.auth``."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.client.answers import UserCertificates
from teleport_conch.client.exchange import Call
from teleport_conch.client.people import (
    AcceptedInvite,
    Credentials,
    Invite,
    LoggedIn,
    OpenedInvite,
    People,
    SessionOwner,
    WebSession,
)
from teleport_conch.errors import BadParameter, LimitExceeded
from teleport_conch.resources.user import User

ALICE = User("alice", ("access",), {"logins": ("root",)}, created_by="bob", revision="7")
ADDRESS = "192.0.2.7"
CREDENTIALS = Credentials("correct horse battery", "123456")
FRESH = {"cert": "ssh-line", "tls_cert": "pem", "user": "alice", "roles": ["access"], "expires": 5.0}
_T = TypeVar("_T")


@define
class Stub:
    """A transport that answers one thing, and remembers what it was asked."""

    answer: object
    calls: list[Call] = field(factory=list)

    async def call(self, call: Call) -> object:
        self.calls.append(call)
        return self.answer


@define
class Slow:
    """A transport that answers when it is told to."""

    under_way: list[Deferred[object]] = field(factory=list)

    async def call(self, call: Call) -> object:
        self.under_way.append(Deferred())
        return await self.under_way[-1]


class PeopleTests(SynchronousTestCase):
    def answered(self, answer: object) -> People:
        self.stub = Stub(answer)
        return People(self.stub)  # type: ignore[arg-type]  # all that it needs of a transport

    def now(self, coroutine: Coroutine[object, object, _T]) -> _T:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def asked(self) -> tuple[str, str, object, bool]:
        [call] = self.stub.calls
        return call.method, call.path, call.body, call.repeatable

    def test_users(self) -> None:
        found = self.now(self.answered({"items": [ALICE.to_json()]}).users())
        self.assertEqual((found, found[0].revision), ((ALICE,), "7"))
        self.assertEqual(self.asked(), ("GET", "/v1/users", None, True))

    def test_one_user(self) -> None:
        """A name is one segment of the path, whatever is in it, and that of nobody if it held a slash."""
        self.assertEqual(self.now(self.answered(ALICE.to_json()).user("a/../b")), ALICE)
        self.assertEqual(self.asked(), ("GET", "/v1/users/a%25..%25b", None, True))

    def test_create(self) -> None:
        self.assertEqual(self.now(self.answered(ALICE.to_json()).create_user(ALICE)), ALICE)
        self.assertEqual(self.asked(), ("POST", "/v1/users", ALICE.to_json(), False))

    def test_update(self) -> None:
        self.assertEqual(self.now(self.answered(ALICE.to_json()).update_user(ALICE)), ALICE)
        self.assertEqual(self.asked(), ("PUT", "/v1/users/alice", ALICE.to_json(), True))

    def test_remove(self) -> None:
        self.now(self.answered({"message": "ok"}).remove_user("alice"))
        self.assertEqual(self.asked(), ("DELETE", "/v1/users/alice", None, True))

    def test_forced(self) -> None:
        """A change that leaves nobody to administer the cluster has to be meant."""
        self.now(self.answered({"message": "ok"}).remove_user("alice", force=True))
        self.assertEqual(self.stub.calls[0].query, (("force", "1"),))
        self.now(self.answered(ALICE.to_json()).update_user(ALICE, force=True))
        self.assertEqual(self.stub.calls[0].query, (("force", "1"),))

    def test_unlock(self) -> None:
        self.now(self.answered({"message": "ok"}).unlock_user("alice"))
        self.assertEqual(self.asked(), ("DELETE", "/v1/users/alice/lockout", None, True))

    def test_invite(self) -> None:
        people = self.answered({"token": "ab" * 16, "kind": "reset", "expires": 9.0})
        invite = self.now(people.invite("alice", "reset", 60.0))
        self.assertEqual(invite, Invite("ab" * 16, "reset", 9.0))
        self.assertNotIn("abab", repr(invite))
        self.assertEqual(self.asked(), ("POST", "/v1/users/alice/invites", {"kind": "reset", "ttl": 60.0}, False))

    def test_renewal(self) -> None:
        people = self.answered({"token": "ab" * 16, "kind": "renew", "expires": 9.0})
        self.assertEqual(self.now(people.renewal("alice", CREDENTIALS, ADDRESS)).kind, "renew")
        body = {"password": "correct horse battery", "otp_token": "123456", "client_address": ADDRESS}
        self.assertEqual(self.asked(), ("POST", "/v1/users/alice/web/invites", body, False))

    def test_open_invite(self) -> None:
        about = {"user": "alice", "kind": "invite", "expires": 9.0, "second_factor": "otp"}
        people = self.answered({**about, "otp_secret": "JBSWY3DP", "otp_uri": "otpauth://totp/x"})
        opened = self.now(people.open_invite("secret", ADDRESS))
        self.assertEqual(opened, OpenedInvite("alice", "invite", 9.0, "otp", "JBSWY3DP", "otpauth://totp/x"))
        self.assertNotIn("JBSWY3DP", repr(opened))
        body = {"token": "secret", "client_address": ADDRESS}
        self.assertEqual(self.asked(), ("POST", "/v1/web/invites/open", body, False))

    def test_accept_invite(self) -> None:
        people = self.answered({"user": "alice", "recovery_codes": ["a-b", "c-d"]})
        accepted = self.now(people.accept_invite("secret", "new", "123456", ADDRESS))
        self.assertEqual(accepted, AcceptedInvite("alice", ("a-b", "c-d")))
        body = {"token": "secret", "password": "new", "otp_token": "123456", "client_address": ADDRESS}
        self.assertEqual(self.asked(), ("POST", "/v1/web/invites/accept", body, False))

    def test_log_in(self) -> None:
        """A login is sent once: its code is worth nothing the second time."""
        logged_in = self.now(
            self.answered(FRESH).log_in(
                "alice", CREDENTIALS, public_ssh_key="ssh", public_tls_key="tls", client_address=ADDRESS, ttl_s=60.0
            )
        )
        self.assertEqual(logged_in, LoggedIn("alice", ("access",), 5.0, UserCertificates("ssh-line", "pem")))
        body = {
            "password": "correct horse battery",
            "otp_token": "123456",
            "client_address": ADDRESS,
            "public_ssh_key": "ssh",
            "public_tls_key": "tls",
            "ttl": 60.0,
        }
        self.assertEqual(self.asked(), ("POST", "/v1/users/alice/ssh/authenticate", body, False))

    def test_credentials(self) -> None:
        """What was not typed is not sent, and nothing of it is ever shown."""
        self.assertEqual(Credentials("p", recovery_code="r").to_json(), {"password": "p", "recovery_code": "r"})
        self.assertEqual(repr(Credentials("p", "o", "r")), "Credentials()")

    def test_renew(self) -> None:
        self.assertEqual(self.now(self.answered(FRESH).renew("ssh", "tls", 60.0)).user, "alice")
        body = {"public_ssh_key": "ssh", "public_tls_key": "tls", "ttl": 60.0}
        self.assertEqual(self.asked(), ("POST", "/v1/ca/user/renew", {**body, "requests": []}, False))
        self.now(self.answered(FRESH).renew("ssh", "tls", 60.0, requests=("r",)))
        self.assertEqual(self.asked(), ("POST", "/v1/ca/user/renew", {**body, "requests": ["r"]}, False))

    def test_strategy(self) -> None:
        """Whether a login is to ask for roles; a server that says nothing of it wants nothing."""
        self.assertEqual(LoggedIn.from_json(FRESH).request_access, "optional")
        found = LoggedIn.from_json({**FRESH, "request_access": "reason", "request_prompt": "Ticket?"})
        self.assertEqual((found.request_access, found.request_prompt), ("reason", "Ticket?"))

    def test_change_password(self) -> None:
        self.now(self.answered({"message": "ok"}).change_password("alice", "old", "new", "123456", ADDRESS))
        body = {"old_password": "old", "new_password": "new", "otp_token": "123456", "client_address": ADDRESS}
        self.assertEqual(self.asked(), ("PUT", "/v1/users/alice/web/password", body, False))

    def test_web_sessions(self) -> None:
        begun = self.now(
            self.answered({"session": "cookie", "expires": 9.0}).open_web_session("alice", CREDENTIALS, ADDRESS)
        )
        self.assertEqual((begun, "cookie" in repr(begun)), (WebSession("cookie", 9.0), False))
        body: object = {"password": "correct horse battery", "otp_token": "123456", "client_address": ADDRESS}
        self.assertEqual(self.asked(), ("POST", "/v1/users/alice/web/sessions", body, False))
        people = self.answered({"user": "alice", "roles": ["access"], "expires": 8.0})
        self.assertEqual(self.now(people.web_session("cookie", ADDRESS)), SessionOwner("alice", ("access",), 8.0))
        body = {"session": "cookie", "client_address": ADDRESS}
        self.assertEqual(self.asked(), ("POST", "/v1/web/sessions/open", body, True))
        self.now(self.answered({"message": "ok"}).close_web_session("cookie", ADDRESS))
        self.assertEqual(self.asked(), ("POST", "/v1/web/sessions/close", body, True))

    def test_few_at_once(self) -> None:
        """Four calls for which a password is hashed are under way, the others wait, and not too many of them."""
        slow = Slow()
        under_way, people = slow.under_way, People(slow)  # type: ignore[arg-type]  # all that it needs of a transport
        begun = [Deferred.fromCoroutine(people.open_web_session("alice", CREDENTIALS, ADDRESS)) for _ in range(4 + 256)]
        self.assertEqual(len(under_way), 4)
        refused = Deferred.fromCoroutine(people.open_web_session("alice", CREDENTIALS, ADDRESS))
        self.assertEqual(
            self.failureResultOf(refused, LimitExceeded).value.sentence,
            "Too many people are logging in at this moment; try again in a few seconds.",
        )
        for answered in under_way:  # which grows as one after the other is answered
            answered.callback({"session": "cookie", "expires": 9.0})
        self.assertEqual(len(under_way), 260)
        for each in begun:
            self.assertEqual(self.successResultOf(each), WebSession("cookie", 9.0))

    def test_other_answers(self) -> None:
        """An answer of another shape is refused, and names its field."""
        failed = Deferred.fromCoroutine(self.answered({"user": 5}).open_invite("secret", ADDRESS))
        self.assertEqual(self.failureResultOf(failed, BadParameter).value.sentence, "answer.user has to be a string.")
