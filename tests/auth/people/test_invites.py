"""Threats 90 and 91: links for users, each good once, for what it was made for, until it expires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from teleport_conch.auth.people import invites
from teleport_conch.auth.people.credentials import Credentials
from teleport_conch.auth.people.passwords import Hashing
from teleport_conch.errors import InviteUsed
from teleport_conch.resources.user import User
from tests.auth.fixture import NOW, Answered
from tests.auth.people.case import ALICE, CLIENT, PASSWORD, REFUSED, PeopleTestCase, code

UNKNOWN = (
    "There is no such link: it is not complete, a newer one replaced it, or it is no link of this cluster."
    " Ask an administrator for a new one."
)
USED = "The link was used already, here or in another window; log in, or ask for another."


class LinkTests(PeopleTestCase):
    def test_create(self) -> None:
        """128 bits that are kept nowhere, for an hour unless another time is asked for."""
        self.add()
        answer = self.call(self.admin(), "POST", "/v1/users/alice/invites", {"kind": "invite"})
        token = str(answer.body["token"])
        self.assertRegex(token, "^[0-9a-f]{32}$")
        self.assertEqual((answer.body["kind"], answer.body["expires"]), ("invite", NOW + 3600))
        for item in self.now(self.backend.range("")):
            self.assertNotIn(token.encode(), item.value + item.key.encode())
        [event] = self.emitted.named("reset_password_token.create")
        about = {"name": "alice", "kind": "invite", "ttl": 3600, "expires": NOW + 3600}
        self.assertEqual(event.fields, {**about, "user": "tctl on the auth host"})

    def test_times(self) -> None:
        """48 hours at most for an invitation, 24 for a reset, a minute at least."""
        self.add()
        for kind, ttl_s, sentence in (
            ("invite", 48 * 3600 + 1, "A link of the kind invite lives for 1m to 48h, and not for 48h1s."),
            ("invite", 59, "A link of the kind invite lives for 1m to 48h, and not for 59s."),
            ("reset", 24 * 3600 + 1, "A link of the kind reset lives for 1m to 24h, and not for 24h1s."),
            ("reset", -1, "A link of the kind reset lives for 1m to 24h, and not for -1 seconds."),
            ("renew", 0, "A link of the kind renew is for who has password and second factor; ask for a reset."),
            ("bot", 0, "A link is of the kind invite, reset, renew, and not 'bot'."),
        ):
            answer = self.call(self.admin(), "POST", "/v1/users/alice/invites", {"kind": kind, "ttl": ttl_s})
            self.assertEqual((answer.status, answer.sentence), (400, sentence))
        self.assertEqual(
            self.call(self.admin(), "POST", "/v1/users/alice/invites", {"kind": "reset"}).body["expires"], NOW + 28800
        )

    def test_no_user(self) -> None:
        answer = self.call(self.admin(), "POST", "/v1/users/alice/invites", {"kind": "invite"})
        self.assertEqual((answer.status, answer.code), (404, "NOT_FOUND"))

    def test_too_many(self) -> None:
        self.patch(invites, "MAX_INVITES", 1)
        self.add()
        self.add(User("bob", ("access",)))
        self.invite()
        answer = self.call(self.admin(), "POST", "/v1/users/bob/invites", {"kind": "invite"})
        self.assertEqual(
            (answer.status, answer.sentence),
            (429, "There are 1 links for users; wait until some have expired."),
        )

    def test_open(self) -> None:
        """The page gets a secret for an authenticator, and another one each time; only the last one counts."""
        self.add()
        token = self.invite()
        first, second = self.open_link(token).body, self.open_link(token).body
        self.assertEqual((first["user"], first["kind"], first["second_factor"]), ("alice", "invite", "otp"))
        self.assertNotEqual(first["otp_secret"], second["otp_secret"])
        self.assertEqual(
            second["otp_uri"],
            "otpauth://totp/Teleport:alice%40example.com?digits=6"
            f"&secret={second['otp_secret']}&algorithm=SHA1&issuer=Teleport&period=30",
        )
        now = self.clock.seconds()
        body = {"token": token, "password": PASSWORD}
        old = {**body, "otp_token": code(str(first["otp_secret"]), now)}
        answer = self.through("POST", "/v1/web/invites/accept", old)
        self.assertEqual((answer.status, answer.code), (400, "OTP_REFUSED"))
        self.assertEqual(
            answer.sentence,
            "The code is not the one that an authenticator shows for this secret now. Scan the newest QR code, and see"
            " that the clock of the phone is right.",
        )
        new = {**body, "otp_token": code(str(second["otp_secret"]), now)}
        self.assertEqual(self.through("POST", "/v1/web/invites/accept", new).status, 200)

    def test_accept(self) -> None:
        """Password, second factor, and recovery codes that are shown this once. Then the user can log in."""
        self.add()
        answer = self.accept(self.invite())
        self.assertEqual((answer.status, answer.body["user"]), (200, "alice"))
        self.assertEqual(len(self.codes["alice"]), 10)
        self.clock.advance(30)
        self.assertEqual(self.log_in().status, 200)
        [changed] = self.emitted.named("user.password_change")
        self.assertEqual(changed.fields, {"user": "alice", "method": "invite", "addr.remote": CLIENT})
        used = self.emitted.named("invite.use")
        self.assertEqual(
            [(event.success, event.fields["action"]) for event in used], [(True, "open"), (True, "accept")]
        )

    def test_accept_without_opening(self) -> None:
        """Nobody has a secret then, so no code is right."""
        self.add()
        body = {"token": self.invite(), "password": PASSWORD, "otp_token": "123456"}
        self.assertEqual(self.through("POST", "/v1/web/invites/accept", body).code, "OTP_REFUSED")

    def test_weak_password(self) -> None:
        """It is refused, and the link is good for another try."""
        self.add()
        token = self.invite()
        answer = self.accept(token, "password1234")
        self.assertEqual((answer.status, answer.code), (400, "PASSWORD_REFUSED"))
        self.assertEqual(self.accept(token, "alice-alice").code, "PASSWORD_REFUSED")
        self.assertEqual(self.accept(token).status, 200)


class BadLinkTests(PeopleTestCase):
    def check(self, token: str, code: str, sentence: str, status: int = 403) -> None:
        """Both ways to use a link are refused, with an event, and nothing of the user is told."""
        self.emitted.events.clear()
        bodies: tuple[tuple[str, dict[str, object]], ...] = (
            ("open", {"token": token}),
            ("accept", {"token": token, "password": PASSWORD, "otp_token": "123456"}),
        )
        for action, body in bodies:
            answer = self.through("POST", f"/v1/web/invites/{action}", body)
            self.assertEqual((answer.status, answer.code, answer.sentence), (status, code, sentence))
            self.assertNotIn("alice", str(answer.body))
            event = self.emitted.named("invite.use")[-1]
            self.assertEqual((event.success, event.fields["action"], event.fields["error"]), (False, action, sentence))
            self.assertNotIn(token or "nothing", str(event.fields))

    def test_90_forged(self) -> None:
        self.add()
        self.invite()
        self.check("0123456789abcdef" * 2, "INVITE_UNKNOWN", UNKNOWN)

    def test_90_truncated(self) -> None:
        self.add()
        token = self.invite()
        for part in (token[:-1], token[1:], token.upper() + "0", token + "\n", token[:12]):
            self.check(part, "INVITE_UNKNOWN", UNKNOWN)

    def test_90_replayed(self) -> None:
        self.add()
        token = self.invite()
        self.accept(token)
        self.check(token, "INVITE_USED", USED)

    def test_90_expired(self) -> None:
        """Told from an unknown one for a week."""
        self.add()
        token = self.invite()
        self.clock.advance(3600)
        self.check(token, "INVITE_EXPIRED", "The link expired 0 seconds ago; ask for another.")
        self.clock.advance(7 * 24 * 3600)
        self.check(token, "INVITE_UNKNOWN", UNKNOWN)

    def test_90_replaced(self) -> None:
        """A newer link for the user makes the older ones worthless."""
        self.add()
        first, second = self.invite(), self.invite()
        self.check(first, "INVITE_UNKNOWN", UNKNOWN)
        self.assertEqual(self.accept(second).status, 200)

    def test_90_user_removed(self) -> None:
        """With the user go their links; another user of the name is not theirs."""
        self.add()
        token = self.invite()
        self.call(self.admin(), "DELETE", "/v1/users/alice")
        self.check(token, "INVITE_UNKNOWN", UNKNOWN)
        self.add()
        self.check(token, "INVITE_UNKNOWN", UNKNOWN)

    def test_90_twice_at_once(self) -> None:
        """Of two who accept one link, one does; the other's password is not set."""
        self.add()
        token = self.invite()
        secret = str(self.open_link(token).body["otp_secret"])
        held: list[Deferred[bytes]] = []

        async def slow(call: object) -> bytes:
            held.append(Deferred())
            await held[-1]
            return call()  # type: ignore[operator,no-any-return]  # what is to be hashed

        people = self.cluster.people
        self.patch(people.hashing, "_in_pool", slow)
        otp = code(secret, self.clock.seconds())
        first = Deferred.fromCoroutine(people.accept(token, PASSWORD, otp, CLIENT))
        second = Deferred.fromCoroutine(people.accept(token, "another tangerine", otp, "192.0.2.66"))
        held[1].callback(b"")
        held[0].callback(b"")
        self.assertEqual(self.successResultOf(second)[0], "alice")
        self.assertEqual(self.failureResultOf(first, InviteUsed).value.sentence, USED)

    def test_91_of_another_kind(self) -> None:
        """A join token is no link, and a link lets no host in; neither is used up by it."""
        self.add()
        join, link = self.token(), self.invite()
        self.check(join, "INVITE_UNKNOWN", UNKNOWN)
        answer = self.call(None, "POST", "/v1/tokens/register", self.request(token=link).to_json())
        self.assertEqual((answer.status, answer.code), (403, "TOKEN_UNKNOWN"))
        self.assertEqual(self.accept(link).status, 200)

    def test_98_long(self) -> None:
        """A token of any length is refused before anything is done with it."""
        for action in ("open", "accept"):
            answer = self.through("POST", f"/v1/web/invites/{action}", {"token": "a" * 257})
            self.assertEqual(answer.sentence, "request.token is longer than 256 characters.")

    def test_too_often(self) -> None:
        """Twenty bad links in a minute from one address."""
        for _ in range(20):
            self.open_link("0" * 32)
        self.assertEqual(self.open_link("0" * 32).code, "LIMIT_EXCEEDED")
        self.assertEqual(len(self.emitted.named("invite.use")), 20)


class ResetTests(PeopleTestCase):
    def web_session(self, name: str = "alice") -> Answered:
        body = {"password": PASSWORD, "otp_token": self.code(name)}
        return self.through("POST", f"/v1/users/{name}/web/sessions", body)

    def test_reset(self) -> None:
        """At once nothing works that did: password, second factor, browsers. The link sets all of it anew."""
        self.settle()
        session = self.web_session().body["session"]
        self.clock.advance(60)
        token = self.invite(kind="reset")
        self.assertEqual(self.log_in().sentence, REFUSED)
        self.assertEqual(self.through("POST", "/v1/web/sessions/open", {"session": session}).code, "SESSION_ENDED")
        old = self.secrets["alice"]
        self.assertEqual(self.accept(token, "a brand new tangerine").status, 200)
        self.assertNotEqual(self.secrets["alice"], old)
        self.clock.advance(60)
        self.assertEqual(self.log_in().sentence, REFUSED)
        self.assertEqual(self.log_in(password="a brand new tangerine").status, 200)

    def test_reset_lifts_the_lockout(self) -> None:
        """Who has a link from an administrator has waited enough."""
        self.settle()
        for _ in range(5):
            self.log_in(password="a wrong password")
        self.assertEqual(self.log_in().code, "LOCKED_OUT")
        self.accept(self.invite(kind="reset"))
        self.clock.advance(60)
        self.assertEqual(self.log_in().status, 200)

    def test_others_keep_theirs(self) -> None:
        self.settle()
        self.settle(User("bob", ("access",)))
        token = self.invite("bob")
        self.invite("alice", "reset")
        self.assertEqual(self.log_in("bob").status, 200)
        self.assertEqual(self.open_link(token).status, 200)


class RenewalTests(PeopleTestCase):
    def ask(self, **typed: object) -> Answered:
        usual = {"password": PASSWORD, "otp_token": self.code()}
        return self.through("POST", "/v1/users/alice/web/invites", {**usual, **typed})

    def test_renew(self) -> None:
        """Who has both gets a link for others; until it is used, those stay good."""
        self.settle()
        answer = self.ask()
        self.assertEqual((answer.body["kind"], answer.body["expires"]), ("renew", self.clock.seconds() + 600))
        self.clock.advance(60)
        self.assertEqual(self.log_in().status, 200)
        self.assertEqual(self.accept(str(answer.body["token"]), "a brand new tangerine").status, 200)
        self.clock.advance(60)
        self.assertEqual(self.log_in().sentence, REFUSED)
        self.assertEqual(self.log_in(password="a brand new tangerine").status, 200)

    def test_with_a_recovery_code(self) -> None:
        """For who has lost the phone."""
        self.settle()
        self.assertEqual(self.ask(otp_token="", recovery_code=self.codes["alice"][0]).status, 200)

    def test_refused(self) -> None:
        self.settle()
        self.assertEqual(self.ask(password="a wrong password").sentence, REFUSED)
        self.assertEqual(self.ask(otp_token="000000").sentence, REFUSED)


class PasswordTests(PeopleTestCase):
    def change(self, **typed: object) -> Answered:
        usual = {"old_password": PASSWORD, "new_password": "a brand new tangerine", "otp_token": self.code()}
        return self.through("PUT", "/v1/users/alice/web/password", {**usual, **typed})

    def test_change(self) -> None:
        """Who has the old one gets another; the second factor stays, and browsers have to log in again."""
        self.settle()
        session = self.through(
            "POST", "/v1/users/alice/web/sessions", {"password": PASSWORD, "otp_token": self.code()}
        ).body["session"]
        self.clock.advance(60)
        self.assertEqual(self.change().status, 200)
        self.assertEqual(self.through("POST", "/v1/web/sessions/open", {"session": session}).code, "SESSION_ENDED")
        self.clock.advance(60)
        self.assertEqual(self.log_in().sentence, REFUSED)
        self.assertEqual(self.log_in(password="a brand new tangerine").status, 200)
        [event] = self.emitted.named("user.password_change")
        self.assertEqual(event.fields, {"user": "alice", "method": "password", "addr.remote": CLIENT})

    def test_refused(self) -> None:
        """The old one has to be right, and so has the code; the new one has to be a good one."""
        self.settle()
        self.assertEqual(self.change(old_password="a wrong password").sentence, REFUSED)
        self.assertEqual(self.change(otp_token="000000").sentence, REFUSED)
        self.assertEqual(self.change(new_password="password1234").code, "PASSWORD_REFUSED")
        self.assertEqual(self.change(new_password="").code, "PASSWORD_REFUSED")
        self.assertEqual(self.log_in().status, 200)

    def test_reset_meanwhile(self) -> None:
        """Whoever had the old one sets no password after a reset, however long the new one takes to hash."""
        for method in ("verify", "make"):
            with self.subTest(method):
                self.setUp()
                self.settle()
                usual = getattr(Hashing, method)

                async def slow(hashing: Hashing, *given: object, usual: Callable[..., Any] = usual) -> object:
                    found: object = await usual(hashing, *given)
                    await self.cluster.people.vault.put("alice", Credentials())
                    return found

                self.patch(Hashing, method, slow)
                self.assertEqual(self.change().code, "LOGIN_REFUSED")
                self.patch(Hashing, method, usual)
                self.assertEqual(self.now(self.cluster.people.vault.find("alice")).password, None)

    def test_of_another(self) -> None:
        """With one's own password nobody changes another's."""
        self.settle()
        self.add(User("bob", ("access",)))
        typed = {"old_password": PASSWORD, "new_password": "a brand new tangerine", "otp_token": self.code()}
        self.assertEqual(self.through("PUT", "/v1/users/bob/web/password", typed).sentence, REFUSED)


class RemovedTests(PeopleTestCase):
    def test_nothing_stays(self) -> None:
        """With a user goes all that is secret of them."""
        self.settle()
        self.log_in(password="a wrong password")
        self.through("POST", "/v1/users/alice/web/sessions", {"password": PASSWORD, "otp_token": self.code()})
        self.invite()
        self.log_in(password="a wrong password")
        self.call(self.admin(), "DELETE", "/v1/users/alice")
        left = [
            item.key
            for prefix in ("credentials/", "web_sessions/", "attempts/", "users/", "invites/")
            for item in self.now(self.backend.range(prefix))
        ]
        self.assertEqual(left, [])
        self.add(ALICE)
        self.assertEqual(self.log_in().sentence, REFUSED)
