"""The client's half of user authentication: what is tried, in which order, and what a server may answer."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.errors import AccessDenied, TeleportError
from teleport_conch.ssh.client.auth import ClientAuth, Credentials, LoginRefused, Questions
from teleport_conch.ssh.client.identities import KeyIdentity
from teleport_conch.ssh.login.policy import Question
from teleport_conch.ssh.login.proof import LoginProof, offered_certificate, offered_key
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import WireError
from tests.certs import samples

ED25519 = KeyIdentity.of(samples.SSH_KEY)
ECDSA = KeyIdentity.of(samples.ecdsa_key(256))
RSA = KeyIdentity.of(samples.rsa_key())
CERTIFICATE = samples.user_certificate()
CERTIFIED = KeyIdentity.of(samples.SSH_KEY, CERTIFICATE)
HEAD = wire.byte(50) + wire.string(b"alice") + wire.string(b"ssh-connection")

FAILURE, SUCCESS, BANNER, MORE = 51, 52, 53, 60


class RecordingTransport:
    """Keeps what is sent, and what became of the login."""

    def __init__(self) -> None:
        self.peerExtensions: dict[bytes, bytes] = {}
        self.sessionID = b"session"
        self.host_key_blob = b"host key"
        self.sent: list[bytes] = []
        self.logins = 0
        self.failures: list[Exception] = []

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        self.sent.append(wire.byte(messageType) + payload)

    def authenticated(self) -> None:
        self.logins += 1

    def login_failed(self, failure: Failure) -> None:
        assert isinstance(failure.value, Exception)
        self.failures.append(failure.value)


@frozen
class Asking:
    """An identity that asks its person, who may say no."""

    blob: bytes = samples.SSH_BLOB
    name: str = "the agent's key"
    asks: bool = True
    refusal: TeleportError | None = None

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        if self.refusal is not None:
            raise self.refusal
        return await ED25519.sign(algorithm, data)


def offer(algorithm: bytes, blob: bytes, signed: bool = False) -> bytes:
    return HEAD + wire.string(b"publickey") + wire.boolean(signed) + wire.string(algorithm) + wire.string(blob)


def wanted(algorithm: bytes, blob: bytes) -> bytes:
    return wire.string(algorithm) + wire.string(blob)


def questions(*asked: tuple[bytes, bool], name: bytes = b"", instruction: bytes = b"") -> bytes:
    parts = [wire.string(name), wire.string(instruction), wire.string(b""), wire.uint32(len(asked))]
    return b"".join(parts + [wire.string(text) + wire.boolean(echo) for text, echo in asked])


class LoginCase(SynchronousTestCase):
    """A login whose server is the test."""

    def begin(self, *identities: KeyIdentity | Asking, **more: object) -> None:
        self.banners: list[str] = []
        credentials = Credentials("alice", identities, banner=self.banners.append)
        # mypy knows the type of each field that evolve() is given by name, and of none in a dictionary.
        self.start(evolve(credentials, **more))  # type: ignore[arg-type]

    def start(self, credentials: Credentials, **extensions: bytes) -> None:
        self.transport = RecordingTransport()
        self.transport.peerExtensions = {name.replace("_", "-").encode(): each for name, each in extensions.items()}
        self.service = ClientAuth(credentials)
        self.service.transport = self.transport
        self.service.serviceStarted()

    def answer(self, number: int, payload: bytes = b"") -> None:
        self.service.packetReceived(number, payload)

    def refuse(self, *methods: str, partial: bool = False) -> None:
        self.answer(FAILURE, wire.name_list(methods) + wire.boolean(partial))

    def said(self) -> bytes:
        """What was said since, one message."""
        (message,) = self.transport.sent
        self.transport.sent.clear()
        return message

    def assert_in(self) -> None:
        self.assertEqual((self.transport.logins, self.transport.failures), (1, []))

    def assert_refused(self, sentence: str) -> None:
        (problem,) = self.transport.failures
        assert isinstance(problem, LoginRefused), problem
        self.assertEqual(problem.sentence, sentence)


class KeyTests(LoginCase):
    def test_one_key(self) -> None:
        """A single key signs at once: one message, and what it signs is what a server verifies."""
        for identity, algorithm in (
            (ED25519, b"ssh-ed25519"),
            (ECDSA, b"ecdsa-sha2-nistp256"),
            (RSA, b"rsa-sha2-512"),
            (CERTIFIED, b"ssh-ed25519-cert-v01@openssh.com"),
        ):
            self.begin(identity)
            said = self.said()
            start = offer(algorithm, identity.blob, signed=True)
            self.assertTrue(said.startswith(start))
            signature = wire.Reader(said[len(start) :]).string()
            proof = LoginProof(b"session", "alice", algorithm, identity.blob, signature)
            shown = offered_certificate if b"-cert-" in algorithm else offered_key
            proof.verify(shown(algorithm, identity.blob))
            self.answer(SUCCESS)
            self.assert_in()

    def test_several_keys(self) -> None:
        """Keys are offered first, in order, and only the one that is wanted signs."""
        self.begin(ED25519, ECDSA)
        self.assertEqual(self.said(), offer(b"ssh-ed25519", ED25519.blob))
        self.refuse("publickey")
        start = offer(b"ecdsa-sha2-nistp256", ECDSA.blob, signed=True)
        self.assertTrue(self.said().startswith(start), "the last one signs at once")
        self.answer(SUCCESS)
        self.assert_in()

    def test_wanted(self) -> None:
        """A key that is wanted signs."""
        self.begin(ED25519, ECDSA)
        self.said()
        self.answer(MORE, wanted(b"ssh-ed25519", ED25519.blob))
        self.assertTrue(self.said().startswith(offer(b"ssh-ed25519", ED25519.blob, signed=True)))
        self.answer(SUCCESS)
        self.assert_in()

    def test_a_key_that_asks(self) -> None:
        """Where signing may ask a person, the server is asked first, even for a single key."""
        self.begin(Asking())
        self.assertEqual(self.said(), offer(b"ssh-ed25519", ED25519.blob))
        self.answer(MORE, wanted(b"ssh-ed25519", ED25519.blob))
        self.assertTrue(self.said().startswith(offer(b"ssh-ed25519", ED25519.blob, signed=True)))

    def test_a_key_that_cannot_sign(self) -> None:
        """The person says no: the next key is tried, and the reason is told in the end."""
        self.begin(Asking(refusal=AccessDenied("The agent refuses.")), ECDSA)
        self.said()
        self.answer(MORE, wanted(b"ssh-ed25519", ED25519.blob))
        self.assertTrue(self.said().startswith(offer(b"ecdsa-sha2-nistp256", ECDSA.blob, signed=True)))
        self.refuse("publickey")
        self.assert_refused(
            "The server does not let 'alice' in. It takes: publickey. Tried: the agent's key (The agent refuses); "
            f"ecdsa-sha2-nistp256 {keys.fingerprint(ECDSA.blob)}."
        )

    def test_server_sig_algs(self) -> None:
        """RSA signs with what the server lists, and not at all where that is nothing but SHA-1."""
        credentials = Credentials("alice", [RSA])
        self.start(credentials, server_sig_algs=b"ssh-ed25519,rsa-sha2-256")
        self.assertTrue(self.said().startswith(offer(b"rsa-sha2-256", RSA.blob, signed=True)))
        self.start(credentials, server_sig_algs=b"ssh-rsa,ssh-ed25519")
        self.assertEqual(self.transport.sent, [])
        self.assert_refused(
            "The server does not let 'alice' in. It takes: publickey. Tried: ssh-rsa "
            f"{keys.fingerprint(RSA.blob)} (the server takes none of its algorithms)."
        )

    def test_hostbound(self) -> None:
        """Where the server can check it, the login is bound to its host key."""
        self.start(Credentials("alice", [ED25519]), **{"publickey-hostbound@openssh.com": b"0"})
        said = self.said()
        start = HEAD + wire.string(b"publickey-hostbound-v00@openssh.com") + wire.boolean(True)
        start += wanted(b"ssh-ed25519", ED25519.blob) + wire.string(b"host key")
        self.assertTrue(said.startswith(start))
        signature = wire.Reader(said[len(start) :]).string()
        proof = LoginProof(b"session", "alice", b"ssh-ed25519", ED25519.blob, signature, b"host key")
        proof.verify(offered_key(b"ssh-ed25519", ED25519.blob))

    def test_refused(self) -> None:
        """With no key left, the sentence says what the server takes and what was tried."""
        self.begin(ED25519)
        self.refuse("password", "keyboard-interactive")
        fingerprint = keys.fingerprint(ED25519.blob)
        self.assert_refused(
            "The server does not let 'alice' in. It takes: password, keyboard-interactive. "
            f"Tried: ssh-ed25519 {fingerprint}."
        )

    def test_nothing_to_try(self) -> None:
        """Without anything the server is asked what it takes; it may even let in everybody."""
        self.begin()
        self.assertEqual(self.said(), HEAD + wire.string(b"none"))
        self.refuse()
        self.assert_refused(
            "The server does not let 'alice' in. It takes: nothing any more. Tried: nothing that it takes."
        )
        self.begin()
        self.answer(SUCCESS)
        self.assert_in()


class InteractiveTests(LoginCase):
    """Questions and passwords."""

    def begin_asking(self, *answers: Sequence[str] | None, **more: object) -> None:
        self.asked: list[Questions] = []
        waiting = list(answers)

        async def answer(asked: Questions) -> Sequence[str] | None:
            self.asked.append(asked)
            return waiting.pop(0)

        self.begin(answer=answer, **more)

    def begin_with_passwords(self, *passwords: str | None) -> None:
        waiting = list(passwords)

        async def password() -> str | None:
            return waiting.pop(0)

        self.begin(password=password)

    def test_questions(self) -> None:
        """The server's questions are asked in rounds, and what is typed is sent in order."""
        self.begin_asking(("secret", "123456"), ())
        self.said()
        self.refuse("publickey", "keyboard-interactive")
        self.assertEqual(self.said(), HEAD + wire.string(b"keyboard-interactive") + wire.string(b"") * 2)
        self.answer(MORE, questions((b"Password: ", False), (b"Code: ", True), name=b"Login", instruction=b"Both"))
        self.assertEqual(self.said(), b"\x3d\0\0\0\2" + wire.string(b"secret") + wire.string(b"123456"))
        self.answer(MORE, questions(instruction=b"Your password expires soon."))
        self.assertEqual(self.said(), b"\x3d\0\0\0\0")
        self.answer(SUCCESS)
        self.assert_in()
        both = (Question("Password: ", echo=False), Question("Code: ", echo=True))
        self.assertEqual(
            self.asked, [Questions("Login", "Both", both), Questions("", "Your password expires soon.", ())]
        )

    def test_three_tries(self) -> None:
        """Wrong answers are asked for three times."""
        self.begin_asking(("1",), ("2",), ("3",))
        for _ in range(3):
            self.refuse("keyboard-interactive")
            self.answer(MORE, questions((b"?", False)))
        self.refuse("keyboard-interactive")
        self.assert_refused(
            "The server does not let 'alice' in. It takes: keyboard-interactive. Tried: "
            "answers to its questions; answers to its questions; answers to its questions."
        )

    def test_given_up(self) -> None:
        """The person gives up."""
        self.begin_asking(None)
        self.refuse("keyboard-interactive")
        self.answer(MORE, questions((b"?", False)))
        self.assert_refused("The login was given up.")
        self.begin_with_passwords(None)
        self.refuse("password")
        self.assert_refused("The login was given up.")

    def test_no_end(self) -> None:
        """A server that asks for ever is not answered for ever."""
        self.begin_asking(*[()] * 16)
        self.refuse("keyboard-interactive")
        for _ in range(17):
            self.answer(MORE, questions())
        self.assert_refused("The server asked questions 16 times, and there seems to be no end to it.")

    def test_password(self) -> None:
        """A password is sent where the server takes one, and once more where it was wrong."""
        self.begin_with_passwords("wrong", "größer")
        self.refuse("password")
        self.transport.sent.clear()
        self.refuse("password")
        self.assertEqual(
            self.said(), HEAD + wire.string(b"password") + wire.boolean(False) + wire.string("größer".encode())
        )
        self.answer(SUCCESS)
        self.assert_in()

    def test_a_new_password(self) -> None:
        """A server that wants a new password first is told of to the person."""
        self.begin_with_passwords("old")
        self.refuse("password")
        self.answer(MORE, wire.string(b"expired") + wire.string(b""))
        self.assert_refused("The server wants a new password first; set one by another way, then log in.")

    def test_order(self) -> None:
        """Keys, then questions, then passwords, and each only where the server takes it."""

        async def answer(asked: Questions) -> Sequence[str] | None:
            return ()

        async def password() -> str | None:
            return "secret"

        self.begin(ED25519, answer=answer, password=password)
        self.said()
        self.refuse("password", "keyboard-interactive")
        self.assertIn(b"keyboard-interactive", self.said())
        self.refuse("password")
        self.assertIn(b"secret", self.said())


class PartialTests(LoginCase):
    def test_a_key_and_a_password(self) -> None:
        """One step was good; the next one is of another method."""

        async def password() -> str | None:
            return "secret"

        self.begin(ED25519, password=password)
        self.said()
        self.refuse("password", partial=True)
        self.assertIn(wire.string(b"secret"), self.said())
        self.answer(SUCCESS)
        self.assert_in()

    def test_two_keys(self) -> None:
        """The same method again: the next key is tried, never the same one."""
        self.begin(ED25519, ECDSA)
        self.answer(MORE, wanted(b"ssh-ed25519", ED25519.blob))
        self.transport.sent.clear()
        self.refuse("publickey", partial=True)
        self.assertTrue(self.said().startswith(offer(b"ecdsa-sha2-nistp256", ECDSA.blob, signed=True)))
        self.refuse("publickey", partial=True)
        self.assertIn("Tried: ssh-ed25519 ", str(self.transport.failures))


class T111Banner(LoginCase):
    """Threat 111: what the server says before the login reaches the person without what would move a cursor."""

    def test_banner(self) -> None:
        """Banners are told in order, at any time of the login."""
        self.begin(ED25519)
        self.answer(BANNER, wire.string(b"\x1b]52;c;cm0=\x07Welcome\r\n\x1b[2J") + wire.string(b"en"))
        self.answer(BANNER, wire.string(b"\x1b") + wire.string(b""))
        self.answer(BANNER, wire.string(b"Refused.") + wire.string(b""))
        self.assertEqual(self.banners, ["]52;c;cm0=Welcome\n[2J", "Refused."])

    def test_long(self) -> None:
        """All banners of a login together are bounded."""
        self.begin(ED25519)
        for _ in range(10):
            self.answer(BANNER, wire.string(b"x" * 30_000) + wire.string(b""))
        self.assertEqual(sum(map(len, self.banners)), 65536)

    def test_questions(self) -> None:
        """So are the server's questions."""
        asked = []

        async def answer(questions: Questions) -> Sequence[str] | None:
            asked.append(questions)
            return None

        self.begin(answer=answer)
        self.refuse("keyboard-interactive")
        self.answer(MORE, questions((b"\x1b[8mPassword:", False), name=b"\x9b1m", instruction=b"a\x07b"))
        self.assertEqual(asked, [Questions("\ufffd1m", "ab", (Question("[8mPassword:"),))])

    def test_methods(self) -> None:
        """And the names of methods in a refusal."""
        self.begin(ED25519)
        self.answer(FAILURE, wire.string(b"a\x1b[31m,b") + wire.boolean(False))
        self.assertIn("It takes: a[31m, b. Tried", str(self.transport.failures))


class ViolationTests(LoginCase):
    """Messages that are wrong are raised, for the transport to end the connection."""

    def test_not_due(self) -> None:
        """Messages of a server that answer nothing, or are a client's."""
        self.begin(ED25519)
        for number in (50, 61, 60, 99):
            error = self.assertRaises(ProtocolViolation, self.answer, number)
            self.assertEqual(str(error), f"message {number} is not due now")
        self.answer(SUCCESS)
        error = self.assertRaises(ProtocolViolation, self.answer, SUCCESS)
        self.assertEqual(str(error), "message 52 answers nothing")
        self.assert_in()

    def test_another_key(self) -> None:
        """A server that wants a key which was not offered; it gets no signature."""
        self.begin(ED25519, ECDSA)
        self.said()
        for said in (wanted(b"ssh-ed25519", ECDSA.blob), wanted(b"ssh-rsa", ED25519.blob)):
            error = self.assertRaises(ProtocolViolation, self.answer, MORE, said)
            self.assertEqual(str(error), "a key is wanted that was not offered")
        self.assertEqual(self.transport.sent, [])

    def test_truncated(self) -> None:
        """Messages that are cut off or go on."""
        self.begin(ED25519, ECDSA)
        good = wanted(b"ssh-ed25519", ED25519.blob)
        for number, said in (
            (FAILURE, wire.name_list(["publickey"])),
            (FAILURE, wire.name_list(["publickey"]) + b"\0\0"),
            (SUCCESS, b"\0"),
            (BANNER, wire.string(b"text")),
            (MORE, good[:-1]),
            (MORE, good + b"\0"),
        ):
            self.assertRaises(WireError, self.answer, number, said)
        self.assertEqual(self.transport.logins, 0)

    def test_too_many_questions(self) -> None:
        """More questions at once than anybody asks."""

        async def answer(asked: Questions) -> Sequence[str] | None:
            return ()

        self.begin(answer=answer)
        self.refuse("keyboard-interactive")
        error = self.assertRaises(ProtocolViolation, self.answer, MORE, questions(*[(b"?", False)] * 33))
        self.assertEqual(str(error), "33 questions at once, where 32 are the limit")

    def test_the_connection_goes(self) -> None:
        """A login that is under way is given up with its connection, and nobody is told twice."""
        self.begin(ED25519)
        self.service.serviceStopped()
        self.assertEqual(self.transport.failures, [])
        self.begin()

        async def password() -> str | None:
            await Deferred()
            return None

        self.begin(password=password)
        self.refuse("password")
        self.service.serviceStopped()
        self.assertEqual(self.transport.failures, [])

    @given(st.lists(st.tuples(st.integers(50, 62), st.binary(max_size=40)), max_size=5))
    def test_any_bytes(self, messages: list[tuple[int, bytes]]) -> None:
        """Whatever arrives is answered, or refused in one of two ways."""
        self.begin(ED25519, ECDSA)
        for number, payload in messages:
            try:
                self.answer(number, payload)
            except (ProtocolViolation, WireError):
                continue
