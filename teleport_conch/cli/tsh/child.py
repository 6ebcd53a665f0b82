"""A program that is run to its end, where something is left to do afterwards; else this one would become it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType

from attrs import define, field

Handler = Callable[[int, FrameType | None], object]
FROM_THE_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)
"""What the terminal sends to the program as well, whose business it is."""
TO_END = (signal.SIGTERM, signal.SIGHUP)


def run(program: str, words: Sequence[str]) -> int:
    """Runs it on this terminal, and answers its exit status, as a shell has it: 128 and the signal that killed it.

    What would end this process ends the program, and what stops the program stops this process.

    :raises OSError: it cannot be started.
    """
    passing = _Passing()
    with handled(dict.fromkeys(FROM_THE_KEYBOARD, nothing) | dict.fromkeys(TO_END, passing.on)):
        child = subprocess.Popen(words, executable=program)
        passing.to(child)
        return _ended(child)


@define
class _Passing:
    """Passes signals on, also those that come before there is somebody to get them."""

    _child: subprocess.Popen[bytes] | None = None
    _waiting: list[int] = field(factory=list)

    def on(self, number: int, frame: FrameType | None) -> None:
        self._waiting.append(number)
        self._go_on()

    def to(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._go_on()

    def _go_on(self) -> None:
        while self._child is not None and self._waiting:
            self._child.send_signal(self._waiting.pop())


def _ended(child: subprocess.Popen[bytes]) -> int:
    while True:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.kill(os.getpid(), signal.SIGSTOP)  # until the shell goes on with both
            child.send_signal(signal.SIGCONT)
            continue
        code = child.returncode = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def nothing(number: int, frame: FrameType | None) -> None:
    """Is no ``SIG_IGN``, which the program would inherit."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for its owner alone, which is gone in the end, also where a signal is the end."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(mkdtemp(prefix="tsh-", dir=base if os.access(base, os.W_OK) else None))
    with handled({signal.SIGTERM: signal.default_int_handler, signal.SIGHUP: as_term}):
        try:
            yield folder
        finally:
            with handled(dict.fromkeys((*FROM_THE_KEYBOARD, *TO_END), nothing)):
                shutil.rmtree(folder)


def as_term(number: int, frame: FrameType | None) -> None:
    """A reactor handles SIGTERM in its way, and SIGHUP not at all."""
    signal.raise_signal(signal.SIGTERM)


@contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Has these signals handled so meanwhile; what was ignored before, as ``nohup`` has it, still is."""
    before = {each: signal.getsignal(each) for each in handlers}
    for each, handler in handlers.items():
        if before[each] is not signal.SIG_IGN:
            signal.signal(each, handler)
    try:
        yield
    finally:
        for each, former in before.items():
            signal.signal(each, former)
