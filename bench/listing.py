"""``tctl nodes ls``: against the time that Python takes to load the libraries that a command cannot do without."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.cluster import auth
from bench.figures import Comparison, at_most
from bench.programs import Command, timed

NODES = 100


def compare(folder: Path, rounds: int) -> Comparison:
    """Seconds from start to exit, as the administrator on the auth host."""
    loading = [sys.executable, "-c", "import twisted.internet.reactor, treq"]
    with auth(folder / "cluster", NODES) as running_auth:
        listing: Command = [Path(sys.executable).with_name("tctl"), "-c", running_auth.configuration, "nodes", "ls"]
        timed(listing)
        timed(loading)
        pairs = [(timed(listing), timed(loading)) for _ in range(rounds)]
    ours, theirs = zip(*pairs, strict=True)
    return Comparison("tctl nodes ls, 100 nodes (the other: imports)", "s", at_most(2.0), ours, theirs)
