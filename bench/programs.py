"""Programs that a benchmark starts and ends: each with a file for what it says, and none without an end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"
START_S = 30.0
STOP_S = 10.0
COMMAND_S = 60.0
POLL_S = 0.02
TAIL_CHARS = 2000


Command = Sequence[str | Path]


class Broken(Exception):
    """A benchmark cannot be run; the text says why."""


@contextmanager
def running(command: Command, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program, until the end of the block. What it says goes to ``log``."""
    with log.open("wb") as file:
        program = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(STOP_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], what: str, log: Path) -> None:
    """Ask until the answer is yes.

    :param what: is waited for, for the sentence where it does not come; ``log`` may say why.
    """
    until = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > until:
            raise Broken(f"{what} did not come within {START_S:g} s. {log} ends with:\n{tail(log)}")
        time.sleep(POLL_S)


def wait_for_port(port: int, log: Path) -> None:
    """Until somebody listens."""

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, port)) == 0

    wait_until(listening, f"A listener on port {port}", log)


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARS:]


def processor_seconds(pid: int) -> float:
    """Processor time that a process and its threads have used since their start."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(command: Command) -> float:
    """Seconds that a command takes from start to exit.

    :raises Broken: it fails.
    """
    started = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False
    )
    took = time.perf_counter() - started
    if done.returncode:
        said = done.stderr.decode(errors="replace")[-TAIL_CHARS:]
        raise Broken(f"{command[0]} failed with {done.returncode}: {said}")
    return took
