"""Runs every check, one after the other, and says at the end what ran: ``python -m tests [STEP...]``.

This is what ``make test`` calls. Steps go on after one has failed, so that one run shows everything; the exit code is 0
when nothing failed. The last line counts trial's tests, and each of the other steps as one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT

from attrs import define, frozen

ROOT = Path(__file__).resolve().parent.parent
LONG = os.environ.get("TELEPORT_CONCH_LONG") == "1"
STEP_LIMIT_S = 6 * 3600 if LONG else 720

UNUSUAL = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""Programs start hundreds of times, and each would compile all of its modules; and people see what is buffered late."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNUSUAL}

_SUMMARY = re.compile(r"^(?:PASSED|FAILED)(?: \((.*)\))?$", re.MULTILINE)
_FAILURES = ("failures", "errors", "unexpectedSuccesses")


@frozen
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


@frozen
class Step:
    """A command with its name; ``counted`` when its output ends with trial's summary."""

    name: str
    command: tuple[str, ...]
    counted: bool = False


@define
class Result:
    step: Step
    counts: Counts
    seconds: float

    def __str__(self) -> str:
        state = "failed" if self.counts.failed else "ok"
        return f"  {self.step.name:<8} {state:<6} {self.seconds:6.0f} s  {self.counts}"


def trial_counts(output: str, exit_code: int) -> Counts:
    """What trial's summary says; a run that failed without naming a test, or in which none ran, counts as a failure."""
    found = _SUMMARY.findall(output)
    said = dict(part.split("=") for part in found[-1].split(", ") if part) if found else {}
    failed = sum(int(said.get(name, 0)) for name in _FAILURES)
    passed = int(said.get("successes", 0)) + int(said.get("expectedFailures", 0))
    return Counts(passed, max(failed, int(exit_code != 0 or not said)), int(said.get("skips", 0)))


def unit_tests() -> list[str]:
    """Everything in this folder that trial can load, except the interop tests, which have a step of their own."""
    entries = sorted((ROOT / "tests").iterdir())
    folders = [path.name for path in entries if (path / "__init__.py").exists() and path.name != "interop"]
    files = [path.stem for path in entries if path.match("test_*.py")]
    return [f"tests.{name}" for name in folders + files]


def steps() -> list[Step]:
    python = sys.executable
    trial = (python, "-m", "twisted.trial", "--reporter=text")
    return [
        Step("lint", (python, "-m", "ruff", "check")),
        Step("format", (python, "-m", "ruff", "format", "--check")),
        Step("types", (python, "-m", "mypy")),
        Step("unit", (*trial, "--temp-directory=_trial_temp_unit", "-j2", *unit_tests()), counted=True),
        Step("interop", (*trial, "--temp-directory=_trial_temp_interop", "-j2", "tests.interop"), counted=True),
    ]


def run(step: Step) -> Result:
    """Run one step, showing what it says while it says it; killed, and so failed, when it takes too long."""
    print(f"\n== {step.name}: {' '.join(step.command)}", flush=True)
    started = time.monotonic()
    output: list[str] = []
    with subprocess.Popen(
        step.command, cwd=ROOT, env=ENVIRONMENT, stdout=PIPE, stderr=STDOUT, text=True, errors="replace"
    ) as process:
        limit = threading.Timer(STEP_LIMIT_S, process.kill)
        limit.start()
        for line in process.stdout or ():
            print(line, end="", flush=True)
            output.append(line)
        process.wait()
        limit.cancel()
    exit_code = process.returncode
    counts = Counts(passed=int(exit_code == 0), failed=int(exit_code != 0))
    if step.counted:
        counts = trial_counts("".join(output), exit_code)
    return Result(step, counts, time.monotonic() - started)


def main(wanted: Sequence[str]) -> int:
    known = {step.name: step for step in steps()}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"There is no step {', '.join(unknown)}; the steps are {', '.join(known)}.", file=sys.stderr)
        return 2
    results = [run(step) for step in known.values() if not wanted or step.name in wanted]
    total = sum((result.counts for result in results), Counts())
    print("\nWhat ran" + (", with the long tests:" if LONG else " (make test-all adds the long tests):"))
    print("\n".join(map(str, results)))
    print(f"\n{total}")
    return int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
