"""Questions and answers, passwords, and logins in several steps."""

from __future__ import annotations

import hypothesis
from attrs import evolve
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from teleport_conch import wire
from teleport_conch.ssh.connection.service import Connection
from teleport_conch.ssh.login.interactive import MAX_ANSWER_BYTES, MAX_ROUNDS
from teleport_conch.ssh.login.policy import LoginPolicy
from tests.certs import samples
from tests.ssh.auth_case import SUCCESS, AuthCase, banner, failure
from tests.ssh.logins import ed25519_client
from tests.ssh.policies import CertificateAndCode, CertifiedOwner, CodeOnly, KeysAndPasswords

ASK = failure("keyboard-interactive")
CERTIFICATE = samples.user_certificate()
HOLD = failure("keyboard-interactive", partial=True)


def request(method: str, body: bytes = b"", user: bytes = b"root") -> bytes:
    return wire.string(user) + wire.string(b"ssh-connection") + wire.text(method) + body


def interactive(user: bytes = b"root") -> bytes:
    """RFC 4256, section 3.1."""
    return request("keyboard-interactive", wire.string(b"") + wire.string(b"pam"), user)


def answers(*given: bytes) -> bytes:
    """RFC 4256, section 3.4."""
    return wire.uint32(len(given)) + b"".join(map(wire.string, given))


def password(word: bytes, change: bytes | None = None) -> bytes:
    """RFC 4252, section 8."""
    changing = change is not None
    return request("password", wire.boolean(changing) + wire.string(word) + (wire.string(change or b"") * changing))


def question(number: int) -> tuple[int, bytes]:
    """What :class:`CodeOnly` asks in its round of that number."""
    head = wire.text("Second factor") + wire.text(f"Round {number}.") + wire.string(b"")
    return 60, head + wire.uint32(1) + wire.text("Code: ") + wire.boolean(False)


class LoginCase(AuthCase):
    def use(self, policy: LoginPolicy) -> None:
        """Begins again, with this policy."""
        self.setUp()
        self.transport.login_policy = policy
        self.auth.serviceStarted()

    def answer(self, payload: bytes) -> None:
        self.auth.packetReceived(61, payload)
        self.clock.advance(1)

    def assert_sent(self, *messages: tuple[int, bytes]) -> None:
        self.assertEqual((self.transport.sent, self.transport.disconnects), (list(messages), []))
        self.transport.sent.clear()

    def owner(self) -> object:
        (connection,) = self.transport.services
        assert isinstance(connection, Connection)
        return connection.owner


class InteractiveTests(LoginCase):
    def test_answered(self) -> None:
        """A question, its answer, and the connection."""
        self.use(policy := CodeOnly())
        self.ask(interactive())
        self.assert_sent(question(1))
        self.answer(answers(b"123456"))
        self.assert_sent(SUCCESS)
        (attempt,) = policy.asked
        self.assertEqual((attempt.user, attempt.client), ("root", ("192.0.2.7", 50000)))

    def test_rounds(self) -> None:
        """A policy may ask again, knowing what was answered; not for ever."""
        self.use(policy := CodeOnly(rounds=MAX_ROUNDS))
        self.ask(interactive())
        for number in range(MAX_ROUNDS):
            self.assert_sent(question(number + 1))
            self.answer(answers(b"123456"))
        self.assert_sent(SUCCESS)
        self.assertEqual(len(policy.given), MAX_ROUNDS)
        self.use(CodeOnly(rounds=MAX_ROUNDS + 1))
        self.ask(interactive())
        for _ in range(MAX_ROUNDS):
            self.answer(answers(b"123456"))
        self.assertEqual(self.transport.disconnects, [(11, b"the login failed; the log of the server says why")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_wrong(self) -> None:
        """A wrong answer is a failure, and says nothing of why; the log does, without the answer."""
        self.use(CodeOnly())
        self.ask(interactive())
        with capturedLogs() as logged:
            self.answer(answers(b"654321"))
        self.assert_sent(question(1), ASK)
        self.assertEqual(list(map(formatEvent, logged)), ["192.0.2.7:50000 was refused as 'root': The code is wrong."])

    def test_no_answers(self) -> None:
        """What no person types is as good as wrong, and no policy sees it (threat 34)."""
        long = b"x" * (MAX_ANSWER_BYTES + 1)
        for given in (answers(), answers(b"1", b"2"), answers(long), answers(b"123456\0"), answers(b"\xff")):
            self.use(policy := CodeOnly())
            self.ask(interactive())
            self.answer(given)
            self.assert_sent(question(1), ASK)
            self.assertEqual(policy.given, [])

    def test_malformed(self) -> None:
        """Answers that are cut off, or go on, end the connection."""
        whole = answers(b"123456")
        for given in (*(whole[:length] for length in range(len(whole))), whole + b"!"):
            self.use(CodeOnly())
            self.ask(interactive())
            self.answer(given)
            self.assertEqual(self.transport.disconnects, [(2, b"malformed authentication request")])
            self.assertEqual(self.transport.services, [])

    def test_not_asked(self) -> None:
        """Answers to no question end the connection."""
        self.use(CodeOnly())
        self.answer(answers(b"123456"))
        self.assertEqual(self.transport.disconnects, [(2, b"log in first")])

    def test_answered_twice(self) -> None:
        """And so does a second answer."""
        self.use(CodeOnly(wait=Deferred()))
        self.ask(interactive())
        self.answer(answers(b"123456"))
        self.answer(answers(b"123456"))
        self.assertEqual(self.transport.disconnects, [(2, b"log in first")])
        self.assertEqual(self.transport.services, [])

    def test_abandoned(self) -> None:
        """A client may begin something else instead: nothing answers what it began before, and it counts."""
        self.use(CodeOnly())
        for number in range(5):
            self.ask(interactive())
            self.assert_sent(question(1))
            self.assertEqual(self.auth._counts.failures, number)
        self.answer(answers(b"123456"))
        self.assert_sent(SUCCESS)

    def test_abandoned_too_late(self) -> None:
        """A policy that has its answer, and is not done, lets nobody in who goes on without waiting for it."""
        wait: Deferred[None] = Deferred()
        self.use(policy := CodeOnly(wait=wait))
        self.ask(interactive())
        self.answer(answers(b"123456"))
        self.ask(request("none"))
        wait.callback(None)
        self.clock.advance(1)
        self.assert_sent(question(1), ASK)
        self.assertEqual((len(policy.given), self.transport.services), (1, []))

    def test_lost(self) -> None:
        """With the connection goes the question."""
        self.use(CodeOnly())
        self.ask(interactive())
        self.auth.serviceStopped()
        self.assertEqual((self.transport.services, self.clock.getDelayedCalls()), ([], []))

    def test_not_offered(self) -> None:
        """Where no policy wants answers, nobody is asked."""
        self.ask(interactive())
        self.assert_sent(failure("publickey"))


class PasswordTests(LoginCase):
    def test_right(self) -> None:
        self.use(KeysAndPasswords())
        self.ask(password(b"correct horse"))
        self.assert_sent(SUCCESS)

    def test_wrong(self) -> None:
        """A wrong password is a failure, as is one that is none: empty, endless, with a NUL, no text, or a new one."""
        wrong = failure("publickey", "password")
        for given, seen in (
            (password(b"wrong"), ["wrong"]),
            (password(b"x" * MAX_ANSWER_BYTES), ["x" * MAX_ANSWER_BYTES]),
            (password(b""), []),
            (password(b"x" * (MAX_ANSWER_BYTES + 1)), []),
            (password(b"correct horse\0"), []),
            (password(b"\xff"), []),
            (password(b"correct horse", change=b"new"), []),
        ):
            self.use(policy := KeysAndPasswords())
            self.ask(given)
            self.assert_sent(wrong)
            self.assertEqual((policy.passwords, self.auth._counts.failures), (seen, 1))

    def test_never_in_the_log(self) -> None:
        """What was typed is nowhere in the log."""
        self.use(KeysAndPasswords())
        with capturedLogs() as logged:
            self.ask(password(b"hunter2"))
            self.ask(password(b"hunter2\0"))
        self.assertEqual(len(logged), 2)
        self.assertNotIn("hunter2", repr(logged))

    def test_not_offered(self) -> None:
        """Where no policy wants passwords, none is looked at, however it is formed."""
        for given in (password(b"correct horse"), request("password", b"rubbish")):
            self.setUp()
            self.ask(given)
            self.assert_sent(failure("publickey"))


class StepsTests(LoginCase):
    """A certificate, then a code."""

    def begin(self) -> CertificateAndCode:
        self.use(policy := CertificateAndCode())
        self.ask(ed25519_client(CERTIFICATE).request())
        return policy

    def test_both(self) -> None:
        """The first step names what is left, and only both together are a login."""
        policy = self.begin()
        self.assert_sent(HOLD)
        self.assertEqual((self.transport.services, self.transport.successes), ([], 0))
        self.ask(interactive())
        self.answer(answers(b"123456"))
        self.assert_sent(question(1), SUCCESS)
        self.assertEqual(len(policy.logged_in), 1)
        owner = self.owner()
        assert isinstance(owner, CertifiedOwner)
        self.assertEqual(owner.certificate, CERTIFICATE)

    def test_the_second_alone(self) -> None:
        """Nobody begins with the second step."""
        self.use(CertificateAndCode())
        self.ask(interactive())
        self.assert_sent(failure("publickey"))

    def test_the_first_again(self) -> None:
        """A step that was done is not offered any more."""
        self.begin()
        self.ask(ed25519_client().request())
        self.assert_sent(HOLD, ASK)

    def test_a_step_is_no_failure(self) -> None:
        """What was good does not count among the failures."""
        self.begin()
        self.assertEqual(self.auth._counts.failures, 0)

    def test_banner(self) -> None:
        """A policy's text is read by everybody, once, before anything else."""
        policy = CertificateAndCode()
        policy.banner = "Property of Example.\nGo \x1b[31maway\x1b[0m."
        self.use(policy)
        self.ask(request("none"))
        self.ask(request("none", user=b"alice"))
        self.assert_sent(banner("Property of Example.\r\nGo [31maway[0m."), *[failure("publickey")] * 2)


class MalformedTests(LoginCase):
    @hypothesis.given(st.binary(max_size=100))
    def test_any_answer(self, payload: bytes) -> None:
        """Whatever is sent as an answer, it logs nobody in and breaks nothing."""
        self.use(CodeOnly(code="never"))
        self.ask(interactive())
        self.answer(payload)
        self.assertEqual((self.transport.services, self.flushLoggedErrors()), ([], []))

    def test_cut_off(self) -> None:
        """Requests that end too early, or go on, end the connection."""
        for whole, policy in ((interactive(), CodeOnly()), (password(b"x"), KeysAndPasswords())):
            for payload in (*(whole[:length] for length in range(40, len(whole))), whole + b"!"):
                self.use(evolve(policy))
                self.ask(payload)
                self.assertEqual(self.transport.disconnects, [(2, b"malformed authentication request")], payload)
