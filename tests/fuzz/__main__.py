"""``python -m tests.fuzz TARGET [--seconds N] [--seed N] [--atheris]``: one target, for as long as one likes.

Without ``--atheris`` (``pip install atheris``), which looks for new paths through the code, inputs are random mutations
of the seeds. An input that makes a target fail, or log a failure, is written to ``fuzz-TARGET-finding`` and ends the
run with exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import provider

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Target


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    made.add_argument("target", choices=sorted(TARGETS))
    made.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    made.add_argument("--seed", type=int, default=None, help="to see the same inputs again")
    made.add_argument("--atheris", action="store_true", help="guided by what is covered")
    return made


class Logged(Exception):
    """A target logged a failure."""


_logged: list[str] = []


@provider(ILogObserver)
def note_failure(event: LogEvent) -> None:
    """An observer of the log; one that raised would be caught by the log."""
    failure = event.get("log_failure")
    if failure is not None:
        _logged.append(str(failure))


def read(target: Target, data: bytes) -> None:
    """Feeds one input.

    :raises Exception: the finding.
    """
    target.read(data)
    if _logged:
        said, _logged[:] = _logged[-1], []
        raise Logged(said)


def run(target: Target, seconds: float, seed: int) -> tuple[int, bytes | None]:
    """How many inputs there were, and the one that made the target fail, or None."""
    seeds, source, until = target.seeds(), random.Random(seed), time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        data = mutated(seeds, source)
        count += 1
        try:
            read(target, data)
        except Exception:  # noqa: BLE001  # whatever it is, it is what was looked for
            traceback.print_exc()
            return count, data
    return count, None


def guided(target: Target, seconds: float, corpus: Path) -> None:
    """Hands over to atheris, which never comes back."""
    atheris = importlib.import_module("atheris")
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    atheris.instrument_all()
    atheris.Setup(["fuzz", f"-max_total_time={int(seconds)}", str(corpus)], lambda data: read(target, data))
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    globalLogBeginner.beginLoggingTo([note_failure], redirectStandardIO=False)
    target = TARGETS[options.target]
    if options.atheris:
        guided(target, options.seconds, Path(f"fuzz-{options.target}"))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    count, finding = run(target, options.seconds, seed)
    if finding is None:
        sys.stdout.write(f"{count} inputs, nothing found (seed {seed})\n")
        return 0
    path = Path(f"fuzz-{options.target}-finding")
    path.write_bytes(finding)
    sys.stderr.write(f"Input {count} of seed {seed} made it fail; its {len(finding)} bytes are in {path}.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
