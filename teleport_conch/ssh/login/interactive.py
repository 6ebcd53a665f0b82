"""Logins by what a person types: keyboard-interactive (RFC 4256) and the method ``password`` (RFC 4252, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from teleport_conch import wire
from teleport_conch.errors import AccessDenied
from teleport_conch.ssh.login.policy import Question
from teleport_conch.wire import Reader

INTERACTIVE = b"keyboard-interactive"
PASSWORD = b"password"
MSG_INFO_REQUEST = 60
MSG_INFO_RESPONSE = 61

MAX_ANSWER_BYTES = 1024
MAX_QUESTIONS = 16
"""In one round; how many rounds there are is bounded as well."""
MAX_ROUNDS = 8


class Abandoned(Exception):
    """The client began something else instead of answering, which is its right (RFC 4252, section 5.1)."""


class Interaction:
    """One attempt by questions and answers; an :class:`~teleport_conch.ssh.login.policy.Ask` for the policy.

    :param send: sends one message.
    """

    def __init__(self, send: Callable[[int, bytes], None]) -> None:
        self._send = send
        self._rounds = 0
        self._answered: Deferred[bytes] | None = None
        self.abandoned = False

    async def __call__(self, *questions: Question, name: str = "", instruction: str = "") -> tuple[str, ...]:
        """See :class:`~teleport_conch.ssh.login.policy.Ask`."""
        if len(questions) > MAX_QUESTIONS or self._rounds == MAX_ROUNDS:
            raise ValueError("a policy asks too much")
        self._rounds += 1
        self._answered = Deferred()
        self._send(MSG_INFO_REQUEST, _info_request(questions, name, instruction))
        try:
            return _answers(await self._answered, len(questions))
        finally:
            self._answered = None

    def answer(self, payload: bytes) -> bool:
        """The client says this; whether it was asked."""
        waiting, self._answered = self._answered, None
        if waiting is not None:
            waiting.callback(payload)
        return waiting is not None

    def abandon(self) -> None:
        """Nobody is going to answer."""
        self.abandoned = True
        waiting, self._answered = self._answered, None
        if waiting is not None:
            waiting.errback(Abandoned())


def _info_request(questions: Sequence[Question], name: str, instruction: str) -> bytes:
    """RFC 4256, section 3.2; the language tag is obsolete, and empty."""
    parts = [wire.text(name), wire.text(instruction), wire.string(b""), wire.uint32(len(questions))]
    parts += [wire.text(question.text) + wire.boolean(question.echo) for question in questions]
    return b"".join(parts)


def _answers(payload: bytes, due: int) -> tuple[str, ...]:
    """RFC 4256, section 3.4. Raises WireError where it is malformed, AccessDenied where it is merely no answer."""
    reader = Reader(payload)
    if reader.uint32() != due:
        raise AccessDenied("The number of answers is not that of the questions.")
    given = tuple(reader.string() for _ in range(due))
    reader.end()
    return tuple(map(typed, given))


def typed(answer: bytes) -> str:
    """What was typed, as text. Raises AccessDenied for what no person types and no checker should see."""
    if len(answer) > MAX_ANSWER_BYTES or b"\0" in answer:
        raise AccessDenied(f"An answer has at most {MAX_ANSWER_BYTES} bytes, and no NUL.")
    try:
        return answer.decode("utf-8")
    except UnicodeDecodeError:
        raise AccessDenied("An answer has to be UTF-8.") from None


def read_interactive(reader: Reader) -> None:
    """The language and the devices that the client would like (RFC 4256, section 3.1), which are up to the policy."""
    reader.string()
    reader.string()
    reader.end()


def read_password(reader: Reader) -> str:
    """The password of a request; one that is empty, or is to be changed, is refused like any wrong one."""
    changing, password = reader.boolean(), reader.string()
    if changing:
        reader.string()
    reader.end()
    if changing or not password:
        raise AccessDenied("A password is neither empty nor changed here.")
    return typed(password)
