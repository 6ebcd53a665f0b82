"""What the client's half of a login writes is what the server's half reads, and back, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.client.auth import ClientAuth, Credentials, LoginRefused, Questions
from teleport_conch.ssh.client.identities import KeyIdentity
from teleport_conch.ssh.connection.channel import ChannelOwner
from teleport_conch.ssh.login.policy import Ask, Attempt, Claim, KeyClaim, LoginPolicy, Question
from teleport_conch.ssh.login.userauth import FAILURE_S, UserAuth
from tests.certs import samples
from tests.ssh.logins import AuthRecorder
from tests.ssh.recording import RecordingOwner

PRINTABLE = st.characters(categories=("L", "N", "P", "S"))
USERS = st.text(PRINTABLE, min_size=1, max_size=40)
TEXTS = st.text(PRINTABLE, max_size=40)
LINES = st.lists(st.text(PRINTABLE, min_size=1, max_size=40), min_size=1, max_size=4)
ANSWERS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
QUESTIONS = st.lists(st.tuples(st.builds(Question, TEXTS, st.booleans()), ANSWERS), max_size=4)
ROUNDS = st.lists(st.tuples(TEXTS, TEXTS, QUESTIONS), min_size=1, max_size=3)
PLAIN = KeyIdentity.of(samples.ecdsa_key(256))
CERTIFICATE = samples.user_certificate()
CERTIFIED = KeyIdentity.of(samples.SSH_KEY, CERTIFICATE)
LAST = KeyIdentity.of(samples.ecdsa_key(384))
"""With another one behind it, a key is offered before it signs."""


@define
class Taking(LoginPolicy):
    """Takes whatever the server's half hands it, and writes it down."""

    takes: str = "publickey"
    banner: str = ""
    rounds: Sequence[tuple[str, str, Sequence[Question]]] = ()
    plain_keys: bool = True
    refusal: AccessDenied | None = None
    heard: list[object] = field(factory=list)

    def methods(self, user: str) -> Sequence[str]:
        return (self.takes,)

    def check(self, claim: Claim) -> None:
        self.heard.append((claim.user, claim.certificate))

    def check_key(self, claim: KeyClaim) -> None:
        self.heard.append((claim.user, claim.key.to_blob()))

    async def login(self, claim: Claim) -> ChannelOwner:
        assert claim.proof is not None
        return self._let_in()

    async def login_with_key(self, claim: KeyClaim) -> ChannelOwner:
        assert claim.proof is not None
        return self._let_in()

    async def interact(self, attempt: Attempt, ask: Ask) -> ChannelOwner:
        self.heard.append(attempt.user)
        for name, instruction, questions in self.rounds:
            self.heard.append(await ask(*questions, name=name, instruction=instruction))
        return self._let_in()

    async def password(self, attempt: Attempt, password: str) -> ChannelOwner:
        self.heard.append((attempt.user, password))
        return self._let_in()

    def _let_in(self) -> ChannelOwner:
        if self.refusal is not None:
            raise self.refusal
        return RecordingOwner()


@define
class ClientSide:
    """The client's transport: what it sends is read by the server's half at once, with the time that it takes."""

    server: UserAuth
    clock: Clock
    sessionID: bytes
    host_key_blob: bytes
    peerExtensions: dict[bytes, bytes] = field(factory=dict)
    logins: int = 0
    failures: list[Failure] = field(factory=list)

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        self.server.packetReceived(messageType, payload)
        self.clock.advance(FAILURE_S)

    def authenticated(self) -> None:
        self.logins += 1

    def login_failed(self, failure: Failure) -> None:
        self.failures.append(failure)


class RoundTripTests(SynchronousTestCase):
    def log_in(self, policy: Taking, credentials: Credentials, hostbound: bool = False) -> ClientSide:
        """Both halves, until neither has anything to say."""
        clock, recorder = Clock(), AuthRecorder(policy)
        server = UserAuth(clock)
        server.transport = recorder
        server.serviceStarted()
        side = ClientSide(server, clock, recorder.sessionID, recorder.host_key_blob)
        if hostbound:
            side.peerExtensions[b"publickey-hostbound@openssh.com"] = b"0"
        client = ClientAuth(credentials)
        client.transport = side
        client.serviceStarted()
        while recorder.sent:
            client.packetReceived(*recorder.sent.pop(0))
        self.assertEqual(recorder.disconnects, [])
        self.assertEqual(recorder.successes, side.logins)
        return side

    def assert_in(self, side: ClientSide) -> None:
        self.assertEqual((side.logins, side.failures), (1, []))

    @given(USERS, st.booleans(), st.booleans())
    @settings(deadline=None)
    def test_keys(self, user: str, certified: bool, hostbound: bool) -> None:
        """USERAUTH_REQUEST with a key that is offered (PK_OK) and then signs, bound to the host key or not."""
        policy = Taking()
        self.assert_in(self.log_in(policy, Credentials(user, [CERTIFIED if certified else PLAIN, LAST]), hostbound))
        self.assertEqual(set(policy.heard), {(user, CERTIFICATE if certified else PLAIN.blob)})

    @given(USERS, ANSWERS.filter(bool))
    @settings(deadline=None)
    def test_password(self, user: str, word: str) -> None:
        """USERAUTH_REQUEST with a password."""
        policy = Taking("password")
        self.assert_in(self.log_in(policy, Credentials(user, password=_answering(word))))
        self.assertEqual(policy.heard, [(user, word)])

    @given(USERS, ROUNDS)
    @settings(deadline=None)
    def test_questions(self, user: str, rounds: list[tuple[str, str, list[tuple[Question, str]]]]) -> None:
        """USERAUTH_INFO_REQUEST and USERAUTH_INFO_RESPONSE, round by round."""
        asked: list[Questions] = []

        async def answer(questions: Questions) -> Sequence[str]:
            asked.append(questions)
            return answers[len(asked) - 1]

        answers = [tuple(word for _, word in both) for _, _, both in rounds]
        due = [Questions(name, text, tuple(question for question, _ in both)) for name, text, both in rounds]
        policy = Taking("keyboard-interactive", rounds=[(each.name, each.instruction, each.questions) for each in due])
        self.assert_in(self.log_in(policy, Credentials(user, answer=answer)))
        self.assertEqual((asked, policy.heard), (due, [user, *answers]))

    @given(LINES, USERS)
    @settings(deadline=None)
    def test_banner(self, lines: list[str], user: str) -> None:
        """USERAUTH_BANNER: the lines that the policy says, without what moves a cursor."""
        heard: list[str] = []
        credentials = Credentials(user, [PLAIN], banner=heard.append)
        self.assert_in(self.log_in(Taking(banner="\n".join(lines)), credentials))
        self.assertEqual("".join(heard).splitlines(), lines)

    @given(st.sampled_from(("password", "keyboard-interactive", "publickey")), USERS)
    @settings(deadline=None)
    def test_refused(self, method: str, user: str) -> None:
        """USERAUTH_FAILURE: what may be tried instead."""
        credentials = evolve(Credentials(user, [PLAIN]), password=_answering("wrong"), answer=_answer_nothing)
        side = self.log_in(Taking(method, refusal=AccessDenied("No.")), credentials)
        (failure,) = side.failures
        problem = failure.value
        assert isinstance(problem, LoginRefused)
        self.assertIn(f"It takes: {method}.", problem.sentence)


def _answering(word: str) -> Callable[[], Coroutine[Deferred[object], object, str]]:
    async def password() -> str:
        return word

    return password


async def _answer_nothing(questions: Questions) -> Sequence[str]:
    return ()
