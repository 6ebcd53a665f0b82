"""User authentication (RFC 4252), the client's half: keys, certificates, questions and passwords, until one suffices.

Keys are tried first, then questions, then passwords, each only while the server takes it. A key that may ask a person
for something, and any but the last one, is offered before it signs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Protocol

from attrs import field, frozen
from twisted.conch.ssh import userauth as conch
from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from teleport_conch import wire
from teleport_conch.errors import TeleportError
from teleport_conch.ssh.client.identities import Identity, choose_algorithm
from teleport_conch.ssh.login.policy import Question
from teleport_conch.ssh.login.proof import HOSTBOUND, PUBLICKEY, LoginProof
from teleport_conch.ssh.plain_text import plain_text
from teleport_conch.ssh.transport.violation import ProtocolViolation
from teleport_conch.wire import Reader

SERVICE = b"ssh-connection"
MAX_BANNER_CHARS = 1 << 16
"""Of all banners of one login together."""
MAX_QUESTIONS = 32
MAX_QUESTION_CHARS = 1 << 10
MAX_ROUNDS = 16
MAX_TRIES = 3
"""How often a person may answer questions, or type a password, before we give up; servers have a limit of their own."""

_REFUSED = conch.MSG_USERAUTH_FAILURE
_MORE = 60  # its name depends on the method: PK_OK, INFO_REQUEST, PASSWD_CHANGEREQ
_ANSWERS = 61


class LoginRefused(TeleportError):
    """The server lets nobody in with what we have."""

    code = "SSH_LOGIN_REFUSED"
    http_status = 403


@frozen
class Questions:
    """What the server asks at once, in texts without control characters; perhaps nothing, when it only tells."""

    name: str
    instruction: str
    questions: tuple[Question, ...]


def _hear_nothing(text: str) -> None:
    """Nobody reads the banner."""


@frozen
class Credentials:
    """Who logs in, and with what.

    :ivar password: asked for a password, at most :data:`MAX_TRIES` times; None in answer gives up.
    :ivar answer: asked the server's questions, in their order; None gives up.
    :ivar banner: told what the server says before the login, without control characters.
    """

    user: str
    identities: Sequence[Identity] = ()
    password: Callable[[], Awaitable[str | None]] | None = None
    answer: Callable[[Questions], Awaitable[Sequence[str] | None]] | None = None
    banner: Callable[[str], object] = field(default=_hear_nothing)


class LoginTransport(Protocol):
    """What the login needs of the client's transport."""

    peerExtensions: dict[bytes, bytes]

    @property
    def sessionID(self) -> bytes:
        """The identifier of the session."""

    @property
    def host_key_blob(self) -> bytes:
        """The server's host key, or its certificate."""

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Sends one message."""

    def authenticated(self) -> None:
        """The server has let us in; the connection service takes over."""

    def login_failed(self, failure: Failure) -> None:
        """It has not, and will not."""


@frozen
class _Refusal:
    """One request was not enough."""

    methods: tuple[bytes, ...]
    partial: bool = False


@frozen
class _Success:
    """The server has let us in."""


_Attempt = Callable[[], Coroutine[Deferred[object], object, object]]
_ReadMore = Callable[[Reader], object]


class ClientAuth(SSHService):
    """The ``ssh-userauth`` service of one connection of ours."""

    name = b"ssh-userauth"
    transport: LoginTransport  # type: ignore[assignment]  # the part of the client's transport that is used here

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._identities = list(credentials.identities)
        self._tries = {b"keyboard-interactive": MAX_TRIES, b"password": MAX_TRIES}
        self._said: list[str] = []
        self._banner_chars = 0
        self._done = False
        self._answer: Deferred[object] | None = None
        self._read_more: _ReadMore | None = None
        self._running: Deferred[None] | None = None

    def serviceStarted(self) -> None:
        running = Deferred.fromCoroutine(self._log_in())
        self._running = running
        running.addErrback(self._failed)

    def serviceStopped(self) -> None:
        """The login succeeded, or the connection is gone."""
        if self._running is not None and not self._done:
            self._running.cancel()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.transport.login_failed(failure)

    # Messages. Whatever is wrong with one is raised, for the transport to end the connection.

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        reader = Reader(packet)
        if messageNum == conch.MSG_USERAUTH_BANNER:
            self._banner(reader)
            return
        if self._answer is None:
            raise ProtocolViolation(f"message {messageNum} answers nothing")
        answer = self._read(messageNum, reader)
        waiting, self._answer = self._answer, None
        if isinstance(answer, _Success):
            self._done = True
            self.transport.authenticated()  # at once, as what follows this message is for the next service
        waiting.callback(answer)

    def _read(self, number: int, reader: Reader) -> object:
        if number == conch.MSG_USERAUTH_SUCCESS:
            reader.end()
            return _Success()
        if number == _REFUSED:
            refusal = _Refusal(tuple(each.encode() for each in reader.name_list()), reader.boolean())
            reader.end()
            return refusal
        if number == _MORE and self._read_more is not None:
            return self._read_more(reader)
        raise ProtocolViolation(f"message {number} is not due now")

    def _banner(self, reader: Reader) -> None:
        text, _language = reader.string(), reader.string()
        reader.end()
        shown = plain_text(text, MAX_BANNER_CHARS - self._banner_chars)
        self._banner_chars += len(shown)
        if shown:
            self._credentials.banner(shown)

    # The login.

    async def _log_in(self) -> None:
        """Tries one thing after the other. Without keys the server is asked first what it takes."""
        outcome = _Refusal((PUBLICKEY,)) if self._identities else await self._request(b"none")
        while isinstance(outcome, _Refusal):
            if outcome.partial:
                self._tries = dict.fromkeys(self._tries, MAX_TRIES)
            outcome = await self._next(outcome)()

    def _next(self, refusal: _Refusal) -> _Attempt:
        """What to try now. Raises LoginRefused where nothing is left."""
        methods = refusal.methods
        if PUBLICKEY in methods and self._identities:
            return partial(self._with_key, self._identities.pop(0), refusal)
        for method, ask, attempt in (
            (b"keyboard-interactive", self._credentials.answer, self._with_answers),
            (b"password", self._credentials.password, self._with_password),
        ):
            if method in methods and ask is not None and self._tries[method]:
                self._tries[method] -= 1
                return attempt
        raise self._refused(refusal)

    def _refused(self, refusal: _Refusal) -> LoginRefused:
        takes = plain_text(b", ".join(refusal.methods), 200) or "nothing any more"
        tried = "; ".join(self._said) or "nothing that it takes"
        return LoginRefused(
            f"The server does not let {self._credentials.user!r} in. It takes: {takes}. Tried: {tried}.",
            methods=[method.decode("ascii", "replace") for method in refusal.methods],
        )

    async def _request(self, method: bytes, payload: bytes = b"", more: _ReadMore | None = None) -> object:
        """One request, and what the server answers: a refusal, the success, or what ``more`` reads of message 60."""
        head = (wire.text(self._credentials.user), wire.string(SERVICE), wire.string(method))
        return await self._ask(conch.MSG_USERAUTH_REQUEST, b"".join((*head, payload)), more)

    async def _ask(self, number: int, payload: bytes, more: _ReadMore | None) -> object:
        self._read_more = more
        self._answer = answer = Deferred[object]()
        self.transport.sendPacket(number, payload)
        return await answer

    # Keys.

    async def _with_key(self, identity: Identity, before: _Refusal) -> object:
        accepted = self.transport.peerExtensions.get(b"server-sig-algs")
        algorithm = choose_algorithm(identity.blob, None if accepted is None else accepted.split(b","))
        if algorithm is None:
            return self._skip(identity, "the server takes none of its algorithms", before)
        proof = self._proof(algorithm, identity.blob)
        if identity.asks or self._identities:
            answer = await self._request(*_key_request(proof, signed=False), partial(_check_wanted, proof))
            if isinstance(answer, _Refusal | _Success):
                self._said.append(f"{identity.name} (not wanted)")
                return answer
        try:
            signature = await identity.sign(algorithm, proof.signed_part())
        except TeleportError as problem:
            return self._skip(identity, problem.sentence.rstrip("."), before)
        self._said.append(identity.name)
        method, payload = _key_request(proof, signed=True)
        return await self._request(method, payload + wire.string(signature))

    def _skip(self, identity: Identity, why: str, before: _Refusal) -> _Refusal:
        self._said.append(f"{identity.name} ({why})")
        return _Refusal(before.methods)

    def _proof(self, algorithm: bytes, blob: bytes) -> LoginProof:
        """What is signed; bound to the server's host key where the server knows how to check that."""
        bound = self.transport.peerExtensions.get(b"publickey-hostbound@openssh.com") == b"0"
        host_key = self.transport.host_key_blob if bound else b""
        return LoginProof(self.transport.sessionID, self._credentials.user, algorithm, blob, b"", host_key)

    # Questions and passwords.

    async def _with_answers(self) -> object:
        assert self._credentials.answer is not None
        self._said.append("answers to its questions")
        more = _read_questions
        asked = await self._request(b"keyboard-interactive", wire.string(b"") * 2, more)
        for _ in range(MAX_ROUNDS):
            if not isinstance(asked, Questions):
                return asked
            answers = await self._credentials.answer(asked)
            if answers is None:
                raise LoginRefused("The login was given up.")
            if len(answers) != len(asked.questions):
                raise ValueError("one answer is due for each question")
            asked = await self._ask(_ANSWERS, wire.uint32(len(answers)) + b"".join(map(wire.text, answers)), more)
        raise LoginRefused(f"The server asked questions {MAX_ROUNDS} times, and there seems to be no end to it.")

    async def _with_password(self) -> object:
        assert self._credentials.password is not None
        self._said.append("a password")
        password = await self._credentials.password()
        if password is None:
            raise LoginRefused("The login was given up.")
        answer = await self._request(b"password", wire.boolean(False) + wire.text(password), _read_nothing)
        if answer is None:
            raise LoginRefused("The server wants a new password first; set one by another way, then log in.")
        return answer


def _key_request(proof: LoginProof, signed: bool) -> tuple[bytes, bytes]:
    """The method, and its payload up to the signature."""
    payload = wire.boolean(signed) + wire.string(proof.algorithm) + wire.string(proof.blob)
    return (HOSTBOUND, payload + wire.string(proof.host_key)) if proof.host_key else (PUBLICKEY, payload)


def _check_wanted(proof: LoginProof, reader: Reader) -> bool:
    """PK_OK: the server wants this very key, signed for with this very algorithm."""
    algorithm, blob = reader.string(), reader.string()
    reader.end()
    if (algorithm, blob) != (proof.algorithm, proof.blob):
        raise ProtocolViolation("a key is wanted that was not offered")
    return True


def _read_questions(reader: Reader) -> Questions:
    """INFO_REQUEST (RFC 4256, section 3.2)."""
    name, instruction, _language = reader.string(), reader.string(), reader.string()
    count = reader.uint32()
    if count > MAX_QUESTIONS:
        raise ProtocolViolation(f"{count} questions at once, where {MAX_QUESTIONS} are the limit")
    questions = tuple(Question(plain_text(reader.string(), MAX_QUESTION_CHARS), reader.boolean()) for _ in range(count))
    reader.end()
    return Questions(plain_text(name, MAX_QUESTION_CHARS), plain_text(instruction, MAX_BANNER_CHARS), questions)


def _read_nothing(reader: Reader) -> None:
    """PASSWD_CHANGEREQ: whatever it says, we cannot."""
