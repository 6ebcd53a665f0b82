"""Running other programs to their end, and waiting for what becomes true by and by."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from tests.interop.failing import Failed

#: For one program to end, and for one condition to become true; generous, as machines of CI are slow.
DEADLINE_S = 60.0
POLL_S = 0.1

_T = TypeVar("_T")


@frozen
class Done:
    """What became of a program."""

    command: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """What it said on standard output."""
        return self.out.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """What it said on standard error."""
        return self.err.decode("utf-8", "replace")

    def __str__(self) -> str:
        out, err = (stream[-4000:].decode("utf-8", "replace") for stream in (self.out, self.err))
        return f"{' '.join(self.command)}\nexited with {self.code}\n-- stdout --\n{out}\n-- stderr --\n{err}"


def installed(name: str) -> str:
    """A program of this very environment: ``twist``, ``teleport``, ``tctl``."""
    return str(Path(sys.executable).parent / name)


def environment(**more: str) -> dict[str, str]:
    """The variables for programs, without those by which the person who runs the tests would change what happens.

    Our own programs are on the PATH, in front, and nobody wants colours.
    """
    own = ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "TELEPORT_CONFIG")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return (
        {name: value for name, value in os.environ.items() if name not in own} | {"PATH": path, "NO_COLOR": "1"} | more
    )


def run(
    *command: str,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = DEADLINE_S,
) -> Done:
    """Run a program to its end, with no terminal anywhere near it that it could ask something on."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env=environment() if env is None else env,
            timeout=timeout_s,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = Done(tuple(command), -1, late.stdout or b"", late.stderr or b"")
        raise Failed(f"It did not end within {timeout_s:.0f} s: {said}") from None
    return Done(tuple(command), done.returncode, done.stdout, done.stderr)


def check(done: Done, code: int = 0) -> Done:
    """The same, if it ended with this exit code."""
    if done.code != code:
        raise Failed(f"{code} was expected: {done}")
    return done


def eventually(probe: Callable[[], _T], what: str, deadline_s: float = DEADLINE_S) -> _T:
    """The first answer of ``probe`` that is true in Python's sense.

    :param what: the condition in words, for whoever reads of the failure.
    """
    last = time.monotonic() + deadline_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > last:
            raise Failed(f"This did not come true within {deadline_s:.0f} s: {what}. The last answer: {answer!r}")
        time.sleep(POLL_S)
