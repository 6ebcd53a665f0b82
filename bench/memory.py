"""What connections and shells hold in memory, and what a client that does not read costs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from bench.figures import Comparison, at_most
from bench.programs import family_bytes, family_seconds
from bench.ssh_load import load_on
from bench.stage import DIRECT, NODE, TARGET, Stage, stage

IDLE = 1000
IDLE_OF_SSHD = 100
"""Of which each is two processes."""
AT_ONCE = 8
SHELLS = 100
SHELL_CONNECTIONS = 20
SHELL_LIMIT = 64 << 10
PRODUCED = 1_000_000_000
STOPPED_S = 10
GROWTH_LIMIT = 4 << 20
PROCESSOR_LIMIT = 1.0


def compare_idle(folder: Path, rounds: int) -> Comparison:
    """Bytes for one connection that has logged in and does nothing."""
    pairs = []
    for number in range(rounds):
        (folder / str(number)).mkdir()
        with stage(folder / str(number)) as on:
            on.start_openssh(TARGET)
            on.start_cluster()
            pairs.append((_idle(on, NODE, IDLE), _idle(on, TARGET, IDLE_OF_SSHD)))
    ours, theirs = zip(*pairs, strict=True)
    return Comparison("memory of an idle connection (sshd)", "B", at_most(1 / 60), ours, theirs)


def _idle(on: Stage, name: str, count: int) -> float:
    with load_on(on, name) as load:
        load.hold(AT_ONCE, AT_ONCE)
        before = family_bytes(on.servers[name].pid)
        load.hold(count, AT_ONCE)
        return (family_bytes(on.servers[name].pid) - before) / count


def compare_shells(folder: Path, rounds: int) -> Comparison:
    """Bytes for one shell on a terminal, beside the shell's own."""
    figures = []
    for number in range(rounds):
        (folder / str(number)).mkdir()
        with stage(folder / str(number), other_account=True) as on:
            on.start_cluster()
            with load_on(on, NODE) as load:
                load.hold(SHELL_CONNECTIONS, AT_ONCE)
                load.shells(SHELL_CONNECTIONS, AT_ONCE)
                before = _without_shells(on)
                load.shells(SHELLS, AT_ONCE)
                figures.append((_without_shells(on) - before) / SHELLS)
    return Comparison("memory of an open shell (the limit)", "B", at_most(1.0), figures, [SHELL_LIMIT] * rounds)


def _without_shells(on: Stage) -> float:
    return family_bytes(on.servers[NODE].pid, without=("sh", "dash", "bash"))


def compare_growth(folder: Path, rounds: int) -> Comparison:
    """Bytes that the server holds more while 1 GB is produced for a client that has stopped."""
    with stage(folder) as on:
        on.start_cluster()
        on.warm(on.ssh(DIRECT, "true"))
        growth = [_stopped(on)[0] for _ in range(rounds)]
    return Comparison("memory for a reader that stops (the limit)", "B", at_most(1.0), growth, [GROWTH_LIMIT] * rounds)


def compare_stalled(folder: Path, rounds: int) -> Comparison:
    """Processor time of the server, in per cent of the time, while 1 GB is produced for a client that has stopped."""
    with stage(folder) as on:
        on.start_cluster()
        on.warm(on.ssh(DIRECT, "true"))
        used = [_stopped(on)[1] for _ in range(rounds)]
    what = "processor for a reader that stops (the limit)"
    return Comparison(what, "%", at_most(1.0), used, [PROCESSOR_LIMIT] * rounds)


def _stopped(on: Stage) -> tuple[float, float]:
    pid = on.servers[NODE].pid
    before = family_bytes(pid, without=("head", "sh", "bash"))
    command = list(map(str, on.ssh(DIRECT, f"head -c {PRODUCED} /dev/zero")))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as client:
        try:
            time.sleep(0.5)
            os.kill(client.pid, signal.SIGSTOP)
            time.sleep(1)
            used = family_seconds(pid)
            time.sleep(STOPPED_S)
            used = family_seconds(pid) - used
            growth = family_bytes(pid, without=("head", "sh", "bash")) - before
        finally:
            client.kill()
    return max(growth, 0), 100 * used / STOPPED_S
