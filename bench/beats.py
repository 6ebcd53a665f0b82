"""Heartbeats: how many one auth process takes, and what one costs it, with few and with many nodes registered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cluster import Auth, auth
from bench.figures import Comparison, at_least, at_most
from bench.load import Caller, Load
from bench.programs import Command, free_port, processor_seconds, running, wait_for_port

CONNECTIONS = 16
"""Each is a node of its own, which beats again as soon as it was answered."""
BEATS = 3000
"""In one turn."""
WARM_UP = 500
ANSWER_BYTES = 70
"""As long as what auth answers to a beat."""
FEW, MANY = 100, 10_000


def compare_rate(folder: Path, rounds: int) -> Comparison:
    """Beats in a second, against posts of the same size in a second to a resource of ``twisted.web``."""
    with auth(folder / "cluster") as running_auth:
        callers = [running_auth.join(number) for number in range(CONNECTIONS)]
        with (
            _bare(folder, callers[0].credentials) as bare_port,
            Load(running_auth.port, running_auth.authority, callers) as ours,
            Load(bare_port, running_auth.authority, callers) as theirs,
        ):
            ours.run(WARM_UP)
            theirs.run(WARM_UP)
            pairs = [(ours.run(BEATS), theirs.run(BEATS)) for _ in range(rounds)]
    beats, posts = zip(*pairs, strict=True)
    return Comparison("heartbeats (the other: bare twisted.web)", "1/s", at_least(0.3), beats, posts)


@contextmanager
def _bare(folder: Path, credentials: Path) -> Iterator[int]:
    port, log = free_port(), folder / "bare.log"
    command: Command = [sys.executable, "-m", "bench.bare", str(port), credentials, str(ANSWER_BYTES)]
    with running(command, log):
        wait_for_port(port, log)
        yield port


def compare_cost(folder: Path, rounds: int) -> Comparison:
    """Processor seconds of auth for one beat, with many and with few nodes registered."""
    with (
        auth(folder / "many", MANY - CONNECTIONS) as many,
        auth(folder / "few", FEW - CONNECTIONS) as few,
        _beating(many) as beat_many,
        _beating(few) as beat_few,
    ):
        _cost(many, beat_many, WARM_UP)
        _cost(few, beat_few, WARM_UP)
        pairs = [(_cost(many, beat_many, BEATS), _cost(few, beat_few, BEATS)) for _ in range(rounds)]
    of_many, of_few = zip(*pairs, strict=True)
    return Comparison("one heartbeat of 10,000 nodes (the other: of 100)", "s", at_most(1.2), of_many, of_few)


@contextmanager
def _beating(running_auth: Auth) -> Iterator[Load]:
    callers: list[Caller] = [running_auth.join(number) for number in range(CONNECTIONS)]
    with Load(running_auth.port, running_auth.authority, callers) as load:
        yield load


def _cost(running_auth: Auth, load: Load, beats: int) -> float:
    before = processor_seconds(running_auth.pid)
    load.run(beats)
    return (processor_seconds(running_auth.pid) - before) / beats
