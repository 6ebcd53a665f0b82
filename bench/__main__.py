"""``python -m bench``: every benchmark in turn, then the table of ``docs/performance.rst``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from bench import access, beats, bulk, echo, listing, logins, memory, password_logins, signing, typed, workers
from bench.figures import Comparison, table
from bench.programs import Broken

MAX_ROUNDS = 1000


@frozen
class Benchmark:
    """One row of the table.

    :ivar rounds: how often it is measured, unless the command line says otherwise.
    """

    compare: Callable[[Path, int], Comparison]
    rounds: int


BENCHMARKS: Mapping[str, Benchmark] = {
    "login": Benchmark(logins.compare_cold, 25),
    "heartbeats": Benchmark(beats.compare_rate, 7),
    "certificates": Benchmark(signing.compare, 7),
    "cost": Benchmark(beats.compare_cost, 9),
    "listing": Benchmark(listing.compare, 15),
    "by-label": Benchmark(listing.compare_by_label, 9),
    "status": Benchmark(partial(typed.compare, words=("status",)), 25),
    "help": Benchmark(partial(typed.compare, words=("--help",)), 25),
    "exec": Benchmark(logins.compare_exec, 5),
    "exec-pam": Benchmark(partial(logins.compare_exec, pam=True), 5),
    "handshake": Benchmark(logins.compare_handshake, 5),
    "handshake-node": Benchmark(partial(logins.compare_handshake, node=True), 5),
    "rate": Benchmark(logins.compare_rate, 5),
    "refusals": Benchmark(logins.compare_refusals, 40),
    "down-aes": Benchmark(partial(bulk.compare_down, cipher=bulk.AES, bound=1.2), 7),
    "up-aes": Benchmark(partial(bulk.compare_up, cipher=bulk.AES, bound=1.3), 7),
    "down-chacha": Benchmark(partial(bulk.compare_down, cipher=bulk.CHACHA, bound=1.0), 7),
    "up-chacha": Benchmark(partial(bulk.compare_up, cipher=bulk.CHACHA, bound=1.0), 7),
    "through": Benchmark(bulk.compare_through, 5),
    "workers": Benchmark(workers.compare_streams, 5),
    "workers-logins": Benchmark(workers.compare_logins, 5),
    "workers-busiest": Benchmark(workers.compare_busiest, 5),
    "get": Benchmark(partial(bulk.compare_files, put=False, small=False), 5),
    "put": Benchmark(partial(bulk.compare_files, put=True, small=False), 5),
    "get-many": Benchmark(partial(bulk.compare_files, put=False, small=True), 3),
    "put-many": Benchmark(partial(bulk.compare_files, put=True, small=True), 3),
    "get-own": Benchmark(partial(bulk.compare_files, put=False, small=False, own=True), 5),
    "put-own": Benchmark(partial(bulk.compare_files, put=True, small=False, own=True), 5),
    "get-many-own": Benchmark(partial(bulk.compare_files, put=False, small=True, own=True), 3),
    "put-many-own": Benchmark(partial(bulk.compare_files, put=True, small=True, own=True), 3),
    "idle": Benchmark(memory.compare_idle, 1),
    "shells": Benchmark(memory.compare_shells, 1),
    "growth": Benchmark(memory.compare_growth, 3),
    "stalled": Benchmark(memory.compare_stalled, 3),
    "decisions": Benchmark(access.compare_decisions, 15),
    "plan": Benchmark(access.compare_plan, 5),
    "echo": Benchmark(echo.compare, 3),
    "echo-through": Benchmark(partial(echo.compare, through=True), 3),
    "passwords": Benchmark(password_logins.compare, 3),
}


def rounds(text: str) -> int:
    """A number of rounds."""
    count = int(text)
    if not 1 <= count <= MAX_ROUNDS:
        raise ValueError
    return count


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument(
        "names", nargs="*", metavar="NAME", help=f"only these rows: {', '.join(BENCHMARKS)} (default: all)"
    )
    made.add_argument("--rounds", type=rounds, help=f"rounds of each, 1 to {MAX_ROUNDS}")
    return made


def chosen(names: Sequence[str]) -> Mapping[str, Benchmark]:
    """The benchmarks of these names, all where there are none, in the order of the table.

    :raises ValueError: there is no such benchmark.
    """
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        raise ValueError(f"there is no benchmark {min(unknown)!r}; there are {', '.join(BENCHMARKS)}")
    return {name: each for name, each in BENCHMARKS.items() if not names or name in names}


def measure(benchmarks: Mapping[str, Benchmark], times: int | None) -> list[Comparison]:
    comparisons = []
    for name, benchmark in benchmarks.items():
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="teleport-conch-bench-") as folder:
            comparisons.append(benchmark.compare(Path(folder), times or benchmark.rounds))
    return comparisons


def machine() -> str:
    """What the figures depend on."""
    busy = os.getloadavg()[0]
    return f"{os.cpu_count()} processors, Python {platform.python_version()}, load before: {busy:.2f}"


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    try:
        benchmarks, where = chosen(options.names), machine()
        comparisons = measure(benchmarks, options.rounds)
    except (ValueError, Broken) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(f"{table(comparisons)}\n\n{where}")
    return 0


def _stop(*_: object) -> None:
    """Ends as Ctrl-C does, so that what was started is stopped and nothing is left in the folder for such things."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main(sys.argv[1:]))
