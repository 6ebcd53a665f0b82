"""The edge of a command: whatever goes wrong inside becomes one sentence on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from teleport_conch.cli.colour import RED, painted
from teleport_conch.cli.table import inert
from teleport_conch.errors import TeleportError

FAILURE_EXIT = 1


class Interrupted(Exception):
    """The person at the keyboard, or a signal, ended the command."""


def guarded(command: Callable[[], None], debug: bool) -> int:
    """Run a command, and answer its exit code.

    :param debug: show where a failure came from.
    """
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:
        _read_no_more()
        return FAILURE_EXIT
    except Exception as error:  # noqa: BLE001 - the edge: what nobody foresaw is said in a sentence, too
        if debug:
            import traceback

            traceback.print_exc()
        complain(sentence_of(error))
        return FAILURE_EXIT
    except KeyboardInterrupt:
        complain("Interrupted.")
        return FAILURE_EXIT
    return 0


def flush() -> None:
    """Hand over what was printed, to whoever may have enough of it by now."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _read_no_more()


def _read_no_more() -> None:
    """Nobody reads the output any more. Python would complain of that again when it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def sentence_of(error: BaseException) -> str:
    """What a person reads of an error."""
    if isinstance(error, TeleportError):
        return error.sentence
    if isinstance(error, Interrupted):
        return "Interrupted."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return f"Something unexpected happened: {error!r}. With -d more is shown."


def complain(sentence: str) -> None:
    """Say on stderr what is wrong; a sentence may have several lines."""
    sys.stdout.flush()
    lines = "\n".join(map(inert, sentence.splitlines()))
    sys.stderr.write(f"{painted('error:', RED, sys.stderr)} {lines}\n")
