"""What a person is asked, on the terminal and nowhere else: a ProxyCommand has others on its stdin and stdout."""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

from teleport_conch.cli.edge import Interrupted
from teleport_conch.client.people import Credentials
from teleport_conch.errors import BadParameter

#: Seconds after which a person is told what is being waited for.
PATIENCE_S = 0.5
MAX_TYPED_CHARS = 1024

Ask = Callable[[str], str]


def ask_secret(question: str) -> str:
    """What is typed on the terminal, unseen.

    :raises BadParameter: there is no terminal to ask on.
    """
    try:
        with open("/dev/tty"):  # or getpass would read stdin, and say so in many lines
            pass
        with _interruptible():
            answer = getpass.getpass(question)
    except OSError:
        raise BadParameter("A password is due, and there is no terminal to ask for it. Run: tsh login") from None
    except (EOFError, KeyboardInterrupt):
        raise Interrupted from None
    if len(answer) > MAX_TYPED_CHARS:
        raise BadParameter(f"What was typed is longer than {MAX_TYPED_CHARS} characters.")
    return answer


@contextmanager
def _interruptible() -> Iterator[None]:
    """Has a signal end the question at once: a reactor would wait with it until the line has been typed."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def credentials(user: str, second_factor: str, recovery: bool, ask: Ask = ask_secret) -> Credentials:
    """Password and second factor of a user.

    :param second_factor: ``otp`` or ``off``, as the proxy says.
    :param recovery: a recovery code takes the place of the second factor.
    """
    password = ask(f"Enter password for Teleport user {user}: ")
    if recovery:
        return Credentials(password, recovery_code=ask("Enter a recovery code: ").strip())
    if second_factor == "off":
        return Credentials(password)
    return Credentials(password, otp_token=ask("Enter your OTP token: ").strip().replace(" ", ""))


@contextmanager
def progress(sentence: str) -> Iterator[None]:
    """Says on a terminal what takes so long, once it does, and takes that away again."""
    said: list[str] = []

    def say() -> None:
        said.append(sentence)
        print(sentence, end="", flush=True, file=sys.stderr)

    timer = Timer(PATIENCE_S, say)
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if said:
            print("\r\x1b[K", end="", flush=True, file=sys.stderr)
