"""``tctl nodes ls`` against the libraries that it loads, and what a person's ``tsh ls`` costs auth."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cluster import Auth, auth
from bench.figures import Comparison, at_most
from bench.load import Load
from bench.programs import Command, processor_seconds, timed
from bench.registered import FIRST_WAVE

NODES = 100
MANY = 10_000
CONNECTIONS = 4
REQUESTS = 2000
WARM_UP = 200
BY_LABEL = "/v1/namespaces/default/nodes?labels=wave=first"


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


def compare_by_label(folder: Path, rounds: int) -> Comparison:
    """Processor seconds of auth for one answer with the same number of nodes in it, with many and with few others."""
    with (
        auth(folder / "many", MANY) as many,
        auth(folder / "few", NODES) as few,
        _asking(many) as ask_many,
        _asking(few) as ask_few,
    ):
        pairs = [(_cost(many, ask_many), _cost(few, ask_few)) for _ in range(rounds)]
    of_many, of_few = zip(*pairs, strict=True)
    return Comparison("tsh ls by label, 10,000 nodes (the other: 100)", "s", at_most(1.3), of_many, of_few)


@contextmanager
def _asking(running_auth: Auth) -> Iterator[Load]:
    person = running_auth.person(BY_LABEL)
    found = running_auth.call("GET", BY_LABEL, credentials=person.credentials)["items"]
    assert isinstance(found, list) and len(found) == FIRST_WAVE
    with Load(running_auth.port, running_auth.authority, [person] * CONNECTIONS) as load:
        load.run(WARM_UP)
        yield load


def _cost(running_auth: Auth, load: Load) -> float:
    before = processor_seconds(running_auth.pid)
    load.run(REQUESTS)
    return (processor_seconds(running_auth.pid) - before) / REQUESTS
