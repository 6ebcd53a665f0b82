"""A program on a terminal of its own, as somebody at a keyboard has it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from types import TracebackType

from tests.interop.failing import Failed
from tests.interop.programs import DEADLINE_S, environment
from tests.interop.requirements import require


class Terminal:
    """Runs ``command`` with a terminal that has so many rows and columns; a context manager that ends the program.

    :param env: the program's variables.
    """

    def __init__(self, *command: str, rows: int = 24, cols: int = 80, env: Mapping[str, str] | None = None) -> None:
        self._master, slave = os.openpty()
        self.resize(rows, cols)
        setsid = require("setsid", "util-linux")  # makes the terminal the program's controlling one
        heeded = (require("env", "coreutils"), "--default-signal=INT")  # a shell's background has it ignored
        self._process = subprocess.Popen(
            [setsid, "--ctty", "--wait", *heeded, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**(environment() if env is None else env), "TERM": "xterm"},
        )
        os.close(slave)
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def resize(self, rows: int, cols: int) -> None:
        """Gives the terminal another size; the kernel tells the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self._master, text.encode())

    def read_until(self, wanted: bytes) -> bytes:
        """What appears, up to and with ``wanted``; what comes behind it is for the next call."""
        last = time.monotonic() + DEADLINE_S
        while wanted not in self.seen:
            if not self._more(last):
                raise Failed(f"{wanted!r} did not appear; this did: {self.seen!r}")
        end = self.seen.index(wanted) + len(wanted)
        found, self.seen = self.seen[:end], self.seen[end:]
        return found

    def ended(self) -> int:
        """Waits for the end of the program, and answers its exit code; what it says meanwhile is added to ``seen``."""
        last = time.monotonic() + DEADLINE_S
        while self._more(last):
            pass
        return self._process.wait(DEADLINE_S)

    def _more(self, last: float) -> bool:
        """Reads what there is; false when there will be nothing more."""
        if not select.select([self._master], [], [], max(0.0, last - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return False
        self.seen += data
        return bool(data)
