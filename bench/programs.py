"""Programs that a benchmark starts and ends: each with a file for what it says, and none without an end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

LOOPBACK = "127.0.0.1"
START_S = 30.0
STOP_S = 10.0
COMMAND_S = 60.0
POLL_S = 0.02
TAIL_CHARS = 2000
NOTHING = Path("/dev/null")


Command = Sequence[str | Path]


class Broken(Exception):
    """A benchmark cannot be run; the text says why."""


@frozen
class Running:
    """A server that has been started: its port on the loopback interface, and its first process."""

    port: int
    pid: int


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


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def family_seconds(pid: int) -> float:
    """Processor time that a process and its descendants have used, those included that have ended."""
    total = 0
    for each in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def family_bytes(pid: int, without: Container[str] = ()) -> int:
    """Memory of a process and its descendants: what each has to itself, and its part of what it shares (PSS).

    :param without: names of programs that do not count.
    """
    total = 0
    for each in family(pid):
        with suppress(OSError):
            if Path(f"/proc/{each}/comm").read_text(encoding="utf-8", errors="replace").strip() not in without:
                lines = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii").splitlines()
                total += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def timed(command: Command, stdin: Path = NOTHING) -> float:
    """Seconds that a command takes from start to exit; what it writes to its standard output is thrown away.

    :raises Broken: it fails.
    """
    with stdin.open("rb") as given:
        started = time.perf_counter()
        done = subprocess.run(
            list(map(str, command)),
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_S,
            check=False,
        )
        took = time.perf_counter() - started
    if done.returncode:
        said = done.stderr.decode(errors="replace")[-TAIL_CHARS:]
        raise Broken(f"{command[0]} failed with {done.returncode}: {said}")
    return took
